import { describe, expect, test } from 'vitest'
import { isTerminal } from '../../src/domain/event.ts'
import { messageId, runId } from '../../src/domain/ids.ts'
import { TESTER, settle } from '../../src/testing/run-kit.ts'
import { failure, text } from '../../src/testing/scripted-model.ts'
import { aborted, scriptedTool } from '../../src/testing/scripted-tool.ts'
import { ASK_ALL, asks, END, gate, NEVER, rig, type Rig } from './rig.ts'

/** Stops a host, with a look at whether it is done. */
function stopping(r: Rig, graceMs = 10_000) {
  const watch = { done: false }
  const stopped = r.supervisor.stop(graceMs).then(() => void (watch.done = true))
  return { watch, stopped }
}

describe('a stop (P14)', () => {
  test('lets a call of the model come to its end, and begins nothing after it', async () => {
    const g = gate()
    const act = scriptedTool('act')
    const r = await rig({ script: [[g.passed, ...asks('a')]], tools: [act] })
    await r.send('hi')
    await r.until('TurnStarted')
    const { watch, stopped } = stopping(r)
    await settle()
    expect(watch.done).toBe(false)
    g.open()
    await stopped
    expect((await r.log()).at(-1)?.event.type).toBe('ToolCallsProposed')
    const next = await r.restart({ script: [END] })
    expect(await next.ended(r.run)).toMatchObject({ stopReason: 'completed' })
    expect([...act.runs]).toEqual([['a', 1]])
    expect(next.models.seen).toHaveLength(1)
  })

  test('lets a tool come to its end', async () => {
    const g = gate()
    const act = scriptedTool('act', { run: () => g.passed.then(() => 'ok') })
    const r = await rig({ script: [asks('a', 'b')], tools: [act] })
    await r.send('hi')
    await r.until('ToolStarted')
    const { stopped } = stopping(r)
    g.open()
    await stopped
    expect([...act.runs]).toEqual([['a', 1]])
    const next = await r.restart({ script: [END] })
    await next.ended(r.run)
    expect([...act.runs]).toEqual([
      ['a', 1],
      ['b', 1],
    ])
    expect((await next.events('ToolCompleted')).map(({ result }) => result)).toEqual(['ok', 'ok'])
  })

  test('lets an answer end its run', async () => {
    const g = gate()
    const r = await rig({ script: [[g.passed, ...END]] })
    await r.send('hi')
    await r.until('TurnStarted')
    const { stopped } = stopping(r)
    g.open()
    await stopped
    expect(await r.ended()).toMatchObject({ stopReason: 'completed' })
  })

  test.each([
    ['that waits for a person', [asks('a')], 'ApprovalRequested'],
    ['that backs off', [[failure('model_unavailable', 60_000)]], 'RetryScheduled'],
  ] as const)('lets go at once of a run %s', async (_what, script, type) => {
    const r = await rig({ script, tools: [scriptedTool('act')], policy: ASK_ALL })
    await r.send('hi')
    await r.until(type)
    await settle()
    const { watch } = stopping(r)
    await settle()
    expect(watch.done).toBe(true)
    expect((await r.log()).at(-1)?.event.type).toBe(type)
    expect([r.supervisor.active, r.clock.pending]).toEqual([0, 0])
  })

  test('cuts off what does not end in time; the next start goes on', async () => {
    const r = await rig({ script: [[...text('x'), NEVER]] })
    await r.send('hi')
    await r.until('TextDelta')
    const { watch, stopped } = stopping(r, 5000)
    await settle()
    r.clock.advance(4999)
    await settle()
    expect(watch.done).toBe(false)
    r.clock.advance(1)
    await stopped
    expect((await r.log()).some(({ event }) => isTerminal(event))).toBe(false)
    const next = await r.restart({ script: [END] })
    expect(await next.ended(r.run)).toMatchObject({ stopReason: 'completed' })
  })

  test('does not wait for what does not listen', async () => {
    const act = scriptedTool('act', { run: () => new Promise<string>(() => undefined) })
    const r = await rig({ script: [asks('a')], tools: [act] })
    await r.send('hi')
    await r.until('ToolStarted')
    const { watch } = stopping(r, 5000)
    await settle()
    r.clock.advance(5000)
    await settle()
    expect(watch.done).toBe(false)
    r.clock.advance(500)
    await settle()
    expect(watch.done).toBe(true)
    const next = await r.restart({ script: [END] })
    await next.ended(r.run)
    expect((await next.events('ToolCompleted'))[0]?.result).toMatch(/^TOOL_CALL_OUTCOME_UNKNOWN/)
    expect([...act.runs]).toEqual([['a', 1]])
  })

  test('a message that is accepted while it stops is driven by the next start', async () => {
    const r = await rig({ script: [END] })
    await r.supervisor.stop(1000)
    await r.send('late')
    await settle()
    expect(r.models.seen).toHaveLength(0)
    const next = await r.restart()
    expect(await next.ended(r.run)).toMatchObject({ stopReason: 'completed' })
  })

  test('a run that a poll is just taking over is left to the next start', async () => {
    const g = gate()
    const r = await rig({
      script: [END],
      fateOf: (_commit, writes) => (writes[0]?.kind === 'decide' && writes[0].command.type === 'ClaimRun' ? g.passed.then(() => 'pass') : 'pass'),
    })
    const command = {
      type: 'SendMessage',
      messageId: messageId('m'),
      newRunId: runId('r'),
      driver: r.store.driver,
      message: { role: 'user', content: 'hi' },
    } as const
    await r.store.commit([{ kind: 'decide', stream: r.id, command: { ...command, options: {}, whenBusy: 'reject' }, asker: TESTER, atMs: 0 }])
    for (let polls = 2; polls > 0; polls--) {
      r.clock.advance(1000)
      await settle()
    }
    const { stopped } = stopping(r)
    g.open()
    await stopped
    await settle()
    expect([r.models.seen.length, r.supervisor.active]).toEqual([0, 0])
    expect((await r.log()).at(-1)?.event.type).toBe('RunClaimed')
    const next = await r.restart()
    expect(await next.ended(runId('r'))).toMatchObject({ stopReason: 'completed' })
  })

  test('a run that is released is not counted as lost, and leaves no timer', async () => {
    const r = await rig({ script: [END] })
    await r.send('hi')
    await r.ended()
    await r.supervisor.stop(1000)
    expect(r.clock.pending).toBe(0)
    expect(r.logged.filter(({ level }) => level === 'error')).toEqual([])
  })
})

test('a tool that a stop cuts off was not cancelled: one that is safe runs again, of another the outcome is unknown', async () => {
  for (const [repeatable, result] of [
    [true, 'done a'],
    [false, expect.stringContaining('TOOL_CALL_OUTCOME_UNKNOWN')],
  ] as const) {
    let runs = 0
    const act = scriptedTool('act', { repeatable, run: ({ signal }) => (++runs === 1 ? aborted(signal).then(() => 'cut off') : 'done a') })
    const r = await rig({ script: [asks('a')], tools: [act] })
    await r.send('hi')
    await r.until('ToolStarted')
    const { stopped } = stopping(r, 10)
    await settle()
    r.clock.advance(10)
    await stopped
    expect(await r.events('ToolCompleted')).toEqual([])
    const next = await r.restart({ script: [END] })
    await next.ended(r.run)
    expect((await next.events('ToolCompleted')).map((completed) => completed.result)).toEqual([result])
  }
})
