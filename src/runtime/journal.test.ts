import { describe, expect, test } from 'vitest'
import type { StreamEvent } from '../domain/event.ts'
import { messageId, runId, userId } from '../domain/ids.ts'
import { Journal } from './journal.ts'

const RUN = runId('r1')
const run = { runId: RUN }
const user = { role: 'user', content: 'hello' } as const
const usage = { inputTokens: 1, outputTokens: 2, totalTokens: 3 }
const started: StreamEvent = { type: 'StepStarted', ...run, key: 'k', attempt: 1, inputHash: 'h' }
const failed: StreamEvent = { type: 'StepFailed', ...run, key: 'k', attempt: 1, name: 'Error', error: 'no' }
const proposed: StreamEvent = { type: 'ToolCallsProposed', ...run, turn: 1, calls: [{ id: 'c', name: 'act', arguments: { a: 1 }, disposition: 'ask' }] }
const asked: StreamEvent = { type: 'ApprovalRequested', ...run, toolCallIds: ['c'] }
const decided: StreamEvent = { type: 'ApprovalDecided', ...run, toolCallId: 'c', action: 'custom_result', content: 'mine', by: userId('ann') }
const turn: StreamEvent = { type: 'TurnStarted', ...run, turn: 1, attempt: 1, model: 'm' }
const delta: StreamEvent = { type: 'TextDelta', ...run, delta: 'x' }
const answered = { type: 'MessageAdded', ...run, messageId: messageId('a'), message: { role: 'assistant', content: [] } } as const
const queued = (id: string, front = false): StreamEvent => ({
  type: 'MessageQueued',
  messageId: messageId(id),
  nextRunId: runId('r2'),
  delivery: 'steer',
  message: user,
  options: {},
  by: userId('ann'),
  ...(front ? { front: true } : {}),
})

function given(...events: readonly StreamEvent[]): Journal {
  const journal = new Journal(RUN, [])
  for (const [index, event] of events.entries()) journal.fold({ event, position: index + 1, atMs: 0 })
  return journal
}

describe('a step', () => {
  test.each<[string, readonly StreamEvent[], object]>([
    ['has begun', [started], { status: 'started', attempt: 1, inputHash: 'h' }],
    [
      'has its result',
      [started, { type: 'StepCompleted', ...run, key: 'k', result: [1], attempt: 1 }],
      { status: 'completed', attempt: 1, inputHash: 'h', result: [1] },
    ],
    ['has no result to speak of', [{ type: 'StepCompleted', ...run, key: 'k' }], { status: 'completed', attempt: 1, result: null }],
    ['failed', [started, failed], { status: 'failed', attempt: 1, inputHash: 'h', failure: { name: 'Error', error: 'no' } }],
    ['is tried again later', [started, { ...failed, code: 'E', retryAtMs: 9 }], { status: 'failed', retryAtMs: 9, failure: { code: 'E' } }],
    ['has begun again', [started, { ...failed, retryAtMs: 9 }, { ...started, attempt: 2 }], { status: 'started', attempt: 2 }],
  ])('that %s', (_how, events, record) => {
    expect(given(...events).steps.get('k')).toMatchObject(record)
  })

  test('of another run is none of this one', () => {
    expect(given({ ...started, runId: runId('r2') }).steps.size).toBe(0)
  })
})

describe('a call', () => {
  test.each<[string, readonly StreamEvent[], object]>([
    ['is proposed', [proposed], { name: 'act', arguments: { a: 1 }, disposition: 'ask', status: 'open' }],
    ['is asked about', [proposed, asked], { status: 'asked' }],
    ['is decided', [proposed, asked, decided], { status: 'decided', decision: { action: 'custom_result', content: 'mine', by: 'ann' } }],
    ['has its result', [proposed, { type: 'ToolCompleted', ...run, toolCallId: 'c', toolName: 'act', result: 'ok', isError: false }], { status: 'ended' }],
    [
      'is refused',
      [proposed, { type: 'ToolRejected', ...run, toolCallId: 'c', toolName: 'act', reason: 'no' }],
      { status: 'ended', answer: { rejected: true } },
    ],
  ])('that %s', (_how, events, record) => {
    const journal = given(...events)
    expect(journal.calls.get('c')).toMatchObject(record)
    expect(journal.openCalls).toHaveLength(record['status' as never] === 'ended' ? 0 : 1)
  })

  test('keeps its place beside one that is proposed later', () => {
    const second = { ...proposed, calls: [{ id: 'd', name: 'act', arguments: {}, disposition: 'ask' }] } as StreamEvent
    expect([...given(proposed, asked, second).calls.values()].map(({ id, status }) => [id, status])).toEqual([
      ['c', 'asked'],
      ['d', 'open'],
    ])
  })
})

describe('text that no message holds', () => {
  test.each<[string, readonly StreamEvent[], number | undefined]>([
    ['nothing was said', [turn], undefined],
    ['it begins', [turn, delta, delta], 2],
    ['it is a message now', [turn, delta, answered], undefined],
    ['a person said something meanwhile', [turn, delta, { ...answered, message: user }], 2],
    ['it was superseded', [turn, delta, { type: 'AttemptSuperseded', ...run, turn: 1, attempt: 1, from: 2 }], undefined],
    ['its turn is over', [turn, delta, { type: 'TurnCompleted', ...run, turn: 1, finishReason: 'error' }], undefined],
  ])('begins where it was said first: %s', (_when, events, from) => {
    expect(given(...events).textFrom).toBe(from)
  })
})

test('what started the run is its first message, and what arrived later waits until it is taken in', () => {
  const first: StreamEvent = { ...answered, messageId: messageId('m'), message: user }
  const journal = given(first, queued('q1'), queued('q2', true), queued('q1'))
  expect(journal.input).toEqual(user)
  expect(journal.waiting.map(({ messageId: id }) => id)).toEqual(['q2', 'q1'])
  journal.fold({ event: { ...answered, messageId: messageId('q2'), message: { role: 'user', content: 'later' } }, position: 9, atMs: 0 })
  expect(journal.waiting.map(({ messageId: id }) => id)).toEqual(['q1'])
  expect(journal.input).toEqual(user)
})

test('usage adds up', () => {
  const reported: StreamEvent = { type: 'UsageReported', ...run, turn: 1, model: 'm', usage }
  expect(given(reported, reported).usage).toEqual({ inputTokens: 2, outputTokens: 4, totalTokens: 6 })
})
