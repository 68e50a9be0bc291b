/**
 * The events of `/v1`, as they travel over SSE and WebSocket.
 *
 * An event is named twice, as the contract does: in snake_case as the SSE event, and in PascalCase as the only key of `event` in the
 * data. `CONTRACT_EVENTS` are those that every reader gets; `ADDITIONAL_EVENTS` go to readers that ask for `?events=all`.
 */
import { z } from 'zod'
import { Message, Origin, ToolCall } from './schemas.ts'

const uuid = z.guid()
const count = z.int().min(0)
const run = { run_id: uuid }
const call = { ...run, tool_call_id: z.string(), tool_name: z.string() }
const step = { ...run, key: z.string() }

/** Tokens of a whole run, and dollars where prices are known. */
export const TotalUsage = z
  .object({ prompt_tokens: count, completion_tokens: count, total_tokens: count, cost: z.number().min(0).optional().describe('US dollars') })
  .meta({ id: 'TotalUsage' })
/** Tokens of one model call, with what the provider said besides. */
export const CallUsage = TotalUsage.extend({
  input_token_details: z.object({ cache_read: count.optional(), cache_write: count.optional() }).optional(),
  output_token_details: z.object({ reasoning: count.optional() }).optional(),
  raw: z.unknown().optional(),
}).meta({ id: 'CallUsage' })

/** The contract's events by SSE name: the payload of each. */
export const CONTRACT_EVENTS = {
  run_started: z.object(run),
  turn_started: z.object({ ...run, turn: z.int().min(1), attempt: z.int().min(1).optional().describe('set where the turn is tried again') }),
  text_delta: z.object({ ...run, delta: z.string() }),
  thinking_delta: z.object({ ...run, delta: z.string() }),
  text_complete: z.object({ ...run, text: z.string() }),
  tool_calls_proposed: z.object({ ...run, tool_calls: z.array(ToolCall) }),
  waiting_for_tool_approval: z.object({ ...run, pending_tool_call_ids: z.array(z.string()) }),
  tool_execution_started: z.object(call),
  tool_execution_progress: z.object({ ...run, tool_call_id: z.string(), message: z.string() }),
  tool_execution_completed: z.object({ ...call, result: z.string(), is_error: z.boolean() }),
  tool_rejected: z.object({ ...call, reason: z.string() }),
  retry_attempt: z.object({
    ...run,
    attempt: count,
    delay_ms: z.number().min(0),
    reason: z.string(),
    superseded_from: count.optional().describe('what was streamed from this position on does not count'),
  }),
  compaction_started: z.object({ ...run, reason: z.string() }),
  compaction_completed: z.object({ ...run, tokens_before: count, tokens_after: count, truncated: z.boolean() }),
  usage_report: z.object({ ...run, turn: count, usage: CallUsage }),
  turn_completed: z.object({ ...run, turn: count, finish_reason: z.enum(['stop', 'tool_calls', 'max_output_tokens', 'cancelled', 'error']) }),
  run_completed: z.object({ ...run, total_turns: count, total_usage: TotalUsage, stop_reason: z.enum(['completed', 'cancelled', 'max_turns']) }),
  run_error: z.object({ ...run, error: z.string(), retryable: z.literal(false), code: z.string() }),
} as const

const onInterrupt = z.enum(['resume', 'ask', 'fail'])
const delivery = z.enum(['steer', 'follow_up'])

/** Events that only this server has, by SSE name. */
export const ADDITIONAL_EVENTS = {
  session_created: z.object({
    title: z.string(),
    cwd: z.string().nullable(),
    agent: z.string(),
    model: z.string().nullable(),
    on_interrupt: onInterrupt.optional(),
  }),
  session_forked: z.object({
    origin: Origin,
    title: z.string(),
    cwd: z.string().nullable(),
    agent: z.string(),
    model: z.string().nullable(),
    on_interrupt: onInterrupt.optional(),
    message_count: count.describe('messages that the fork inherits'),
  }),
  session_updated: z.object({
    title: z.string().optional(),
    visibility: z.enum(['PRIVATE', 'PUBLIC']).optional(),
    agent: z.string().optional(),
    on_interrupt: onInterrupt.optional(),
  }),
  session_deleted: z.object({ by: z.string() }),
  session_assigned: z.object({ to: z.string() }),
  model_changed: z.object({ model: z.string(), by: z.string() }),
  todos_updated: z.object({ ...run, todos: z.array(z.object({ id: z.string(), text: z.string(), status: z.enum(['pending', 'in_progress', 'completed']) })) }),
  message_added: z.object({ ...run, message_id: uuid, message: Message, delivery: delivery.optional(), partial: z.literal(true).optional() }),
  message_queued: z.object({ message_id: uuid, next_run_id: uuid, delivery, message: Message }),
  approval_decided: z.object({ ...run, tool_call_id: z.string(), action: z.enum(['accept', 'reject', 'custom_result']), by: z.string() }),
  run_claimed: z.object(run),
  resume_requested: z.object(run),
  resume_decided: z.object({ ...run, action: z.enum(['resume', 'fail']), by: z.string() }),
  step_started: z.object({ ...step, attempt: z.int().min(1) }),
  step_completed: z.object(step),
  step_failed: z.object({ ...step, attempt: z.int().min(1), error: z.string(), code: z.string().optional(), will_retry: z.boolean() }),
  cancel_requested: z.object({ ...run, by: z.string() }),
  unknown: z.object({ original_type: z.string() }).describe('an event that this server cannot read; it keeps its place'),
} as const

/** All events by SSE name. */
export const EVENTS = { ...CONTRACT_EVENTS, ...ADDITIONAL_EVENTS } as const

/** Name of an event on the SSE line. */
export type EventName = keyof typeof EVENTS
/** Payload of an event by its name. */
export type EventPayloads = { readonly [Name in EventName]: z.infer<(typeof EVENTS)[Name]> }
/** An event, its name beside its payload. */
export type NamedEvent = { readonly [Name in EventName]: { readonly name: Name; readonly payload: EventPayloads[Name] } }[EventName]

/** `text_delta` as the data names it: `TextDelta`. */
export function tagOf(name: EventName): string {
  return name.replaceAll(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase())
}

const NAMES = new Map((Object.keys(EVENTS) as EventName[]).map((name) => [tagOf(name), name]))

/** The event inside an envelope, or `undefined` for one that this version does not know. */
export function eventOf(envelope: EventEnvelope): NamedEvent | undefined {
  const [tag, payload] = Object.entries(envelope.event)[0] ?? []
  const name = tag === undefined ? undefined : NAMES.get(tag)
  return name === undefined ? undefined : ({ name, payload } as NamedEvent)
}

/** The data of one frame. */
export const EventEnvelope = z
  .object({
    id: z.int().min(1).describe('position of the event in its session; the SSE id on the stream of one session'),
    session_id: uuid,
    run_id: uuid.nullable(),
    timestamp: z.iso.datetime(),
    position: z.int().min(1).optional().describe('on the stream of many sessions: the same as id'),
    event: z.record(z.string(), z.unknown()).describe('one key, the name of the event in PascalCase; its value is the payload'),
  })
  .meta({ id: 'EventEnvelope' })

/** Data of the frame `gap_detected`, which has no id: the cursor is none of this log's; what follows is live. */
export const GapDetected = z
  .object({
    requested_after_id: z.union([z.int().min(0), z.string()]).describe('the cursor that was given'),
    oldest_available_id: z.union([z.int().min(0), z.string()]),
    newest_available_id: z.union([z.int().min(0), z.string()]),
    resume_hint: z.literal('refresh_snapshot_then_resume'),
  })
  .meta({ id: 'GapDetected' })

export type EventEnvelope = z.infer<typeof EventEnvelope>
export type GapDetected = z.infer<typeof GapDetected>
export type TotalUsage = z.infer<typeof TotalUsage>
export type CallUsage = z.infer<typeof CallUsage>

/** Every schema of this file by the name that it has in the OpenAPI document. */
export function eventComponents(): Readonly<Record<string, z.ZodType>> {
  const payloads = (Object.keys(EVENTS) as EventName[]).map((name) => {
    const wrapped = z
      .object({ [tagOf(name)]: EVENTS[name] })
      .describe(`SSE event \`${name}\`${Object.hasOwn(ADDITIONAL_EVENTS, name) ? ', with events=all' : ''}`)
    return [`${tagOf(name)}Event`, wrapped] as const
  })
  return { EventEnvelope, GapDetected, ...Object.fromEntries(payloads) }
}
