import { describe, expect, test } from 'vitest'
import type { SessionCommand } from './command.ts'
import type { Asker } from './decision.ts'
import type { StreamEvent } from './event.ts'
import type { Principal } from './principal.ts'
import type { SessionState } from './session.ts'
import { CANCELLED_RESULT, CANCEL_CONFIRM_MS, UNKNOWN_RESULT, openCallResults } from './decide-cancel.ts'
import { decide } from './decide.ts'
import { ConvokeError } from './errors.ts'
import { messageId, runId, userId } from './ids.ts'
import { USER_SCOPES } from './principal.ts'
import { evolve } from './session.ts'

const ALICE: Principal = { user: userId('alice'), scopes: USER_SCOPES }
const R1 = runId('r1')
const USAGE = { inputTokens: 3, outputTokens: 4, totalTokens: 7 }
const CANCEL: SessionCommand = { type: 'CancelRun', runId: R1 }
const FORCE: SessionCommand = { type: 'ForceCancel', runId: R1 }
const DELETE: SessionCommand = { type: 'DeleteSession' }

const created: StreamEvent = { type: 'SessionCreated', owner: ALICE.user, title: 't', agent: 'coder' }
const started: StreamEvent = { type: 'RunStarted', runId: R1, fence: 1, driver: 5, agent: 'coder', options: {}, by: ALICE.user }
const turn: StreamEvent = { type: 'TurnStarted', runId: R1, turn: 1, attempt: 1, model: 'a/b' }
const delta: StreamEvent = { type: 'TextDelta', runId: R1, delta: 'so' }
const backOff: StreamEvent = { type: 'RetryScheduled', runId: R1, attempt: 1, delayMs: 2000, reason: 'busy' }
const again: StreamEvent = { type: 'AttemptStarted', runId: R1, turn: 1, attempt: 2, model: 'a/b' }
const said: StreamEvent = { type: 'MessageAdded', messageId: messageId('a'), runId: R1, message: { role: 'assistant', content: [] } }
const used: StreamEvent = { type: 'UsageReported', runId: R1, turn: 1, model: 'a/b', usage: USAGE }
const proposed: StreamEvent = {
  type: 'ToolCallsProposed',
  runId: R1,
  turn: 1,
  calls: ['c1', 'c2'].map((id) => ({ id, name: 'bash', arguments: {}, disposition: 'ask' }) as const),
}
const asked: StreamEvent = { type: 'ApprovalRequested', runId: R1, toolCallIds: ['c1', 'c2'] }
const accepted: StreamEvent = { type: 'ApprovalDecided', runId: R1, toolCallId: 'c1', action: 'accept', by: ALICE.user }
const running: StreamEvent = { type: 'ToolStarted', runId: R1, toolCallId: 'c1', toolName: 'bash', attempt: 1 }
const ran: StreamEvent = { type: 'ToolCompleted', runId: R1, toolCallId: 'c1', toolName: 'bash', result: 'ok', isError: false }
const turnEnd: StreamEvent = { type: 'TurnCompleted', runId: R1, turn: 1, finishReason: 'tool_calls' }
const wish: StreamEvent = { type: 'CancelRequested', runId: R1, by: ALICE.user }
const claimed: StreamEvent = { type: 'RunClaimed', runId: R1, fence: 2, driver: 6 }
const waits = (id: string): StreamEvent => ({
  type: 'MessageQueued',
  messageId: messageId(id),
  nextRunId: runId(`next-${id}`),
  delivery: 'steer',
  message: { role: 'user', content: id },
  options: { maxTurns: 2 },
  by: userId('carol'),
})

const QUEUED = [created, started]
const CALLING = [...QUEUED, turn]
const STREAMING = [...CALLING, delta]
const BACKING_OFF = [...CALLING, backOff]
const RETRYING = [...BACKING_OFF, again]
const PROPOSED = [...CALLING, said, used, proposed]
const WAITING = [...PROPOSED, asked]
const ACCEPTED = [...WAITING, accepted]
const TOOL = [...ACCEPTED, running]
const TOOL_DONE = [...TOOL, ran]
const BETWEEN = [...TOOL_DONE, { ...ran, toolCallId: 'c2' } as StreamEvent, turnEnd]

function given(events: readonly StreamEvent[]): SessionState | undefined {
  return events.reduce<SessionState | undefined>((state, event, index) => evolve(state, event, index + 1), undefined)
}

function after(events: readonly StreamEvent[], command: SessionCommand, asker: Asker = ALICE): readonly StreamEvent[] {
  return [...events, ...decide(given(events), command, asker).events]
}

/** Each event in short, or the code of the refusal. */
function outcome(events: readonly StreamEvent[], command: SessionCommand, asker: Asker = ALICE): readonly string[] | string {
  try {
    return decide(given(events), command, asker).events.map(short)
  } catch (error) {
    if (error instanceof ConvokeError) return error.code
    throw error
  }
}

function short(event: StreamEvent): string {
  switch (event.type) {
    case 'ToolCompleted':
      return `${event.toolCallId}: ${event.result.split(':')[0]}`
    case 'RunStarted':
      return `RunStarted ${event.runId} ${event.fence}`
    case 'RunCompleted':
      return `RunCompleted ${event.stopReason}`
    default:
      return event.type
  }
}

const CANCELLED_CALLS = ['c1: TOOL_CALL_CANCELLED', 'c2: TOOL_CALL_CANCELLED']
const AT_ONCE: readonly [string, readonly StreamEvent[], readonly string[]][] = [
  ['queued', QUEUED, []],
  ['backing off', BACKING_OFF, ['TurnCompleted']],
  ['between its calls and their approval', PROPOSED, [...CANCELLED_CALLS, 'TurnCompleted']],
  ['waiting for approval', WAITING, [...CANCELLED_CALLS, 'TurnCompleted']],
  ['about to run an accepted call', ACCEPTED, [...CANCELLED_CALLS, 'TurnCompleted']],
  ['between two calls', TOOL_DONE, ['c2: TOOL_CALL_CANCELLED', 'TurnCompleted']],
  ['between two turns: the first one has ended', BETWEEN, []],
  ['taken over before its call was repeated', [...CALLING, claimed], ['TurnCompleted']],
]
const LIVE: readonly [string, readonly StreamEvent[]][] = [
  ['calling the model', CALLING],
  ['streaming an answer', STREAMING],
  ['calling again after a pause', RETRYING],
  ['running a tool', TOOL],
  ['taken over while a tool may run', [...TOOL, claimed]],
]

describe('a cancel without a live step ends the run by itself', () => {
  test.each(AT_ONCE)('%s', (_what, events, closing) => {
    expect(outcome(events, CANCEL)).toEqual(['CancelRequested', ...closing, 'RunCompleted cancelled'])
    expect(decide(given(events), CANCEL, ALICE).reply).toEqual({ runId: 'r1', cancel: 'cancelled' })
    expect(given(after(events, CANCEL))).toMatchObject({ lastRun: { id: 'r1', failed: false } })
    expect(given(after(events, CANCEL))).not.toHaveProperty('run')
  })

  test('with all that it used, and a result for each open call', () => {
    const { events } = decide(given(WAITING), CANCEL, ALICE)
    expect(events).toEqual([
      { type: 'CancelRequested', runId: 'r1', by: 'alice' },
      { type: 'ToolCompleted', runId: 'r1', toolCallId: 'c1', toolName: 'bash', result: 'TOOL_CALL_CANCELLED', isError: true },
      { type: 'ToolCompleted', runId: 'r1', toolCallId: 'c2', toolName: 'bash', result: 'TOOL_CALL_CANCELLED', isError: true },
      { type: 'TurnCompleted', runId: 'r1', turn: 1, finishReason: 'cancelled' },
      { type: 'RunCompleted', runId: 'r1', totalTurns: 1, totalUsage: USAGE, stopReason: 'cancelled' },
    ])
  })

  test('and the first message that waits starts the next run, with the options it came with', () => {
    const { events } = decide(given([...WAITING, waits('w1'), waits('w2')]), CANCEL, ALICE)
    expect(events.slice(-2)).toEqual([
      { type: 'RunStarted', runId: 'next-w1', fence: 2, driver: 5, agent: 'coder', options: { maxTurns: 2 }, by: 'carol' },
      { type: 'MessageAdded', messageId: 'w1', runId: 'next-w1', message: { role: 'user', content: 'w1' }, delivery: 'steer' },
    ])
    expect(given(after([...WAITING, waits('w1'), waits('w2')], CANCEL))).toMatchObject({
      run: { id: 'next-w1', turn: 0 },
      queue: [{ messageId: 'w2' }],
      calls: [],
    })
  })
})

describe('a cancel of a live step is a wish that the driver confirms', () => {
  test.each(LIVE)('%s', (_what, events) => {
    expect(outcome(events, CANCEL)).toEqual(['CancelRequested'])
    expect(decide(given(events), CANCEL, ALICE).reply).toEqual({ runId: 'r1', cancel: 'cancelling' })
    expect(given(after(events, CANCEL))?.run).toMatchObject({ id: 'r1', cancelling: true })
  })

  test.each(LIVE)('repeated, it is no event: %s', (_what, events) => {
    expect(decide(given(after(events, CANCEL)), CANCEL, ALICE)).toEqual({ events: [], reply: { runId: 'r1', cancel: 'cancelling' } })
  })

  test('repeated when the step has ended but the driver has not said so, it ends the run', () => {
    expect(outcome([...after(TOOL, CANCEL), ran], CANCEL)).toEqual(['c2: TOOL_CALL_CANCELLED', 'TurnCompleted', 'RunCompleted cancelled'])
  })

  test('what waits goes on waiting: the run still ends first', () => {
    expect(outcome([...CALLING, waits('w1')], CANCEL)).toEqual(['CancelRequested'])
  })
})

describe('a cancel of no active run', () => {
  const ended = after(WAITING, CANCEL)

  test('of the run that ended last changes nothing, however it ended', () => {
    const failed: StreamEvent = { type: 'RunFailed', runId: R1, code: 'x', error: 'y', totalUsage: USAGE }
    for (const log of [ended, [...CALLING, failed]])
      expect(decide(given(log), CANCEL, ALICE)).toEqual({ events: [], reply: { runId: 'r1', cancel: 'cancelled' } })
  })

  test.each<[string, readonly StreamEvent[], SessionCommand, string]>([
    ['a session that never ran', [created], CANCEL, 'session_not_running'],
    ['an unknown run of a session at rest', ended, { type: 'CancelRun', runId: runId('r9') }, 'session_not_running'],
    ['another run than the active one', CALLING, { type: 'CancelRun', runId: runId('r9') }, 'run_mismatch'],
    ['the run before the active one', after([...WAITING, waits('w1')], CANCEL), CANCEL, 'run_mismatch'],
  ])('is refused: %s', (_what, events, command, code) => {
    expect(outcome(events, command)).toBe(code)
  })
})

describe('a cancel that its driver did not confirm', () => {
  test.each<[string, readonly StreamEvent[], readonly string[]]>([
    ['calling the model', CALLING, ['TurnCompleted']],
    ['streaming an answer', STREAMING, ['TurnCompleted']],
    ['running a tool', TOOL, ['c1: TOOL_CALL_OUTCOME_UNKNOWN', 'c2: TOOL_CALL_CANCELLED', 'TurnCompleted']],
    ['past its tool', [...TOOL, ran], ['c2: TOOL_CALL_CANCELLED', 'TurnCompleted']],
    ['past its turn', BETWEEN, []],
  ])('is ended over its head, by a higher fence: %s', (_what, events, closing) => {
    const log = [...events, wish]
    expect(outcome(log, FORCE, 'driver')).toEqual(['RunClaimed', ...closing, 'RunCompleted cancelled'])
    expect(decide(given(log), FORCE, 'driver').events[0]).toEqual({ type: 'RunClaimed', runId: 'r1', fence: 2, driver: 5 })
    expect(decide(given(log), FORCE, 'driver').reply).toEqual({ runId: 'r1', cancel: 'cancelled' })
    expect(given(after(log, FORCE, 'driver'))?.fence).toBe(2)
  })

  test('raises the fence once more for the run that a waiting message starts', () => {
    const log = [...CALLING, waits('w1'), wish]
    expect(outcome(log, FORCE, 'driver')).toEqual(['RunClaimed', 'TurnCompleted', 'RunCompleted cancelled', 'RunStarted next-w1 3', 'MessageAdded'])
    expect(given(after(log, FORCE, 'driver'))).toMatchObject({ fence: 3, run: { id: 'next-w1' }, queue: [] })
  })

  test.each<[string, readonly StreamEvent[]]>([
    ['of a run that nobody cancelled', TOOL],
    ['of a run that its driver has ended meanwhile', after([...CALLING, wish, backOff], CANCEL)],
    ['when the next run is under way', after([...BACKING_OFF, waits('w1')], CANCEL)],
    ['repeated', after([...TOOL, wish], FORCE, 'driver')],
    ['in a session that never ran', [created]],
  ])('changes nothing %s', (_what, events) => {
    expect(decide(given(events), FORCE, 'driver')).toEqual({ events: [], reply: { runId: 'r1' } })
  })

  test('has its 150 ms', () => {
    expect(CANCEL_CONFIRM_MS).toBe(150)
  })
})

describe('results of open calls', () => {
  test('are for those that have none yet; only a started one has an unknown outcome', () => {
    const two = { ...running, toolCallId: 'c2' } as StreamEvent
    const results = openCallResults(given([...TOOL_DONE, two]) as SessionState, UNKNOWN_RESULT)
    expect(results).toEqual([{ type: 'ToolCompleted', runId: 'r1', toolCallId: 'c2', toolName: 'bash', result: UNKNOWN_RESULT, isError: true }])
    expect(openCallResults(given(WAITING) as SessionState, UNKNOWN_RESULT)).toMatchObject([{ result: CANCELLED_RESULT }, { result: CANCELLED_RESULT }])
  })

  test('are none without a run', () => {
    expect(openCallResults(given(after(WAITING, CANCEL)) as SessionState, UNKNOWN_RESULT)).toEqual([])
  })
})

describe('deleting a session', () => {
  test.each<[string, readonly StreamEvent[], readonly string[]]>([
    ['at rest', [created], []],
    ['whose run waits', WAITING, ['CancelRequested', ...CANCELLED_CALLS, 'TurnCompleted', 'RunCompleted cancelled']],
    ['whose run has a live step', TOOL, ['CancelRequested']],
    ['whose run is being cancelled', [...TOOL, wish], []],
    [
      'with messages that wait, which start nothing',
      [...WAITING, waits('w1')],
      ['CancelRequested', ...CANCELLED_CALLS, 'TurnCompleted', 'RunCompleted cancelled'],
    ],
  ])('%s cancels its run', (_what, events, cancel) => {
    expect(outcome(events, DELETE)).toEqual([...cancel, 'SessionDeleted'])
    expect(given(after(events, DELETE))?.status).toBe('deleted')
  })

  test.each([
    ['at rest', [created]],
    ['with a live step', TOOL],
  ] as const)('again changes nothing: %s', (_what, events) => {
    expect(decide(given(after(events, DELETE)), DELETE, ALICE)).toEqual({ events: [], reply: {} })
  })

  test('ends what waits with it: a cancel that is forced afterwards starts no run', () => {
    const log = after([...TOOL, waits('w1')], DELETE)
    expect(outcome(log, FORCE, 'driver')).toEqual([
      'RunClaimed',
      'c1: TOOL_CALL_OUTCOME_UNKNOWN',
      'c2: TOOL_CALL_CANCELLED',
      'TurnCompleted',
      'RunCompleted cancelled',
    ])
  })
})
