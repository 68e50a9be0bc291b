import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { judgeLedger, readLedger, type LedgerLine, type ToolRules } from './ledger.ts'
import type { Call } from './log.ts'

const RULES: ToolRules = { repeatable: (tool) => tool === 'note', asked: (tool) => tool === 'launch' }
const CALL: Call = { id: 'c1', tool: 'pay', session: 's1', position: 5, starts: 1, rejected: false, accepted: false, answeredByTool: true }
const AT = 'at position 5 of session s1'

function judge(call: Partial<Call>, begins: number, lines: readonly LedgerLine[] = []) {
  const whole = { ...CALL, ...call }
  const begun = Array.from({ length: begins }, (): LedgerLine => ({ call: whole.id, tool: whole.tool, at: 'begin' }))
  return judgeLedger([...begun, ...lines], new Map([[whole.id, whole]]), RULES)
}

describe('the ledger', () => {
  test.each<[string, Partial<Call>, number]>([
    ['a call that ran once', {}, 1],
    ['a call that was started and killed before it ran', { answeredByTool: false }, 0],
    ['a call that ran, and whose outcome is unknown', { answeredByTool: false }, 1],
    ['a repeatable call that was started twice and ran twice', { tool: 'note', starts: 2 }, 2],
    ['a call that was allowed', { tool: 'launch', accepted: true }, 1],
    ['a call that was rejected', { rejected: true, starts: 0, answeredByTool: false }, 0],
  ])('agrees with %s', (_, call, begins) => {
    expect(judge(call, begins, [{ call: 'c1', tool: 'pay', at: 'end' }])).toEqual([])
  })

  test.each<[string, Partial<Call>, number, string]>([
    ['a double run', { starts: 2 }, 2, `P5: the call c1 of pay ${AT} is not repeatable and ran 2 times`],
    ['a run more than there were starts', { tool: 'note' }, 2, `P5: the call c1 of note ${AT} ran 2 times and was started 1 times`],
    ['a run of what was rejected', { rejected: true }, 1, `P10: the call c1 of pay ${AT} was rejected and ran`],
    ['a run that nobody allowed', { tool: 'launch' }, 1, `P10: the call c1 of launch ${AT} ran and nobody allowed it`],
    ['a result without a run', {}, 0, `P5: the call c1 of pay ${AT} has a result of its tool, which never ran`],
  ])('shows %s', (_, call, begins, complaint) => {
    expect(judge(call, begins)).toEqual([complaint])
  })

  test('shows a run of what nobody proposed', () => {
    expect(judge({}, 1, [{ call: 'c9', tool: 'pay', at: 'begin' }])).toEqual(['P5: pay ran for the call c9, which nobody proposed'])
  })

  test('has no line where a kill cut it off', () => {
    const folder = mkdtempSync(join(tmpdir(), 'convoke-ledger-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const file = join(folder, 'ledger')
    writeFileSync(file, '{"call":"c1","tool":"pay","at":"begin"}\n{"call":"c2","to')
    expect(readLedger(file)).toEqual([{ call: 'c1', tool: 'pay', at: 'begin' }])
  })
})
