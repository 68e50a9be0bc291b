import { describe, expect, test } from 'vitest'
import type { Disposition, OnInterrupt, StreamEvent } from './event.ts'
import { decide } from './decide.ts'
import { ConvokeError } from './errors.ts'
import { messageId, runId, userId } from './ids.ts'
import { USER_SCOPES, type Principal } from './principal.ts'
import { evolve, hasLiveStep, isWaiting, type SessionState } from './session.ts'
import { NO_USAGE } from './usage.ts'

const ALICE: Principal = { user: userId('alice'), scopes: USER_SCOPES }
const R1 = runId('r1')
const R2 = runId('r2')

const created = (onInterrupt?: OnInterrupt): StreamEvent => ({
  type: 'SessionCreated',
  owner: ALICE.user,
  title: 't',
  agent: 'coder',
  ...(onInterrupt === undefined ? {} : { onInterrupt }),
})
const started: StreamEvent = { type: 'RunStarted', runId: R1, fence: 1, driver: 1, agent: 'coder', options: {}, by: ALICE.user }
const turn: StreamEvent = { type: 'TurnStarted', runId: R1, turn: 1, attempt: 1, model: 'a/b' }
const said: StreamEvent = { type: 'MessageAdded', messageId: messageId('a'), runId: R1, message: { role: 'assistant', content: [] } }
const proposed = (calls: Readonly<Record<string, Disposition>>): StreamEvent => ({
  type: 'ToolCallsProposed',
  runId: R1,
  turn: 1,
  calls: Object.entries(calls).map(([id, disposition]) => ({ id, name: 'act', arguments: {}, disposition })),
})
const asked = (...toolCallIds: string[]): StreamEvent => ({ type: 'ApprovalRequested', runId: R1, toolCallIds })
const running = (toolCallId: string): StreamEvent => ({ type: 'ToolStarted', runId: R1, toolCallId, toolName: 'act', attempt: 1 })
const done = (toolCallId: string): StreamEvent => ({ type: 'ToolCompleted', runId: R1, toolCallId, toolName: 'act', result: '', isError: false })
const claim = (fence: number): StreamEvent => ({ type: 'RunClaimed', runId: R1, fence, driver: fence })
const resumeAsked: StreamEvent = { type: 'ResumeRequested', runId: R1 }
const goOn: StreamEvent = { type: 'ResumeDecided', runId: R1, action: 'resume', by: ALICE.user }
const queued: StreamEvent = {
  type: 'MessageQueued',
  messageId: messageId('q'),
  nextRunId: R2,
  delivery: 'follow_up',
  message: { role: 'user', content: 'and then' },
  options: {},
  by: ALICE.user,
}

/** What a run may have been doing when its driver died. */
const IN_A_STEP: Readonly<Record<string, readonly StreamEvent[]>> = {
  'calling the model': [started, turn],
  'running a tool': [started, turn, said, proposed({ c1: 'approve', c2: 'ask' }), asked('c2'), running('c1')],
}
const BETWEEN_STEPS: Readonly<Record<string, readonly StreamEvent[]>> = {
  'before its first turn': [started],
  'waiting for an approval': [started, turn, said, proposed({ c1: 'ask' }), asked('c1')],
  'between two calls': [started, turn, said, proposed({ c1: 'approve', c2: 'approve' }), running('c1'), done('c1')],
  'backing off': [started, turn, { type: 'RetryScheduled', runId: R1, attempt: 1, delayMs: 9, reason: '' }],
}

function given(events: readonly StreamEvent[]): SessionState {
  const state = events.reduce<SessionState | undefined>((folded, event, index) => evolve(folded, event, index + 1), undefined)
  if (state === undefined) throw new Error('no session')
  return state
}

const takeOver = (state: SessionState) => decide(state, { type: 'ClaimRun', runId: R1, fence: state.fence, driver: 9 }, 'driver').events
const answer = (state: SessionState, action: 'resume' | 'fail', run = R1) => decide(state, { type: 'ResumeRun', runId: run, action }, ALICE)
const types = (events: readonly StreamEvent[]) => events.map(({ type }) => type)

function codeOf(work: () => unknown): string {
  try {
    work()
  } catch (error) {
    if (error instanceof ConvokeError) return error.code
    throw error
  }
  return 'taken'
}

describe('a takeover', () => {
  test.each(Object.entries(BETWEEN_STEPS))('of a run %s asks nobody and fails nothing, whatever the session wants (I1)', (_where, run) => {
    for (const wish of [undefined, 'resume', 'ask', 'fail'] as const) expect(types(takeOver(given([created(wish), ...run])))).toEqual(['RunClaimed'])
  })

  test.each(Object.entries(IN_A_STEP))('of a run %s goes on, asks or ends, as the session wants', (_where, run) => {
    expect(types(takeOver(given([created(), ...run])))).toEqual(['RunClaimed'])
    expect(types(takeOver(given([created('resume'), ...run])))).toEqual(['RunClaimed'])
    expect(types(takeOver(given([created('ask'), ...run])))).toEqual(['RunClaimed', 'ResumeRequested'])
    expect(types(takeOver(given([created('fail'), ...run]))).slice(-2)).toEqual(['TurnCompleted', 'RunFailed'])
  })

  test.each(Object.entries(IN_A_STEP))('of a run %s that was cancelled asks nobody and fails nothing: the cancel was accepted', (_where, run) => {
    const cancelled: StreamEvent = { type: 'CancelRequested', runId: R1, by: ALICE.user }
    for (const wish of [undefined, 'resume', 'ask', 'fail'] as const) {
      expect(types(takeOver(given([created(wish), ...run, cancelled])))).toEqual(['RunClaimed'])
    }
  })

  test('that fails a run gives each of its calls a result, and says why (I3)', () => {
    expect(takeOver(given([created('fail'), ...(IN_A_STEP['running a tool'] ?? [])])).slice(1)).toEqual([
      {
        type: 'ToolCompleted',
        runId: 'r1',
        toolCallId: 'c1',
        toolName: 'act',
        result: 'TOOL_CALL_OUTCOME_UNKNOWN: the call was interrupted; it may or may not have taken effect',
        isError: true,
      },
      { type: 'ToolCompleted', runId: 'r1', toolCallId: 'c2', toolName: 'act', result: 'TOOL_CALL_CANCELLED', isError: true },
      { type: 'TurnCompleted', runId: 'r1', turn: 1, finishReason: 'error' },
      { type: 'RunFailed', runId: 'r1', code: 'run_interrupted', error: 'the run was interrupted', totalUsage: NO_USAGE },
    ])
  })

  test('that fails a run starts the next with the message that waited, under a fence of its own', () => {
    expect(takeOver(given([created('fail'), started, turn, queued])).slice(-2)).toMatchObject([
      { type: 'RunStarted', runId: 'r2', fence: 3, driver: 9 },
      { type: 'MessageAdded', messageId: 'q', runId: 'r2' },
    ])
  })

  test('of a run that asks already does not ask again', () => {
    expect(types(takeOver(given([created('ask'), started, turn, claim(2), resumeAsked])))).toEqual(['RunClaimed'])
  })

  test('of a run that was allowed to go on and has not yet does not ask again; after its next step it does (I2)', () => {
    const allowed = [created('ask'), ...(IN_A_STEP['running a tool'] ?? []), claim(2), resumeAsked, goOn, claim(3)]
    expect(types(takeOver(given(allowed)))).toEqual(['RunClaimed'])
    const again: StreamEvent = { type: 'AttemptStarted', runId: R1, turn: 1, attempt: 2, model: 'a/b' }
    expect(types(takeOver(given([...allowed, again])))).toEqual(['RunClaimed', 'ResumeRequested'])
    expect(types(takeOver(given([...allowed, running('c1')])))).toEqual(['RunClaimed', 'ResumeRequested'])
    expect(types(takeOver(given([...allowed, done('c1')])))).toEqual(['RunClaimed'])
  })

  test('of a run that was interrupted too often is left to the rule for crash loops', () => {
    const looping = [created('ask'), started, turn, claim(2), resumeAsked, goOn, claim(3), claim(4), claim(5)]
    const interruptedAgain: StreamEvent = { type: 'AttemptStarted', runId: R1, turn: 1, attempt: 2, model: 'a/b' }
    expect(types(takeOver(given([...looping, interruptedAgain])))).toEqual(['RunClaimed'])
  })

  test('counts anew when a person said go on: whoever looks at each interruption is no crash loop', () => {
    const begun: StreamEvent = { type: 'AttemptStarted', runId: R1, turn: 1, attempt: 2, model: 'a/b' }
    const allowed = [resumeAsked, goOn]
    const twice = [created('ask'), started, turn, claim(2), ...allowed, claim(3), begun, claim(4), ...allowed]
    expect(given(twice).run?.takeovers).toBe(0)
    expect(types(takeOver(given([...twice, claim(5), begun])))).toEqual(['RunClaimed', 'ResumeRequested'])
  })

  test('follows what the session wants now, not what it wanted when the run began', () => {
    const changed: StreamEvent = { type: 'SessionUpdated', onInterrupt: 'ask', by: ALICE.user }
    expect(types(takeOver(given([created(), started, turn, changed])))).toEqual(['RunClaimed', 'ResumeRequested'])
  })
})

describe('a run that asks whether it may go on', () => {
  const log = [created('ask'), ...(IN_A_STEP['running a tool'] ?? []), claim(2), resumeAsked]

  test('waits, and has no live step', () => {
    expect([isWaiting(given(log)), hasLiveStep(given(log)), given(log).run?.resume]).toEqual([true, false, 'asked'])
  })

  test('goes on when a person says so; the same answer again is no event, the other one a conflict', () => {
    expect(answer(given(log), 'resume')).toEqual({ events: [{ type: 'ResumeDecided', runId: 'r1', action: 'resume', by: 'alice' }], reply: { runId: 'r1' } })
    expect(answer(given([...log, goOn]), 'resume').events).toEqual([])
    expect(codeOf(() => answer(given([...log, goOn]), 'fail'))).toBe('decision_conflict')
  })

  test('ends as failed when a person says so, in the same write; the same answer again is no event', () => {
    const { events } = answer(given(log), 'fail')
    expect(types(events)).toEqual(['ResumeDecided', 'ToolCompleted', 'ToolCompleted', 'TurnCompleted', 'RunFailed'])
    expect(answer(given([...log, ...events]), 'fail').events).toEqual([])
    expect(codeOf(() => answer(given([...log, ...events]), 'resume'))).toBe('session_not_running')
  })

  test('is cancelled at once, and what it had begun has an unknown outcome', () => {
    const { events, reply } = decide(given(log), { type: 'CancelRun', runId: R1 }, ALICE)
    expect(reply.cancel).toBe('cancelled')
    expect(events.map((event) => (event.type === 'ToolCompleted' ? event.result.split(':')[0] : event.type))).toEqual([
      'CancelRequested',
      'TOOL_CALL_OUTCOME_UNKNOWN',
      'TOOL_CALL_CANCELLED',
      'TurnCompleted',
      'RunCompleted',
    ])
  })

  test.each([
    ['a session without a run', [created('ask')], R1, 'session_not_running'],
    ['another run', log, R2, 'run_mismatch'],
    ['a run that does not ask', [created('ask'), started, turn], R1, 'decision_conflict'],
  ])('is not confused with %s', (_what, events, run, code) => {
    for (const action of ['resume', 'fail'] as const) expect(codeOf(() => answer(given(events), action, run))).toBe(code)
  })

  test('takes no answer from a driver, and none without the scope', () => {
    expect(codeOf(() => decide(given(log), { type: 'ResumeRun', runId: R1, action: 'resume' }, 'driver'))).toBe('forbidden')
    const reader: Principal = { user: ALICE.user, scopes: ['sessions:read'] }
    expect(codeOf(() => decide(given(log), { type: 'ResumeRun', runId: R1, action: 'resume' }, reader))).toBe('forbidden')
  })
})
