import { describe, expect, test } from 'vitest'
import type { StreamEvent } from './event.ts'
import type { SessionState } from './session.ts'
import { EVENT_VERSIONS } from './event-types.ts'
import { messageId, runId, sessionId, userId } from './ids.ts'
import { STATE_VERSION, evolve, hasLiveStep, isWaiting } from './session.ts'
import { NO_USAGE } from './usage.ts'

const ALICE = userId('alice')
const R1 = runId('01900000-0000-7000-8000-000000000001')
const OTHER = runId('01900000-0000-7000-8000-000000000002')
const hello = { role: 'user', content: 'hello' } as const
const run = { runId: R1 }
const call = { ...run, toolCallId: 'c1', toolName: 'bash' }
const usage = { inputTokens: 3, outputTokens: 4, totalTokens: 7 }

/** One event of each type that is written. */
const SAMPLES: { readonly [Type in keyof typeof EVENT_VERSIONS]: Extract<StreamEvent, { type: Type }> } = {
  SessionCreated: { type: 'SessionCreated', owner: ALICE, title: 't', agent: 'coder', cwd: '/work', model: 'a/b' },
  SessionForked: {
    type: 'SessionForked',
    origin: { sessionId: sessionId('01900000-0000-7000-8000-00000000000a'), position: 7 },
    owner: ALICE,
    title: 't',
    agent: 'coder',
    cwd: '/work',
    model: 'a/b',
    messages: 2,
    by: ALICE,
  },
  SessionUpdated: { type: 'SessionUpdated', title: 'b', by: ALICE },
  SessionDeleted: { type: 'SessionDeleted', by: ALICE },
  SessionAssigned: { type: 'SessionAssigned', from: ALICE, to: userId('bob') },
  ModelChanged: { type: 'ModelChanged', model: 'a/c', by: ALICE },
  TodosUpdated: { type: 'TodosUpdated', ...run, todos: [] },
  MessageAdded: { type: 'MessageAdded', ...run, messageId: messageId('m'), message: hello },
  MessageQueued: { type: 'MessageQueued', messageId: messageId('q'), nextRunId: OTHER, delivery: 'steer', message: hello, options: {}, by: ALICE },
  RunStarted: { type: 'RunStarted', ...run, fence: 1, driver: 1, agent: 'coder', options: {}, by: ALICE },
  RunClaimed: { type: 'RunClaimed', ...run, fence: 2, driver: 2 },
  ResumeRequested: { type: 'ResumeRequested', ...run },
  ResumeDecided: { type: 'ResumeDecided', ...run, action: 'resume', by: ALICE },
  TurnStarted: { type: 'TurnStarted', ...run, turn: 1, attempt: 1, model: 'a/b' },
  AttemptStarted: { type: 'AttemptStarted', ...run, turn: 1, attempt: 2, model: 'a/b' },
  TextDelta: { type: 'TextDelta', ...run, delta: 'x' },
  ThinkingDelta: { type: 'ThinkingDelta', ...run, delta: 'x' },
  TextCompleted: { type: 'TextCompleted', ...run, text: 'x' },
  RetryScheduled: { type: 'RetryScheduled', ...run, attempt: 1, delayMs: 1, reason: '' },
  AttemptSuperseded: { type: 'AttemptSuperseded', ...run, turn: 1, attempt: 1, from: 4 },
  UsageReported: { type: 'UsageReported', ...run, turn: 1, model: 'a/b', usage },
  ToolCallsProposed: { type: 'ToolCallsProposed', ...run, turn: 1, calls: [{ id: 'c1', name: 'bash', arguments: { a: 1 }, disposition: 'ask' }] },
  ApprovalRequested: { type: 'ApprovalRequested', ...run, toolCallIds: ['c1'] },
  ApprovalDecided: { type: 'ApprovalDecided', ...run, toolCallId: 'c1', action: 'accept', by: ALICE },
  ToolStarted: { type: 'ToolStarted', ...call, attempt: 1 },
  ToolProgressed: { type: 'ToolProgressed', ...run, toolCallId: 'c1', message: 'half' },
  ToolCompleted: { type: 'ToolCompleted', ...call, result: 'ok', isError: false },
  ToolRejected: { type: 'ToolRejected', ...call, reason: 'no' },
  StepStarted: { type: 'StepStarted', ...run, key: 'k', attempt: 1 },
  StepCompleted: { type: 'StepCompleted', ...run, key: 'k', result: null, attempt: 1 },
  StepFailed: { type: 'StepFailed', ...run, key: 'k', attempt: 1, name: 'Error', error: 'no' },
  TurnCompleted: { type: 'TurnCompleted', ...run, turn: 1, finishReason: 'tool_calls' },
  CancelRequested: { type: 'CancelRequested', ...run, by: ALICE },
  RunCompleted: { type: 'RunCompleted', ...run, totalTurns: 1, totalUsage: usage, stopReason: 'completed' },
  RunFailed: { type: 'RunFailed', ...run, code: 'x', error: 'y', totalUsage: usage },
}
const TYPES = Object.keys(SAMPLES) as (keyof typeof SAMPLES)[]
const S = SAMPLES
const answered: StreamEvent = { ...S.MessageAdded, message: { role: 'assistant', content: [] } }
const INSTANT: StreamEvent = { type: 'StepCompleted', ...run, key: '~now:1', result: 1 }
const INTERRUPTED: StreamEvent = { ...S.StepFailed, code: 'step_interrupted' }
const ofOther = (event: StreamEvent): StreamEvent => ({ ...event, runId: OTHER }) as StreamEvent

const QUEUED = [S.SessionCreated, S.RunStarted]
const CALLING = [...QUEUED, S.TurnStarted]
const PROPOSED = [...CALLING, answered, S.ToolCallsProposed]
const WAITING = [...PROPOSED, S.ApprovalRequested]
const TOOL = [...WAITING, S.ApprovalDecided, S.ToolStarted]

function given(events: readonly StreamEvent[]): SessionState {
  const state = events.reduce<SessionState | undefined>((folded, event, index) => evolve(folded, event, index + 1), undefined)
  if (state === undefined) throw new Error('the log creates no session')
  return state
}

describe('a new session', () => {
  test('is its owner’s, at rest, under no fence yet', () => {
    expect(given([S.SessionCreated])).toEqual({
      version: STATE_VERSION,
      owner: 'alice',
      status: 'active',
      agent: 'coder',
      model: 'a/b',
      fence: 0,
      queue: [],
      calls: [],
    })
    expect(given([{ type: 'SessionCreated', owner: ALICE, title: '', agent: 'coder' }])).not.toHaveProperty('model')
  })

  test.each(TYPES.filter((type) => type !== 'SessionCreated' && type !== 'SessionForked'))('does not come from %s', (type) => {
    expect(evolve(undefined, SAMPLES[type], 1)).toBeUndefined()
  })

  test.each([[[]], [TOOL], [[...QUEUED, S.MessageQueued, S.SessionDeleted]]])(
    'comes whole from a fork, whatever stood before it',
    (events: readonly StreamEvent[]) => {
      const fork = { ...S.SessionForked, agent: 'other', owner: userId('bob') }
      expect(given([...events, fork])).toEqual({
        version: STATE_VERSION,
        owner: 'bob',
        status: 'active',
        agent: 'other',
        model: 'a/b',
        fence: 0,
        queue: [],
        calls: [],
      })
    },
  )

  test('does not come from an event that cannot be read', () => {
    expect(evolve(undefined, { type: 'Unknown', originalType: 'SessionCreated' }, 1)).toBeUndefined()
  })
})

describe('what an event changes', () => {
  test.each<[string, readonly StreamEvent[], StreamEvent, Partial<SessionState>]>([
    ['a deletion', [S.SessionCreated], S.SessionDeleted, { status: 'deleted' }],
    ['a handover', [S.SessionCreated], S.SessionAssigned, { owner: userId('bob') }],
    ['a switch of the model', [S.SessionCreated], S.ModelChanged, { model: 'a/c' }],
    ['a cancel of a run', [...QUEUED, S.CancelRequested], S.RunCompleted, { lastRun: { id: R1, failed: false } }],
    ['a failed run', QUEUED, S.RunFailed, { lastRun: { id: R1, failed: true } }],
  ])('%s', (_what, events, event, change) => {
    expect(given([...events, event])).toMatchObject(change)
  })

  test('a start: a fresh run, without the calls of the one before', () => {
    const second: StreamEvent = { ...S.RunStarted, runId: OTHER, fence: 2, driver: 9 }
    expect(given([...WAITING, S.RunCompleted, second])).toMatchObject({
      fence: 2,
      lastRun: { id: R1, failed: false },
      run: { id: OTHER, driver: 9, startedAt: 8, turn: 0, turnOpen: false, calling: false, cancelling: false, takeovers: 0, usage: NO_USAGE },
      calls: [],
    })
  })

  test('a proposal: the calls of this turn, with the place where their arguments stand', () => {
    expect(given(PROPOSED).calls).toEqual([{ id: 'c1', name: 'bash', disposition: 'ask', status: 'open', proposedAt: 5 }])
    const next = { ...S.ToolCallsProposed, calls: [{ ...S.ToolCallsProposed.calls[0], id: 'c2' }] } as StreamEvent
    expect(given([...TOOL, S.ToolCompleted, next]).calls).toMatchObject([{ id: 'c2', status: 'open' }])
  })

  test('a proposal while a call is open: both stand, each with its place', () => {
    const next = { ...S.ToolCallsProposed, calls: [{ ...S.ToolCallsProposed.calls[0], id: 'c2' }] } as StreamEvent
    expect(given([...WAITING, next]).calls).toMatchObject([
      { id: 'c1', status: 'asked', proposedAt: 5 },
      { id: 'c2', status: 'open', proposedAt: 7 },
    ])
  })

  test('calls of one turn are bounded: of a turn that proposes again and again the oldest that have ended go first (S3)', () => {
    const proposal = (id: string): StreamEvent => ({ ...S.ToolCallsProposed, calls: [{ id, name: 'bash', arguments: {}, disposition: 'ask' }] })
    const ended = (id: string): StreamEvent => ({ ...S.ToolCompleted, toolCallId: id })
    const many = Array.from({ length: 300 }, (_, index) => [proposal(`n${index}`), ended(`n${index}`)]).flat()
    const { calls } = given([...WAITING, ...many])
    expect(calls).toHaveLength(256)
    expect([calls[0], calls[1], calls.at(-1)]).toMatchObject([
      { id: 'c1', status: 'asked' },
      { id: 'n45', status: 'ended' },
      { id: 'n299', status: 'ended' },
    ])
  })

  test.each<[string, readonly StreamEvent[], string]>([
    ['is asked about', [S.ApprovalRequested], 'asked'],
    ['is decided', [S.ApprovalRequested, S.ApprovalDecided], 'decided'],
    ['starts', [S.ToolStarted], 'started'],
    ['has its result', [S.ToolStarted, S.ToolCompleted], 'ended'],
    ['is refused', [S.ToolRejected], 'ended'],
    ['is asked about again when it was decided', [S.ApprovalRequested, S.ApprovalDecided, S.ApprovalRequested], 'decided'],
    ['is asked about when it has ended', [S.ToolRejected, S.ApprovalRequested], 'ended'],
  ])('a call that %s', (_what, events, status) => {
    expect(given([...PROPOSED, ...events]).calls).toMatchObject([{ id: 'c1', status }])
  })

  test('usage adds up over a run, and starts anew with the next', () => {
    const priced: StreamEvent = { ...S.UsageReported, usage: { ...usage, cost: 0.5, reasoningTokens: 2 } }
    expect(given([...CALLING, S.UsageReported, priced]).run?.usage).toEqual({
      inputTokens: 6,
      outputTokens: 8,
      totalTokens: 14,
      cost: 0.5,
      reasoningTokens: 2,
    })
    expect(given([...CALLING, priced, S.RunCompleted, S.RunStarted]).run?.usage).toEqual(NO_USAGE)
  })
})

describe('a live step', () => {
  test.each<[string, readonly StreamEvent[], boolean, boolean]>([
    ['no run', [S.SessionCreated], false, false],
    ['a run that has not begun', QUEUED, false, false],
    ['a model call', CALLING, true, false],
    ['text on its way', [...CALLING, S.TextDelta, S.TextCompleted], true, false],
    ['a pause before the next try', [...CALLING, S.RetryScheduled], false, false],
    ['the next try', [...CALLING, S.RetryScheduled, S.AttemptStarted], true, false],
    ['an attempt that was cut off', [...CALLING, S.AttemptSuperseded], false, false],
    ['an answer', [...CALLING, answered], false, false],
    ['a message that is taken in during a call', [...CALLING, S.MessageAdded], true, false],
    ['calls that nobody was asked about', PROPOSED, false, false],
    ['an open question', WAITING, false, true],
    ['an answered question', [...WAITING, S.ApprovalDecided], false, false],
    ['a running tool', TOOL, true, false],
    ['a tool that told of its progress', [...TOOL, S.ToolProgressed], true, false],
    ['a tool that has ended', [...TOOL, S.ToolCompleted], false, false],
    ['a step of an own agent', [...QUEUED, S.StepStarted], true, false],
    ['a step that has its result', [...QUEUED, S.StepStarted, S.StepCompleted], false, false],
    ['a step that failed', [...QUEUED, S.StepStarted, S.StepFailed], false, false],
    ['one of two steps', [...QUEUED, S.StepStarted, S.StepStarted, S.StepCompleted], true, false],
    ['a reading of the clock beside a step', [...QUEUED, S.StepStarted, INSTANT], true, false],
    ['a step whose process is gone', [...QUEUED, S.StepStarted, S.RunClaimed], false, false],
    ['a new step beside one that is told to have been interrupted', [...QUEUED, S.StepStarted, S.RunClaimed, S.StepStarted, INTERRUPTED], true, false],
    ['a step beside an open question', [...WAITING, S.StepStarted], true, false],
    ['a step that ended beside an open question', [...WAITING, S.StepStarted, S.StepCompleted], false, true],
    ['the end of a turn', [...CALLING, S.TurnCompleted], false, false],
    ['a cancel of a running tool', [...TOOL, S.CancelRequested], true, false],
    ['the end of the run, with a question open', [...WAITING, S.RunFailed], false, false],
  ])('after %s', (_what, events, live, waiting) => {
    expect([hasLiveStep(given(events)), isWaiting(given(events))]).toEqual([live, waiting])
  })

  test('keeps a run from waiting for a person and for nothing else', () => {
    const two: StreamEvent = { ...S.ToolCallsProposed, calls: ['c1', 'c2'].map((id) => ({ id, name: 't', arguments: {}, disposition: 'ask' }) as const) }
    const both: StreamEvent = { ...S.ApprovalRequested, toolCallIds: ['c1', 'c2'] }
    const log = [...CALLING, answered, two, both, S.ApprovalDecided]
    expect(isWaiting(given(log))).toBe(true)
    expect(isWaiting(given([...log, S.ToolStarted]))).toBe(false)
    expect(isWaiting(given([...log, S.ToolStarted, S.ToolCompleted]))).toBe(true)
  })
})

describe('a takeover', () => {
  test('is not counted while a run waits for a person: nothing was tried that could have failed', () => {
    const claims = Array.from({ length: 9 }, (_, index): StreamEvent => ({ ...S.RunClaimed, fence: 2 + index }))
    expect(given([...WAITING, ...claims])).toMatchObject({ fence: 10, run: { takeovers: 0 } })
    expect(given([...TOOL, ...claims]).run?.takeovers).toBe(9)
  })

  test.each<[string, StreamEvent, number]>([
    ['the result of a step', S.StepCompleted, 0],
    ['a reading of the clock', INSTANT, 1],
    ['a failure', S.StepFailed, 0],
    ['the word that a step was interrupted', INTERRUPTED, 1],
    ['the start of a step', S.StepStarted, 1],
  ])('is forgotten once something was achieved: %s', (_what, event, takeovers) => {
    expect(given([...QUEUED, S.StepStarted, S.RunClaimed, event]).run?.takeovers).toBe(takeovers)
  })
})

describe('an event that changes nothing returns the same object (S2)', () => {
  test('a result that was no step of its own', () => {
    const state = given(TOOL)
    expect(evolve(state, INSTANT, 99)).toBe(state)
  })

  const silent = ['TextDelta', 'ThinkingDelta', 'TextCompleted', 'ToolProgressed', 'SessionUpdated', 'TodosUpdated'] as const

  test.each(silent)('%s', (type) => {
    for (const log of [QUEUED, CALLING, TOOL]) {
      const state = given(log)
      expect(evolve(state, SAMPLES[type], 99)).toBe(state)
    }
  })

  test('an event that cannot be read', () => {
    const state = given(TOOL)
    expect(evolve(state, { type: 'Unknown', originalType: 'ToolCompleted' }, 99)).toBe(state)
  })

  const ofRuns = TYPES.filter((type) => 'runId' in SAMPLES[type] && type !== 'RunStarted')
  test.each(ofRuns)('%s of another run than the active one', (type) => {
    const state = given(TOOL)
    expect(evolve(state, ofOther(SAMPLES[type]), 99)).toBe(state)
  })

  test.each(ofRuns)('%s when no run is active', (type) => {
    const state = given([...TOOL, S.RunCompleted])
    expect(evolve(state, SAMPLES[type], 99)).toBe(state)
  })

  test('a repeated cancel, a repeated end of a turn, a message that did not wait', () => {
    const state = given([...CALLING, S.CancelRequested, S.TurnCompleted])
    for (const event of [S.CancelRequested, S.TurnCompleted, S.MessageAdded, S.RetryScheduled]) expect(evolve(state, event, 99)).toBe(state)
  })
})

test.each(TYPES)('evolve leaves the state that it is given as it was: %s', (type) => {
  const state = given([...TOOL, S.MessageQueued])
  const before = structuredClone(state)
  evolve(state, SAMPLES[type], 99)
  expect(state).toEqual(before)
})

test('the row without queue and calls stays below 1 KB, with the longest names that a request may bring (S4)', () => {
  const long = 'm'.repeat(200)
  const most = Number.MAX_SAFE_INTEGER
  const used = {
    inputTokens: most,
    outputTokens: most,
    totalTokens: most,
    cachedInputTokens: most,
    cacheWriteTokens: most,
    reasoningTokens: most,
    cost: 0.1234,
  }
  const log: readonly StreamEvent[] = [
    { ...S.SessionCreated, owner: userId('u'.repeat(64)), agent: 'a'.repeat(64), model: long },
    { ...S.RunStarted, fence: most - 1, driver: most, options: { model: long } },
    S.RunCompleted,
    { ...S.RunStarted, fence: most, driver: most, options: { model: long, systemPrompt: 'x'.repeat(32_768) } },
    { ...S.TurnStarted, turn: 256 },
    { ...S.UsageReported, usage: used },
    S.CancelRequested,
  ]
  const { queue: _queue, calls: _calls, ...row } = given(log)
  expect(JSON.stringify(row).length).toBeLessThan(1024)
})
