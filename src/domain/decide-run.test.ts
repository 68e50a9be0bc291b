import { describe, expect, test } from 'vitest'
import type { FinishRun, RunOutcome, SessionCommand } from './command.ts'
import type { StreamEvent } from './event.ts'
import type { Principal } from './principal.ts'
import type { SessionState } from './session.ts'
import { TAKEOVERS_MAX, requireRun } from './decide-run.ts'
import { decide } from './decide.ts'
import { ConvokeError } from './errors.ts'
import { messageId, runId, userId } from './ids.ts'
import { USER_SCOPES } from './principal.ts'
import { evolve } from './session.ts'

const ALICE: Principal = { user: userId('alice'), scopes: USER_SCOPES }
const R1 = runId('r1')
const USAGE = { inputTokens: 3, outputTokens: 4, totalTokens: 7 }

const created: StreamEvent = { type: 'SessionCreated', owner: ALICE.user, title: 't', agent: 'coder' }
const started: StreamEvent = { type: 'RunStarted', runId: R1, fence: 4, driver: 5, agent: 'coder', options: {}, by: ALICE.user }
const turn: StreamEvent = { type: 'TurnStarted', runId: R1, turn: 1, attempt: 1, model: 'a/b' }
const said: StreamEvent = { type: 'MessageAdded', messageId: messageId('a'), runId: R1, message: { role: 'assistant', content: [] } }
const used: StreamEvent = { type: 'UsageReported', runId: R1, turn: 1, model: 'a/b', usage: USAGE }
const wish: StreamEvent = { type: 'CancelRequested', runId: R1, by: ALICE.user }
const deleted: StreamEvent = { type: 'SessionDeleted', by: ALICE.user }
const ended: StreamEvent = { type: 'RunCompleted', runId: R1, totalTurns: 1, totalUsage: USAGE, stopReason: 'completed' }
const claimedBy = (driver: number, fence: number): StreamEvent => ({ type: 'RunClaimed', runId: R1, fence, driver })
const waits = (id: string): Extract<StreamEvent, { type: 'MessageQueued' }> => ({
  type: 'MessageQueued',
  messageId: messageId(id),
  nextRunId: runId(`next-${id}`),
  delivery: 'follow_up',
  message: { role: 'user', content: id },
  options: { maxTurns: 2 },
  by: userId('carol'),
})
const delivered = (id: string) =>
  ({ type: 'MessageAdded', messageId: messageId(id), runId: R1, message: { role: 'user', content: id }, delivery: 'follow_up' }) as const

const RUNNING = [created, started, turn]

function given(events: readonly StreamEvent[]): SessionState | undefined {
  return events.reduce<SessionState | undefined>((state, event, index) => evolve(state, event, index + 1), undefined)
}

/** The types of the events, or the code of the refusal. */
function outcome(events: readonly StreamEvent[], command: SessionCommand): readonly string[] | string {
  try {
    return decide(given(events), command, 'driver').events.map((event) => event.type)
  } catch (error) {
    if (error instanceof ConvokeError) return error.code
    throw error
  }
}

describe('claiming a run', () => {
  const claim = (fence: number, driver = 6, id = R1): SessionCommand => ({ type: 'ClaimRun', runId: id, fence, driver })

  test('raises the fence and names the new driver', () => {
    expect(decide(given(RUNNING), claim(4), 'driver')).toEqual({
      events: [{ type: 'RunClaimed', runId: 'r1', fence: 5, driver: 6 }],
      reply: { runId: 'r1' },
    })
  })

  test('is possible for the driver that has it: a start that got lost is taken up again', () => {
    expect(decide(given(RUNNING), claim(4, 5), 'driver').events).toEqual([{ type: 'RunClaimed', runId: 'r1', fence: 5, driver: 5 }])
  })

  test('changes nothing when repeated', () => {
    expect(decide(given([...RUNNING, claimedBy(6, 5)]), claim(4), 'driver')).toEqual({ events: [], reply: { runId: 'r1' } })
  })

  test.each<[string, readonly StreamEvent[], SessionCommand, string]>([
    ['another took it over first', [...RUNNING, claimedBy(7, 5)], claim(4), 'run_mismatch'],
    ['two others took it over first', [...RUNNING, claimedBy(7, 5), claimedBy(8, 6)], claim(4), 'run_mismatch'],
    ['the taker itself took it over long ago, and lost it', [...RUNNING, claimedBy(6, 5), claimedBy(7, 6)], claim(4), 'run_mismatch'],
    ['the taker saw a fence that never was', RUNNING, claim(9), 'run_mismatch'],
    ['the run has ended', [...RUNNING, ended], claim(4), 'session_not_running'],
    ['the run is not the active one', RUNNING, claim(4, 6, runId('r9')), 'run_mismatch'],
  ])('is refused when %s', (_what, events, command, code) => {
    expect(outcome(events, command)).toBe(code)
  })

  test('frees a model call that died with its driver; a tool may still run', () => {
    const proposed: StreamEvent = { type: 'ToolCallsProposed', runId: R1, turn: 1, calls: [{ id: 'c1', name: 't', arguments: {}, disposition: 'approve' }] }
    const running: StreamEvent = { type: 'ToolStarted', runId: R1, toolCallId: 'c1', toolName: 't', attempt: 1 }
    expect(given([...RUNNING, claimedBy(6, 5)])).toMatchObject({ fence: 5, run: { driver: 6, calling: false } })
    expect(given([...RUNNING, said, proposed, running, claimedBy(6, 5)])?.calls).toMatchObject([{ id: 'c1', status: 'started' }])
  })
})

describe('takeovers', () => {
  const proposed: StreamEvent = { type: 'ToolCallsProposed', runId: R1, turn: 1, calls: [{ id: 'c1', name: 't', arguments: {}, disposition: 'approve' }] }
  const completed: StreamEvent = { type: 'ToolCompleted', runId: R1, toolCallId: 'c1', toolName: 't', result: '', isError: false }
  const rejected: StreamEvent = { type: 'ToolRejected', runId: R1, toolCallId: 'c1', toolName: 't', reason: '' }
  const claims = (count: number) => Array.from({ length: count }, (_, index) => claimedBy(6 + index, 5 + index))

  test('are counted until a step is finished', () => {
    expect(given([...RUNNING, ...claims(3)])?.run?.takeovers).toBe(3)
  })

  test.each([
    ['a model call', used],
    ['a tool call', completed],
    ['a refused tool call', rejected],
  ])('are forgotten after %s has its result', (_what, step) => {
    expect(given([...RUNNING, proposed, ...claims(2), step])?.run?.takeovers).toBe(0)
    expect(given([...RUNNING, proposed, ...claims(2), step, claimedBy(9, 9)])?.run?.takeovers).toBe(1)
  })

  test.each<[string, StreamEvent]>([
    ['a try that is scheduled again', { type: 'RetryScheduled', runId: R1, attempt: 1, delayMs: 1, reason: '' }],
    ['a new attempt', { type: 'AttemptStarted', runId: R1, turn: 1, attempt: 2, model: 'a/b' }],
    ['text', { type: 'TextDelta', runId: R1, delta: 'x' }],
  ])('are not forgotten after %s', (_what, event) => {
    expect(given([...RUNNING, ...claims(2), event])?.run?.takeovers).toBe(2)
  })

  test('end a run as a crash loop after three of them', () => {
    expect(TAKEOVERS_MAX).toBe(3)
  })
})

describe('finishing a run', () => {
  const finish = (result: RunOutcome, closing: FinishRun['closing'] = []): FinishRun => ({
    type: 'FinishRun',
    runId: R1,
    fence: 4,
    closing,
    outcome: result,
    totalTurns: 2,
    totalUsage: USAGE,
  })
  const completed = (stopReason: 'completed' | 'cancelled' | 'max_turns' = 'completed'): RunOutcome => ({ kind: 'completed', stopReason })
  const failed: RunOutcome = { kind: 'failed', code: 'agent_failed', error: 'it broke' }

  test.each<[string, RunOutcome, StreamEvent]>([
    ['completed', completed(), { type: 'RunCompleted', runId: R1, totalTurns: 2, totalUsage: USAGE, stopReason: 'completed' }],
    ['cancelled', completed('cancelled'), { type: 'RunCompleted', runId: R1, totalTurns: 2, totalUsage: USAGE, stopReason: 'cancelled' }],
    ['at its last turn', completed('max_turns'), { type: 'RunCompleted', runId: R1, totalTurns: 2, totalUsage: USAGE, stopReason: 'max_turns' }],
    ['failed', failed, { type: 'RunFailed', runId: R1, code: 'agent_failed', error: 'it broke', totalUsage: USAGE }],
  ])('%s puts the closing events first and the terminal one last', (_what, result, last) => {
    const closing = [said, used] as FinishRun['closing']
    expect(decide(given(RUNNING), finish(result, closing), 'driver')).toEqual({ events: [said, used, last], reply: { runId: 'r1' } })
    expect(given([...RUNNING, last])?.lastRun).toEqual({ id: 'r1', failed: last.type === 'RunFailed' })
  })

  test.each<[string, readonly StreamEvent[]]>([
    ['a message waits', [...RUNNING, waits('w1')]],
    ['a cancel arrived', [...RUNNING, wish]],
    ['both', [...RUNNING, waits('w1'), wish]],
  ])('completed is refused while %s, so that the run takes it up', (_what, events) => {
    expect(outcome(events, finish(completed()))).toBe('input_pending')
  })

  test.each<[string, RunOutcome]>([
    ['failed', failed],
    ['at its last turn', completed('max_turns')],
  ])('%s after a cancel was accepted is cancelled', (_what, result) => {
    expect(decide(given([...RUNNING, wish]), finish(result, [said]), 'driver').events).toEqual([
      said,
      { type: 'RunCompleted', runId: R1, totalTurns: 2, totalUsage: USAGE, stopReason: 'cancelled' },
    ])
  })

  test('completed is possible when its own closing events deliver what waits', () => {
    expect(outcome([...RUNNING, waits('w1')], finish(completed(), [delivered('w1')]))).toEqual(['MessageAdded', 'RunCompleted'])
    expect(outcome([...RUNNING, waits('w1'), waits('w2')], finish(completed(), [delivered('w1')]))).toBe('input_pending')
  })

  test.each<[string, RunOutcome]>([
    ['cancelled', completed('cancelled')],
    ['at its last turn', completed('max_turns')],
    ['failed', failed],
  ])('%s starts the next run with the first message that waits', (_what, result) => {
    const log = [...RUNNING, waits('w1'), waits('w2')]
    const { events } = decide(given(log), finish(result), 'driver')
    expect(events.slice(1)).toEqual([
      { type: 'RunStarted', runId: 'next-w1', fence: 5, driver: 5, agent: 'coder', options: { maxTurns: 2 }, by: 'carol' },
      { type: 'MessageAdded', messageId: 'w1', runId: 'next-w1', message: { role: 'user', content: 'w1' }, delivery: 'follow_up' },
    ])
    expect(given([...log, ...events])).toMatchObject({ fence: 5, run: { id: 'next-w1' }, queue: [{ messageId: 'w2' }] })
  })

  test('that delivers the first of two starts the next run with the second', () => {
    expect(decide(given([...RUNNING, waits('w1'), waits('w2')]), finish(failed, [delivered('w1')]), 'driver').events.at(-1)).toMatchObject({ messageId: 'w2' })
  })

  test('of a deleted session starts nothing', () => {
    expect(outcome([...RUNNING, waits('w1'), wish, deleted], finish(completed('cancelled')))).toEqual(['RunCompleted'])
  })

  test.each<[string, readonly StreamEvent[], string]>([
    ['it has ended already: a run ends once', [...RUNNING, ended], 'session_not_running'],
    ['another run is active', [created, { ...started, runId: runId('r9') } as StreamEvent], 'run_mismatch'],
    ['none ever ran', [created], 'session_not_running'],
  ])('is refused when %s', (_what, events, code) => {
    expect(outcome(events, finish(completed()))).toBe(code)
    expect(outcome(events, finish(failed))).toBe(code)
  })
})

test('the active run is found by its id only', () => {
  expect(requireRun(given(RUNNING) as SessionState, R1)).toMatchObject({ id: 'r1', driver: 5, startedAt: 2, turn: 1 })
  expect(() => requireRun(given(RUNNING) as SessionState, runId('r9'))).toThrow(expect.objectContaining({ code: 'run_mismatch' }))
  expect(() => requireRun(given([created]) as SessionState, R1)).toThrow(expect.objectContaining({ code: 'session_not_running' }))
})
