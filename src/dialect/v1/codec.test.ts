/** Every event on the `/v1` wire: names and fields are frozen, so they stand here as literals. */
import { describe, expect, test } from 'vitest'
import type { StreamEvent } from '../../domain/event.ts'
import { EVENT_VERSIONS } from '../../domain/event-types.ts'
import { messageId, runId, sessionId, userId } from '../../domain/ids.ts'
import { ADDITIONAL_EVENTS, CONTRACT_EVENTS, EventEnvelope, eventOf, EVENTS, tagOf, type EventName } from '../../wire/v1/events.ts'
import { envelopeOf, sseCodec, sseFrames, wireEvent } from './codec.ts'

const RUN = runId('01900000-0000-7000-8000-000000000001')
const MESSAGE = messageId('01900000-0000-7000-8000-000000000002')
const SESSION = sessionId('01900000-0000-7000-8000-000000000003')
const ANN = userId('ann')
const run = { run_id: RUN }
const usage = { inputTokens: 7, outputTokens: 5, totalTokens: 12 }
const said = { role: 'user', content: 'hello' } as const

/** An event, its name on the wire, and its payload there. */
const WIRE: readonly (readonly [StreamEvent, string, Record<string, unknown>])[] = [
  [{ type: 'RunStarted', runId: RUN, fence: 3, driver: 4, agent: 'a', options: { systemPrompt: 'secret' }, by: ANN }, 'run_started', run],
  [{ type: 'TurnStarted', runId: RUN, turn: 2, attempt: 1, model: 'm' }, 'turn_started', { ...run, turn: 2 }],
  [{ type: 'AttemptStarted', runId: RUN, turn: 2, attempt: 3, model: 'm' }, 'turn_started', { ...run, turn: 2, attempt: 3 }],
  [{ type: 'TextDelta', runId: RUN, delta: 'd' }, 'text_delta', { ...run, delta: 'd' }],
  [{ type: 'ThinkingDelta', runId: RUN, delta: 'd' }, 'thinking_delta', { ...run, delta: 'd' }],
  [{ type: 'TextCompleted', runId: RUN, text: 't' }, 'text_complete', { ...run, text: 't' }],
  [
    {
      type: 'ToolCallsProposed',
      runId: RUN,
      turn: 1,
      calls: [
        { id: 'c1', name: 'bash', arguments: { a: 1 }, disposition: 'ask' },
        { id: 'c2', name: 'read', arguments: [], metadata: { sig: 's' }, invalid: 'no', disposition: 'deny' },
      ],
    },
    'tool_calls_proposed',
    {
      ...run,
      tool_calls: [
        { id: 'c1', name: 'bash', arguments: { a: 1 } },
        { id: 'c2', name: 'read', arguments: [], metadata: { sig: 's' } },
      ],
    },
  ],
  [{ type: 'ApprovalRequested', runId: RUN, toolCallIds: ['c1'] }, 'waiting_for_tool_approval', { ...run, pending_tool_call_ids: ['c1'] }],
  [
    { type: 'ToolStarted', runId: RUN, toolCallId: 'c1', toolName: 'bash', attempt: 1 },
    'tool_execution_started',
    { ...run, tool_call_id: 'c1', tool_name: 'bash' },
  ],
  [{ type: 'ToolProgressed', runId: RUN, toolCallId: 'c1', message: 'm' }, 'tool_execution_progress', { ...run, tool_call_id: 'c1', message: 'm' }],
  [
    { type: 'ToolCompleted', runId: RUN, toolCallId: 'c1', toolName: 'bash', result: 'r', isError: true, outputFile: '/secret/path' },
    'tool_execution_completed',
    { ...run, tool_call_id: 'c1', tool_name: 'bash', result: 'r', is_error: true },
  ],
  [
    { type: 'ToolRejected', runId: RUN, toolCallId: 'c1', toolName: 'bash', reason: 'no' },
    'tool_rejected',
    { ...run, tool_call_id: 'c1', tool_name: 'bash', reason: 'no' },
  ],
  [{ type: 'RetryScheduled', runId: RUN, attempt: 2, delayMs: 4000, reason: 'busy' }, 'retry_attempt', { ...run, attempt: 2, delay_ms: 4000, reason: 'busy' }],
  [
    { type: 'AttemptSuperseded', runId: RUN, turn: 1, attempt: 1, from: 9 },
    'retry_attempt',
    { ...run, attempt: 1, delay_ms: 0, reason: 'the attempt was interrupted', superseded_from: 9 },
  ],
  [
    { type: 'UsageReported', runId: RUN, turn: 1, model: 'm', usage: { ...usage, cost: 0.5, cachedInputTokens: 2, cacheWriteTokens: 1, reasoningTokens: 3 } },
    'usage_report',
    {
      ...run,
      turn: 1,
      usage: {
        prompt_tokens: 7,
        completion_tokens: 5,
        total_tokens: 12,
        cost: 0.5,
        input_token_details: { cache_read: 2, cache_write: 1 },
        output_token_details: { reasoning: 3 },
      },
    },
  ],
  [
    { type: 'TurnCompleted', runId: RUN, turn: 1, finishReason: 'max_output_tokens' },
    'turn_completed',
    { ...run, turn: 1, finish_reason: 'max_output_tokens' },
  ],
  [
    { type: 'RunCompleted', runId: RUN, totalTurns: 2, totalUsage: usage, stopReason: 'max_turns' },
    'run_completed',
    { ...run, total_turns: 2, total_usage: { prompt_tokens: 7, completion_tokens: 5, total_tokens: 12 }, stop_reason: 'max_turns' },
  ],
  [
    { type: 'RunFailed', runId: RUN, code: 'crash_loop', error: 'why', totalUsage: usage },
    'run_error',
    { ...run, error: 'why', retryable: false, code: 'crash_loop' },
  ],
  [{ type: 'SessionCreated', owner: ANN, title: 't', agent: 'a' }, 'session_created', { title: 't', cwd: null, agent: 'a', model: null }],
  [{ type: 'SessionCreated', owner: ANN, title: 't', agent: 'a', cwd: '/w', model: 'm' }, 'session_created', { title: 't', cwd: '/w', agent: 'a', model: 'm' }],
  [
    { type: 'SessionForked', origin: { sessionId: SESSION, position: 7 }, owner: ANN, title: 't', agent: 'a', messages: 2, by: ANN },
    'session_forked',
    { origin: { session_id: SESSION, position: 7 }, title: 't', cwd: null, agent: 'a', model: null, message_count: 2 },
  ],
  [
    { type: 'SessionForked', origin: { sessionId: SESSION, position: 7 }, owner: ANN, title: 't', agent: 'a', cwd: '/w', model: 'm', messages: 0, by: ANN },
    'session_forked',
    { origin: { session_id: SESSION, position: 7 }, title: 't', cwd: '/w', agent: 'a', model: 'm', message_count: 0 },
  ],
  [{ type: 'SessionUpdated', title: 't', by: ANN }, 'session_updated', { title: 't' }],
  [{ type: 'SessionUpdated', visibility: 'PUBLIC', by: ANN }, 'session_updated', { visibility: 'PUBLIC' }],
  [{ type: 'SessionUpdated', agent: 'a', onInterrupt: 'ask', by: ANN }, 'session_updated', { agent: 'a', on_interrupt: 'ask' }],
  [{ type: 'SessionDeleted', by: ANN }, 'session_deleted', { by: 'ann' }],
  [{ type: 'SessionAssigned', from: ANN, to: userId('bob') }, 'session_assigned', { to: 'bob' }],
  [{ type: 'ModelChanged', model: 'm', by: ANN }, 'model_changed', { model: 'm', by: 'ann' }],
  [
    { type: 'TodosUpdated', runId: RUN, todos: [{ id: '1', text: 't', status: 'in_progress' }] },
    'todos_updated',
    { ...run, todos: [{ id: '1', text: 't', status: 'in_progress' }] },
  ],
  [{ type: 'MessageAdded', messageId: MESSAGE, runId: RUN, message: said }, 'message_added', { ...run, message_id: MESSAGE, message: said }],
  [
    { type: 'MessageAdded', messageId: MESSAGE, runId: RUN, message: said, delivery: 'steer', partial: true },
    'message_added',
    { ...run, message_id: MESSAGE, message: said, delivery: 'steer', partial: true },
  ],
  [
    {
      type: 'MessageQueued',
      messageId: MESSAGE,
      nextRunId: RUN,
      delivery: 'follow_up',
      message: said,
      options: { systemPrompt: 'secret' },
      by: ANN,
      front: true,
    },
    'message_queued',
    { message_id: MESSAGE, next_run_id: RUN, delivery: 'follow_up', message: said },
  ],
  [
    { type: 'ApprovalDecided', runId: RUN, toolCallId: 'c1', action: 'custom_result', content: 'mine', by: ANN },
    'approval_decided',
    { ...run, tool_call_id: 'c1', action: 'custom_result', by: 'ann' },
  ],
  [{ type: 'RunClaimed', runId: RUN, fence: 3, driver: 4 }, 'run_claimed', run],
  [{ type: 'ResumeRequested', runId: RUN }, 'resume_requested', run],
  [{ type: 'ResumeDecided', runId: RUN, action: 'fail', by: ANN }, 'resume_decided', { ...run, action: 'fail', by: 'ann' }],
  [{ type: 'StepStarted', runId: RUN, key: 'k', attempt: 2, inputHash: 'abc' }, 'step_started', { ...run, key: 'k', attempt: 2 }],
  [{ type: 'StepCompleted', runId: RUN, key: 'k', result: { token: 'secret' }, attempt: 2 }, 'step_completed', { ...run, key: 'k' }],
  [
    { type: 'StepFailed', runId: RUN, key: 'k', attempt: 1, name: 'TypeError', error: 'no', code: 'E_NO', retryAtMs: 5 },
    'step_failed',
    { ...run, key: 'k', attempt: 1, error: 'no', code: 'E_NO', will_retry: true },
  ],
  [{ type: 'CancelRequested', runId: RUN, by: ANN }, 'cancel_requested', { ...run, by: 'ann' }],
  [{ type: 'Unknown', originalType: 'FromTheFuture' }, 'unknown', { original_type: 'FromTheFuture' }],
]
/** A payload as it travels: what is `undefined` does not. */
const travelled = (value: unknown): unknown => JSON.parse(JSON.stringify(value))
const batch = (events: readonly StreamEvent[], from = 1) => ({ stream: SESSION, from, to: from + events.length - 1, feed: 1, atMs: 0, events })

test('every event that this version writes is in the table', () => {
  const types = new Set(WIRE.map(([{ type }]) => type))
  expect([...types].sort()).toEqual([...Object.keys(EVENT_VERSIONS), 'Unknown'].sort())
})

describe.each(WIRE.map(([event, name, payload]) => ({ event, name, payload })))('$event.type', ({ event, name, payload }) => {
  test(`travels as ${name}, with nothing besides`, () => {
    expect(wireEvent(event).name).toBe(name)
    expect(travelled(wireEvent(event).payload)).toEqual(payload)
  })

  test('is what the published schema says, strictly', () => {
    const { payload: sent, additional } = wireEvent(event)
    expect(EVENTS[name as EventName].strict().safeParse(travelled(sent)).error).toBeUndefined()
    expect(additional).toBe(Object.hasOwn(ADDITIONAL_EVENTS, name))
  })

  test('is found again in its envelope', () => {
    const envelope = travelled(envelopeOf(SESSION, 7, '2026-01-02T03:04:05.678Z', wireEvent(event))) as EventEnvelope
    expect(EventEnvelope.strict().safeParse(envelope).error).toBeUndefined()
    expect(eventOf(envelope)).toEqual({ name, payload })
    expect(envelope.run_id).toBe(payload['run_id'] ?? null)
    expect(Object.keys(envelope.event)).toEqual([tagOf(name as EventName)])
  })
})

test('the names of the contract are these', () => {
  expect(Object.keys(CONTRACT_EVENTS).map((name) => [name, tagOf(name as EventName)])).toEqual([
    ['run_started', 'RunStarted'],
    ['turn_started', 'TurnStarted'],
    ['text_delta', 'TextDelta'],
    ['thinking_delta', 'ThinkingDelta'],
    ['text_complete', 'TextComplete'],
    ['tool_calls_proposed', 'ToolCallsProposed'],
    ['waiting_for_tool_approval', 'WaitingForToolApproval'],
    ['tool_execution_started', 'ToolExecutionStarted'],
    ['tool_execution_progress', 'ToolExecutionProgress'],
    ['tool_execution_completed', 'ToolExecutionCompleted'],
    ['tool_rejected', 'ToolRejected'],
    ['retry_attempt', 'RetryAttempt'],
    ['compaction_started', 'CompactionStarted'],
    ['compaction_completed', 'CompactionCompleted'],
    ['usage_report', 'UsageReport'],
    ['turn_completed', 'TurnCompleted'],
    ['run_completed', 'RunCompleted'],
    ['run_error', 'RunError'],
  ])
})

describe('the frames of a batch', () => {
  const events = WIRE.slice(0, 3).map(([event]) => event)

  test('are id, event and data, in bytes that stay as they are', () => {
    const frame = sseFrames(batch([{ type: 'TextDelta', runId: RUN, delta: 'a\n"b' }], 41), 'contract')
    expect(frame).toBe(
      `id: 41\nevent: text_delta\ndata: {"id":41,"session_id":"${SESSION}","run_id":"${RUN}","timestamp":"1970-01-01T00:00:00.000Z",` +
        `"event":{"TextDelta":{"run_id":"${RUN}","delta":"a\\n\\"b"}}}\n\n`,
    )
  })

  test('keep their positions where some are left out', () => {
    const hidden: StreamEvent = { type: 'SessionDeleted', by: ANN }
    const ids = (view: 'contract' | 'all') => [...sseFrames(batch([hidden, ...events, hidden], 10), view).matchAll(/^id: (\d+)$/gm)].map(([, id]) => Number(id))
    expect(ids('contract')).toEqual([11, 12, 13])
    expect(ids('all')).toEqual([10, 11, 12, 13, 14])
  })

  test('of many sessions have a cursor for an id, their position beside it, and begin where they are told to', () => {
    const text = sseFrames(batch(events, 5), 'all', 1, (index) => `cursor-${index}`)
    expect([...text.matchAll(/^id: (.+)$/gm)].map(([, id]) => id)).toEqual(['cursor-1', 'cursor-2'])
    expect([...text.matchAll(/"position":(\d+)/g)].map(([, position]) => Number(position))).toEqual([6, 7])
  })

  test('that are all left out are no bytes', () => {
    expect(sseCodec('contract').encode(batch([{ type: 'SessionDeleted', by: ANN }]))).toHaveLength(0)
  })

  test('are named by their view, so that readers share only what is the same', () => {
    expect([sseCodec('all').name, sseCodec('contract').name]).toEqual(['v1:all', 'v1:contract'])
  })
})
