import { describe, expect, test } from 'vitest'
import { judgeReader, type Sight } from './judge-reader.ts'
import { seenOf, type Seen } from './log.ts'

const NAMES = ['session_created', 'run_started', 'message_added', 'turn_started', 'text_delta', 'run_completed']
const LOG: readonly Seen[] = NAMES.map((name, index) => eventAt(index + 1, name))

function eventAt(id: number, name: string, payload = {}): Seen {
  return seenOf(name, { id, run_id: 'r1', timestamp: `t${id}`, event: { Any: payload } })
}

function judge(positions: readonly number[], how: Partial<Sight> = {}) {
  return judgeReader({ who: 'a reader', session: 's1', view: 'all', after: 0, events: positions.map((position) => LOG[position - 1]!), ...how }, LOG)
}

describe('a reader', () => {
  test.each<[string, readonly number[], Partial<Sight>]>([
    ['of everything', [1, 2, 3, 4, 5, 6], {}],
    ['that was stopped early', [1, 2, 3], {}],
    ['that saw nothing', [], {}],
    ['that began later', [3, 4], { after: 2 }],
    ['that was live only', [5, 6], { after: undefined }],
    ['of the contract, whose positions have holes', [2, 4, 5, 6], { view: 'contract' }],
  ])('%s saw nothing wrong', (_, positions, how) => {
    expect(judge(positions, how)).toEqual([])
  })

  test.each<[string, readonly number[], Partial<Sight>, string]>([
    ['a gap', [1, 2, 4], {}, 'P3: session s1, a reader, position 4: it came after 2, and 3 is missing'],
    ['a gap at its beginning', [2, 3], {}, 'P3: session s1, a reader, position 2: it came after 0, and 1 is missing'],
    ['a gap in the contract', [2, 5], { view: 'contract' }, 'P3: session s1, a reader, position 5: it came after 2, and 4 is missing'],
    ['a repeat', [1, 2, 2, 3], {}, 'P3: session s1, a reader, position 2: it came after 2'],
    ['an event twice, later', [1, 2, 3, 1], {}, 'P3: session s1, a reader, position 1: it came after 3'],
    ['what stands before its cursor', [2, 3], { after: 2 }, 'P3: session s1, a reader, position 2: it came after 2'],
    ['two events in the wrong order', [1, 3, 2], {}, 'P3: session s1, a reader, position 3: it came after 1, and 2 is missing'],
    ['an event that is not of the contract', [2, 3], { view: 'contract' }, 'P2: session s1, a reader, position 3: message_added is not in the log'],
  ])('that saw %s is told where', (_, positions, how, complaint) => {
    expect(judge(positions, how)).toEqual([complaint])
  })

  test('that saw more than the log has is told so', () => {
    expect(judge([], { events: [...LOG, eventAt(7, 'run_started')] })).toEqual(['P2: session s1, a reader, position 7: run_started is not in the log'])
  })

  test.each([
    ['another text', eventAt(1, 'session_created', { title: 'x' })],
    ['another name', eventAt(1, 'session_updated')],
    ['another time', { ...LOG[0]!, text: LOG[0]!.text.replace('t1', 't9') }],
  ])('that saw an event with %s is told what the log has', (_, event) => {
    expect(judge([], { events: [event] })).toEqual([expect.stringContaining('P2: session s1, a reader, position 1: shown was')])
  })
})
