import { describe, expect, test } from 'vitest'
import type { ZodType } from 'zod'
import { ADDITIONAL_EVENTS, CONTRACT_EVENTS, EVENTS, EventEnvelope, GapDetected, eventComponents, eventOf, tagOf, type EventName } from './events.ts'

const ID = '01900000-0000-7000-8000-000000000001'
const run = { run_id: ID }
const call = { ...run, tool_call_id: 'c1', tool_name: 'bash' }
const usage = { prompt_tokens: 1, completion_tokens: 2, total_tokens: 3 }
const message = { role: 'user', content: 'hi' }

/** Every event by its two names, with the least that it holds. Names are frozen: clients know them by heart. */
const WIRE: readonly [EventName, string, object][] = [
  ['run_started', 'RunStarted', run],
  ['turn_started', 'TurnStarted', { ...run, turn: 1 }],
  ['text_delta', 'TextDelta', { ...run, delta: '' }],
  ['thinking_delta', 'ThinkingDelta', { ...run, delta: '' }],
  ['text_complete', 'TextComplete', { ...run, text: '' }],
  ['tool_calls_proposed', 'ToolCallsProposed', { ...run, tool_calls: [{ id: 'c1', name: 'bash', arguments: null }] }],
  ['waiting_for_tool_approval', 'WaitingForToolApproval', { ...run, pending_tool_call_ids: [] }],
  ['tool_execution_started', 'ToolExecutionStarted', call],
  ['tool_execution_progress', 'ToolExecutionProgress', { ...run, tool_call_id: 'c1', message: '' }],
  ['tool_execution_completed', 'ToolExecutionCompleted', { ...call, result: '', is_error: false }],
  ['tool_rejected', 'ToolRejected', { ...call, reason: '' }],
  ['retry_attempt', 'RetryAttempt', { ...run, attempt: 0, delay_ms: 0, reason: '' }],
  ['compaction_started', 'CompactionStarted', { ...run, reason: '' }],
  ['compaction_completed', 'CompactionCompleted', { ...run, tokens_before: 0, tokens_after: 0, truncated: false }],
  ['usage_report', 'UsageReport', { ...run, turn: 0, usage }],
  ['turn_completed', 'TurnCompleted', { ...run, turn: 0, finish_reason: 'stop' }],
  ['run_completed', 'RunCompleted', { ...run, total_turns: 0, total_usage: usage, stop_reason: 'completed' }],
  ['run_error', 'RunError', { ...run, error: '', retryable: false, code: '' }],
  ['session_created', 'SessionCreated', { title: '', cwd: null, agent: '', model: null }],
  ['session_forked', 'SessionForked', { origin: { session_id: ID, position: 3 }, title: '', cwd: null, agent: '', model: null, message_count: 0 }],
  ['session_updated', 'SessionUpdated', {}],
  ['session_deleted', 'SessionDeleted', { by: '' }],
  ['session_assigned', 'SessionAssigned', { to: '' }],
  ['model_changed', 'ModelChanged', { model: '', by: '' }],
  ['todos_updated', 'TodosUpdated', { ...run, todos: [] }],
  ['message_added', 'MessageAdded', { ...run, message_id: ID, message }],
  ['message_queued', 'MessageQueued', { message_id: ID, next_run_id: ID, delivery: 'steer', message }],
  ['approval_decided', 'ApprovalDecided', { ...run, tool_call_id: 'c1', action: 'accept', by: '' }],
  ['run_claimed', 'RunClaimed', run],
  ['resume_requested', 'ResumeRequested', run],
  ['resume_decided', 'ResumeDecided', { ...run, action: 'resume', by: '' }],
  ['step_started', 'StepStarted', { ...run, key: 'k', attempt: 1 }],
  ['step_completed', 'StepCompleted', { ...run, key: 'k' }],
  ['step_failed', 'StepFailed', { ...run, key: 'k', attempt: 1, error: '', will_retry: false }],
  ['cancel_requested', 'CancelRequested', { ...run, by: '' }],
  ['unknown', 'Unknown', { original_type: '' }],
]
const CONTRACT = WIRE.slice(0, 18).map(([name]) => name)
const accepts = (schema: ZodType, value: unknown) => schema.safeParse(value).success
const envelope = (event: Readonly<Record<string, unknown>>, more: object = {}) => ({
  id: 1,
  session_id: ID,
  run_id: ID,
  timestamp: '2026-01-02T03:04:05.678Z',
  event,
  ...more,
})

describe('the events of the wire', () => {
  test('are these, the contract’s first', () => {
    expect(Object.keys(EVENTS)).toEqual(WIRE.map(([name]) => name))
    expect(Object.keys(CONTRACT_EVENTS)).toEqual(CONTRACT)
    expect(Object.keys(ADDITIONAL_EVENTS)).toEqual(WIRE.slice(18).map(([name]) => name))
  })

  test.each(WIRE)('%s is %s in the data', (name, tag, payload) => {
    expect(tagOf(name)).toBe(tag)
    expect(eventOf(EventEnvelope.parse(envelope({ [tag]: payload })))).toEqual({ name, payload })
    expect(eventComponents()).toHaveProperty(`${tag}Event`)
  })

  test.each(WIRE.map(([name, , payload]) => [name, payload] as const))('%s takes the least that it holds, and nothing less', (name, payload) => {
    expect(accepts(EVENTS[name], payload)).toBe(true)
    for (const field of Object.keys(payload)) {
      const { [field]: _gone, ...rest } = payload as Record<string, unknown>
      expect([field, accepts(EVENTS[name], rest)]).toEqual([field, false])
    }
  })

  test.each<[EventName, object, boolean]>([
    ['turn_started', { ...run, turn: 0 }, false],
    ['turn_started', { ...run, turn: 1, attempt: 2 }, true],
    ['turn_started', { ...run, turn: 1, attempt: 0 }, false],
    ['retry_attempt', { ...run, attempt: 1, delay_ms: -1, reason: '' }, false],
    ['retry_attempt', { ...run, attempt: 1, delay_ms: 0.5, reason: '', superseded_from: 3 }, true],
    ['turn_completed', { ...run, turn: 1, finish_reason: 'length' }, false],
    ['run_completed', { ...run, total_turns: 1, total_usage: usage, stop_reason: 'max_turns' }, true],
    ['run_completed', { ...run, total_turns: 1, total_usage: usage, stop_reason: 'failed' }, false],
    ['run_error', { ...run, error: '', retryable: true, code: '' }, false],
    ['usage_report', { ...run, turn: 1, usage: { ...usage, cost: 0.1, input_token_details: { cache_read: 1 }, output_token_details: {} } }, true],
    ['usage_report', { ...run, turn: 1, usage: { ...usage, cost: -1 } }, false],
    ['usage_report', { ...run, turn: 1, usage: { ...usage, prompt_tokens: 1.5 } }, false],
    ['message_added', { ...run, message_id: ID, message, partial: false }, false],
    ['message_added', { ...run, message_id: ID, message, partial: true, delivery: 'follow_up' }, true],
    ['todos_updated', { ...run, todos: [{ id: '1', text: 'x', status: 'done' }] }, false],
    ['run_started', { run_id: 'r1' }, false],
  ])('%s %j', (name, payload, taken) => {
    expect(accepts(EVENTS[name], payload)).toBe(taken)
  })
})

describe('an envelope', () => {
  test.each<[string, object, boolean]>([
    ['is whole', {}, true],
    ['has no run', { run_id: null }, true],
    ['stands at its position', { position: 1 }, true],
    ['stands at 0', { id: 0 }, false],
    ['stands between two', { id: 1.5 }, false],
    ['is of no session', { session_id: null }, false],
    ['has a time without a zone', { timestamp: '2026-01-02T03:04:05' }, false],
  ])('that %s', (_what, more, valid) => {
    expect(accepts(EventEnvelope, envelope({ RunStarted: run }, more))).toBe(valid)
  })

  test.each<[string, Readonly<Record<string, unknown>>]>([
    ['of an event that a later version made', { SomethingNew: {} }],
    ['of an event by its other name', { run_started: run }],
    ['without an event', {}],
    ['of a name that every object has', { constructor: {} }],
  ])('%s is no event of this version', (_what, event) => {
    expect(eventOf(envelope(event))).toBeUndefined()
  })
})

test.each<[string, object, boolean]>([
  ['numbers', { requested_after_id: 9, oldest_available_id: 0, newest_available_id: 5 }, true],
  ['cursors of many sessions', { requested_after_id: 'x', oldest_available_id: 'a', newest_available_id: 'b' }, true],
  ['a position below nothing', { requested_after_id: -1, oldest_available_id: 0, newest_available_id: 5 }, false],
])('a gap is told in %s', (_what, ids, valid) => {
  expect(accepts(GapDetected, { ...ids, resume_hint: 'refresh_snapshot_then_resume' })).toBe(valid)
  expect(accepts(GapDetected, { ...ids, resume_hint: 'wait' })).toBe(false)
})
