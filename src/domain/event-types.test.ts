import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { StreamEvent } from './event.ts'
import type { SessionState } from './session.ts'
import { EVENT_VERSIONS, readEvent } from './event-types.ts'
import { isTerminal } from './event.ts'
import { evolve } from './session.ts'

const USAGE = { inputTokens: 1, outputTokens: 2, totalTokens: 3 }
const run = { runId: 'r1' }
const call = { ...run, toolCallId: 'c1', toolName: 'bash' }
const message = { role: 'user', content: 'hello' }
const proposal = { id: 'c1', name: 'bash', arguments: { command: 'ls' }, disposition: 'ask' }

/** Each type as it is stored with no more than it must have. These shapes are frozen: logs that were written stay readable. */
const STORED: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  SessionCreated: { owner: 'alice', title: '', agent: 'coder' },
  SessionForked: { origin: { sessionId: 's1', position: 7 }, owner: 'alice', title: '', agent: 'coder', messages: 0, by: 'alice' },
  SessionUpdated: { by: 'alice' },
  SessionDeleted: { by: 'alice' },
  SessionAssigned: { from: 'alice', to: 'bob' },
  ModelChanged: { model: 'a/b', by: 'alice' },
  TodosUpdated: { ...run, todos: [{ id: '1', text: 'x', status: 'pending' }] },
  MessageAdded: { ...run, messageId: 'm1', message },
  MessageQueued: { messageId: 'm1', nextRunId: 'r2', delivery: 'steer', message, options: {}, by: 'alice' },
  RunStarted: { ...run, fence: 1, driver: 1, agent: 'coder', options: {}, by: 'alice' },
  RunClaimed: { ...run, fence: 2, driver: 2 },
  ResumeRequested: { ...run },
  ResumeDecided: { ...run, action: 'resume', by: 'alice' },
  TurnStarted: { ...run, turn: 1, attempt: 1, model: 'a/b' },
  AttemptStarted: { ...run, turn: 1, attempt: 2, model: 'a/b' },
  TextDelta: { ...run, delta: '' },
  ThinkingDelta: { ...run, delta: '' },
  TextCompleted: { ...run, text: '' },
  RetryScheduled: { ...run, attempt: 1, delayMs: 0, reason: '' },
  AttemptSuperseded: { ...run, turn: 1, attempt: 1, from: 5 },
  UsageReported: { ...run, turn: 1, model: 'a/b', usage: USAGE },
  ToolCallsProposed: { ...run, turn: 1, calls: [proposal] },
  ApprovalRequested: { ...run, toolCallIds: ['c1'] },
  ApprovalDecided: { ...run, toolCallId: 'c1', action: 'accept', by: 'alice' },
  ToolStarted: { ...call, attempt: 1 },
  ToolProgressed: { ...run, toolCallId: 'c1', message: '' },
  ToolCompleted: { ...call, result: '', isError: false },
  ToolRejected: { ...call, reason: '' },
  StepStarted: { ...run, key: 'k', attempt: 1 },
  StepCompleted: { ...run, key: 'k' },
  StepFailed: { ...run, key: 'k', attempt: 1, name: 'Error', error: '' },
  TurnCompleted: { ...run, turn: 1, finishReason: 'stop' },
  CancelRequested: { ...run, by: 'alice' },
  RunCompleted: { ...run, totalTurns: 1, totalUsage: USAGE, stopReason: 'completed' },
  RunFailed: { ...run, code: 'x', error: 'y', totalUsage: USAGE },
}
const TYPES = Object.keys(STORED)
const stored = (type: string, more: object = {}): object => ({ type, ...STORED[type], ...more })

test('every event that is written has a version, and no other name has', () => {
  expect(EVENT_VERSIONS).toEqual(Object.fromEntries(TYPES.map((type) => [type, 1])))
})

describe('an event of today', () => {
  test.each(TYPES)('is read as it was written: %s', (type) => {
    expect(readEvent(JSON.parse(JSON.stringify(stored(type))))).toEqual(stored(type))
  })

  test.each(TYPES)('keeps what a later version added: %s', (type) => {
    expect(readEvent(stored(type, { addedLater: [1] }))).toEqual(stored(type, { addedLater: [1] }))
  })

  test('keeps what may be there or not', () => {
    const full = stored('MessageAdded', { delivery: 'steer', partial: true, message: { role: 'assistant', content: [{ type: 'text', text: 'hi' }] } })
    expect(readEvent(full)).toEqual(full)
    const intent = stored('ToolStarted', { intent: { groupId: 5, startTicks: 9 } })
    expect(readEvent(intent)).toEqual(intent)
  })
})

describe('what cannot be read keeps its place as a placeholder (L9)', () => {
  test.each<[string, unknown, string]>([
    ['nothing', null, 'damaged'],
    ['a hole', undefined, 'damaged'],
    ['a text', 'TextDelta', 'damaged'],
    ['a number', 7, 'damaged'],
    ['a list', [], 'damaged'],
    ['an object without a type', { runId: 'r1' }, 'damaged'],
    ['a type that is no text', { type: 5 }, 'damaged'],
    ['a type that nobody knows', { type: 'SomethingNew', runId: 'r1' }, 'SomethingNew'],
    ['a name that every object has', { type: 'constructor' }, 'constructor'],
    ['a placeholder', { type: 'Unknown', originalType: 'x' }, 'Unknown'],
    ['a newer shape of a known type', { ...stored('TextDelta'), v: 2 }, 'TextDelta'],
  ])('%s', (_what, value, originalType) => {
    expect(readEvent(value)).toEqual({ type: 'Unknown', originalType })
  })

  const missing = TYPES.flatMap((type) => Object.keys(STORED[type] ?? {}).map((field) => [type, field] as const))

  test.each(missing)('%s without its %s', (type, field) => {
    const { [field]: _gone, ...rest } = stored(type) as Record<string, unknown>
    expect(readEvent(rest)).toEqual({ type: 'Unknown', originalType: type })
  })

  test.each(missing)('%s with a wrong %s', (type, field) => {
    const value = STORED[type]?.[field]
    const wrong = [null, ...(typeof value === 'object' ? ['text', 5] : [{}, typeof value === 'string' ? 5 : '5'])]
    for (const other of wrong) expect(readEvent(stored(type, { [field]: other }))).toEqual({ type: 'Unknown', originalType: type })
  })

  test.each<[string, object]>([
    ['ToolCallsProposed', { calls: [null] }],
    ['ToolCallsProposed', { calls: [proposal, { id: 'c2' }] }],
    ['ApprovalRequested', { toolCallIds: ['c1', 2] }],
    ['TodosUpdated', { todos: ['x'] }],
    ['MessageAdded', { message: { role: 'user' } }],
    ['MessageAdded', { message: { content: 'x' } }],
    ['MessageAdded', { message: { role: 'user', content: [null] } }],
    ['UsageReported', { usage: {} }],
    ['RunCompleted', { totalUsage: { inputTokens: '1' } }],
  ])('%s with something wrong inside: %j', (type, more) => {
    expect(readEvent(stored(type, more))).toEqual({ type: 'Unknown', originalType: type })
  })

  test('whatever a row holds can be read, and folded in any state', () => {
    const anyField = fc.oneof(fc.jsonValue(), fc.constantFrom('r1', 'c1', 'alice', 1, {}, [], message, [proposal]))
    const damaged = fc.tuple(fc.constantFrom(...TYPES), fc.dictionary(fc.constantFrom(...missing.map(([, field]) => field)), anyField, { maxKeys: 3 }))
    const anything = fc.oneof(
      fc.jsonValue(),
      fc.constantFrom(...TYPES).map((type) => stored(type)),
      damaged.map(([type, more]) => stored(type, more)),
    )
    fc.assert(
      fc.property(fc.array(anything, { maxLength: 30 }), (values) => {
        let state: SessionState | undefined
        for (const [index, value] of [stored('SessionCreated'), stored('RunStarted'), ...values].entries()) state = evolve(state, readEvent(value), index + 1)
        expect(state?.calls.every((open) => typeof open.id === 'string')).toBe(true)
      }),
    )
  })
})

test.each(TYPES)('only RunCompleted and RunFailed end a run: %s', (type) => {
  expect(isTerminal(stored(type) as StreamEvent)).toBe(type === 'RunCompleted' || type === 'RunFailed')
})
