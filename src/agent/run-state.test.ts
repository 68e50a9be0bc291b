import { describe, expect, test } from 'vitest'
import type { Recorded, StreamEvent } from '../domain/event.ts'
import { messageId, runId, userId } from '../domain/ids.ts'
import { foldRun, initialRunState, type RunState } from './run-state.ts'

const RUN = runId('r1')
const OTHER = runId('r2')
const ALICE = userId('alice')
const USAGE = { inputTokens: 3, outputTokens: 2, totalTokens: 5 }

function fold(events: readonly StreamEvent[], from: RunState = initialRunState(RUN, []), firstPosition = 10): RunState {
  return events.reduce((state, event, index) => foldRun(state, { position: firstPosition + index, atMs: 1000, event } satisfies Recorded), from)
}

const turn = (number: number, attempt = 1): StreamEvent => ({ type: 'TurnStarted', runId: RUN, turn: number, attempt, model: 'm' })
const retry = (attempt: number): StreamEvent => ({ type: 'AttemptStarted', runId: RUN, turn: 1, attempt, model: 'm' })
const text = (delta = 'a', id = RUN): StreamEvent => ({ type: 'TextDelta', runId: id, delta })
const said: StreamEvent = { type: 'MessageAdded', messageId: messageId('m1'), runId: RUN, message: { role: 'assistant', content: [] } }
const queued = (id: string, more: object = {}): StreamEvent => {
  const message = { role: 'user', content: id } as const
  return { type: 'MessageQueued', messageId: messageId(id), nextRunId: OTHER, delivery: 'steer', message, options: {}, by: ALICE, ...more }
}
const taken = (id: string, run = RUN): StreamEvent => ({ type: 'MessageAdded', messageId: messageId(id), runId: run, message: { role: 'user', content: id } })
const proposed = (...ids: readonly string[]): StreamEvent => ({
  type: 'ToolCallsProposed',
  runId: RUN,
  turn: 1,
  calls: ids.map((id) => ({ id, name: 'act', arguments: { id }, disposition: 'ask' })),
})
const completed = (id: string): StreamEvent => ({ type: 'ToolCompleted', runId: RUN, toolCallId: id, toolName: 'act', result: 'ok', isError: false })

test('a run before its first event has done nothing', () => {
  expect(initialRunState(RUN, [])).toEqual({
    runId: 'r1',
    turn: 0,
    turnOpen: false,
    attempt: 0,
    calling: false,
    calls: [],
    callIds: new Set(),
    waiting: [],
    cancelling: false,
    ended: false,
    usage: { inputTokens: 0, outputTokens: 0, totalTokens: 0 },
  })
})

test('the ids of all calls of the run are known, also when their turn is over', () => {
  const { calls, callIds } = fold([turn(1), proposed('a', 'b'), turn(2), proposed('c')])
  expect(calls.map(({ id }) => id)).toEqual(['c'])
  expect([...callIds]).toEqual(['a', 'b', 'c'])
})

describe('a model call', () => {
  test.each<[string, readonly StreamEvent[], Partial<RunState>]>([
    ['its start opens the turn', [turn(1)], { turn: 1, turnOpen: true, attempt: 1, calling: true }],
    ['its first text is where it streams from', [turn(1), text(), text()], { streamedFrom: 11, calling: true }],
    ['its first thinking counts too', [turn(1), { type: 'ThinkingDelta', runId: RUN, delta: 'h' }, text()], { streamedFrom: 11 }],
    ['its message ends it', [turn(1), text(), said], { calling: false, turnOpen: true }],
    [
      'a pause between tries ends at its time',
      [turn(1), { type: 'RetryScheduled', runId: RUN, attempt: 1, delayMs: 2000, reason: 'x' }],
      { calling: false, retryAtMs: 3000 },
    ],
    [
      'superseding ends the attempt',
      [turn(1), text(), { type: 'AttemptSuperseded', runId: RUN, turn: 1, attempt: 1, from: 11 }],
      { calling: false, attempt: 1 },
    ],
    [
      'the end of a turn closes it',
      [turn(1), { type: 'TurnCompleted', runId: RUN, turn: 1, finishReason: 'stop' }],
      { turnOpen: false, calling: false, lastFinish: 'stop' },
    ],
    [
      'usage is summed',
      [
        { type: 'UsageReported', runId: RUN, turn: 1, model: 'm', usage: USAGE },
        { type: 'UsageReported', runId: RUN, turn: 2, model: 'm', usage: USAGE },
      ],
      { usage: { inputTokens: 6, outputTokens: 4, totalTokens: 10 } },
    ],
  ])('%s', (_what, events, expected) => {
    expect(fold(events)).toMatchObject(expected)
  })

  test('the next try forgets the pause and what the last one streamed', () => {
    const paused: readonly StreamEvent[] = [turn(1), text(), { type: 'RetryScheduled', runId: RUN, attempt: 1, delayMs: 1, reason: 'x' }]
    const state = fold([...paused, retry(2)])
    expect(state).toMatchObject({ attempt: 2, calling: true, turn: 1, turnOpen: true })
    expect(state).not.toHaveProperty('retryAtMs')
    expect(state).not.toHaveProperty('streamedFrom')
  })

  test('the next turn forgets the calls and the text of the one before', () => {
    const state = fold([turn(1), text(), said, proposed('a'), turn(2)])
    expect(state).toMatchObject({ turn: 2, attempt: 1, calls: [], calling: true })
    expect(state).not.toHaveProperty('streamedFrom')
  })

  test('superseding forgets the text, so that the next superseding counts from its own', () => {
    const superseded: StreamEvent = { type: 'AttemptSuperseded', runId: RUN, turn: 1, attempt: 1, from: 11 }
    expect(fold([turn(1), text(), superseded])).not.toHaveProperty('streamedFrom')
    expect(fold([turn(1), text(), superseded, retry(2), text()])).toMatchObject({ streamedFrom: 14 })
  })
})

describe('calls', () => {
  const before = [turn(1), said, proposed('a', 'b')]
  const statuses = (events: readonly StreamEvent[]) => fold([...before, ...events]).calls.map(({ id, status }) => `${id} ${status}`)

  test('keep their arguments, their policy and what is wrong with them', () => {
    const calls = [{ id: 'a', name: 'act', arguments: { x: 1 }, disposition: 'deny', invalid: 'bad' }] as const
    expect(fold([turn(1), { type: 'ToolCallsProposed', runId: RUN, turn: 1, calls }]).calls).toEqual([{ ...calls[0], status: 'open', attempt: 0 }])
  })

  test.each<[string, readonly StreamEvent[], readonly string[]]>([
    ['are open', [], ['a open', 'b open']],
    ['are asked for by name', [{ type: 'ApprovalRequested', runId: RUN, toolCallIds: ['b'] }], ['a open', 'b asked']],
    ['are answered one by one', [{ type: 'ApprovalDecided', runId: RUN, toolCallId: 'a', action: 'accept', by: ALICE }], ['a decided', 'b open']],
    ['start', [{ type: 'ToolStarted', runId: RUN, toolCallId: 'a', toolName: 'act', attempt: 1 }], ['a started', 'b open']],
    ['complete', [completed('b')], ['a open', 'b ended']],
    ['are rejected', [{ type: 'ToolRejected', runId: RUN, toolCallId: 'a', toolName: 'act', reason: 'no' }], ['a ended', 'b open']],
    ['of another id change nothing', [completed('zzz')], ['a open', 'b open']],
  ])('%s', (_what, events, expected) => {
    expect(statuses(events)).toEqual(expected)
  })

  test('keep the answer that a person gave, with its content only if it has one', () => {
    const answer = (action: 'accept' | 'custom_result', content?: string): StreamEvent => {
      return { type: 'ApprovalDecided', runId: RUN, toolCallId: 'a', action, by: ALICE, ...(content === undefined ? {} : { content }) }
    }
    expect(fold([...before, answer('accept')]).calls[0]?.decision).toEqual({ action: 'accept' })
    expect(fold([...before, answer('custom_result', '')]).calls[0]?.decision).toEqual({ action: 'custom_result', content: '' })
  })

  test('keep the attempt and the group of their process', () => {
    const intent = { groupId: 7, startTicks: 8 }
    const started = { type: 'ToolStarted', runId: RUN, toolCallId: 'a', toolName: 'act', attempt: 2 } as const
    expect(fold([...before, { ...started, intent }]).calls[0]).toMatchObject({ attempt: 2, intent })
    expect(fold([...before, started]).calls[0]).not.toHaveProperty('intent')
  })

  test('progress changes nothing', () => {
    const state = fold(before)
    expect(fold([{ type: 'ToolProgressed', runId: RUN, toolCallId: 'a', message: 'x' }], state)).toBe(state)
  })
})

describe('messages that wait', () => {
  const ids = (state: RunState) => state.waiting.map((message) => message.messageId)

  test('wait in the order of their coming, an interrupting one in front', () => {
    expect(ids(fold([queued('a'), queued('b'), queued('c', { front: true })]))).toEqual(['c', 'a', 'b'])
  })

  test('are known once, also when the queue held them before the run was followed', () => {
    const known = { messageId: messageId('a'), delivery: 'steer', message: { role: 'user', content: 'a' } } as const
    expect(ids(fold([queued('a'), queued('b')], initialRunState(RUN, [known])))).toEqual(['a', 'b'])
  })

  test('stop waiting when they are taken in', () => {
    expect(ids(fold([queued('a'), queued('b'), taken('a')]))).toEqual(['b'])
  })

  test('are not touched by the answer of the model', () => {
    expect(ids(fold([queued('m1'), said]))).toEqual(['m1'])
  })
})

describe('the run', () => {
  test.each<[string, StreamEvent, Partial<RunState>]>([
    ['is cancelling after a cancel', { type: 'CancelRequested', runId: RUN, by: ALICE }, { cancelling: true, ended: false }],
    ['has ended when it completed', { type: 'RunCompleted', runId: RUN, totalTurns: 1, totalUsage: USAGE, stopReason: 'completed' }, { ended: true }],
    ['has ended when it failed', { type: 'RunFailed', runId: RUN, code: 'x', error: 'y', totalUsage: USAGE }, { ended: true }],
    ['takes the model that the session switched to', { type: 'ModelChanged', model: 'p/m', by: ALICE }, { model: 'p/m' }],
  ])('%s', (_what, event, expected) => {
    expect(fold([event])).toMatchObject(expected)
  })

  test.each<[string, StreamEvent]>([
    ['a text', text('a', OTHER)],
    ['a cancel', { type: 'CancelRequested', runId: OTHER, by: ALICE }],
    ['an end', { type: 'RunCompleted', runId: OTHER, totalTurns: 1, totalUsage: USAGE, stopReason: 'completed' }],
    ['a turn', { type: 'TurnStarted', runId: OTHER, turn: 9, attempt: 1, model: 'm' }],
    ['a message', taken('a', OTHER)],
    ['usage', { type: 'UsageReported', runId: OTHER, turn: 1, model: 'm', usage: USAGE }],
  ])('%s of another run changes nothing', (_what, event) => {
    const state = fold([turn(1), queued('a')])
    expect(fold([event], state)).toBe(state)
  })

  test.each<[string, StreamEvent]>([
    ['a new title', { type: 'SessionUpdated', title: 't', by: ALICE }],
    ['an event that cannot be read', { type: 'Unknown', originalType: 'Later' }],
    ['its own claim', { type: 'RunClaimed', runId: RUN, fence: 2, driver: 2 }],
  ])('%s changes nothing', (_what, event) => {
    const state = fold([turn(1)])
    expect(fold([event], state)).toBe(state)
  })
})
