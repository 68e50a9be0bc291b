/**
 * Events on the `/v1` wire: each stored event is at most one frame, its id is the position.
 *
 * The data names the event twice, as the contract does: the SSE event in snake_case, and a single PascalCase key in `data.event`.
 * Events that the contract does not know go only to readers that ask for all (`?events=all`).
 */
import type { StreamEvent } from '../../domain/event.ts'
import type { SessionId } from '../../domain/ids.ts'
import type { Usage } from '../../domain/usage.ts'
import type { Codec, EventBatch } from '../../stream/codec.ts'
import { encodeMessage } from './message-codec.ts'

/** Which events a reader wants. */
export type EventView = 'contract' | 'all'

/** An event by its wire name and payload. */
export interface WireEvent {
  /** snake_case. */
  readonly name: string
  /** PascalCase, as the key of `data.event`. */
  readonly tag: string
  readonly payload: Readonly<Record<string, unknown>>
  /** Not in the contract. */
  readonly additional: boolean
}

/** The envelope of one event. */
export interface Envelope {
  readonly id: number
  readonly session_id: string
  readonly run_id: string | null
  readonly timestamp: string
  readonly event: Readonly<Record<string, unknown>>
}

const encoder = new TextEncoder()

/** The SSE codec of one session's stream. */
export function sseCodec(view: EventView): Codec {
  return { name: `v1:${view}`, encode: (batch) => encoder.encode(sseFrames(batch, view)) }
}

/** The SSE frames of a batch. `cursor` and `skip` serve the stream over many sessions. */
export function sseFrames(batch: EventBatch, view: EventView, skip = 0, cursor?: (index: number) => string): string {
  const timestamp = new Date(batch.atMs).toISOString()
  let text = ''
  for (let index = skip; index < batch.events.length; index++) {
    const wire = wireEvent(batch.events[index] as StreamEvent)
    if (wire.additional && view === 'contract') continue
    const position = batch.from + index
    const data = JSON.stringify(envelopeOf(batch.stream, position, timestamp, wire, cursor !== undefined))
    text += `id: ${cursor === undefined ? position : cursor(index)}\nevent: ${wire.name}\ndata: ${data}\n\n`
  }
  return text
}

/** The envelope of an event; `withPosition` adds what a stream over many sessions needs. */
export function envelopeOf(stream: SessionId, position: number, timestamp: string, wire: WireEvent, withPosition = false): Envelope {
  const runId = wire.payload['run_id']
  return {
    id: position,
    session_id: stream,
    run_id: typeof runId === 'string' ? runId : null,
    timestamp,
    ...(withPosition ? { position } : {}),
    event: { [wire.tag]: wire.payload },
  }
}

/** An event in the wire's words. Total. */
export function wireEvent(event: StreamEvent): WireEvent {
  switch (event.type) {
    case 'RunStarted':
      return contract('run_started', { run_id: event.runId })
    case 'TurnStarted':
      return contract('turn_started', { run_id: event.runId, turn: event.turn })
    case 'TextDelta':
      return contract('text_delta', { run_id: event.runId, delta: event.delta })
    case 'ThinkingDelta':
      return contract('thinking_delta', { run_id: event.runId, delta: event.delta })
    case 'TextCompleted':
      return contract('text_complete', { run_id: event.runId, text: event.text })
    case 'ToolCallsProposed': {
      const calls = event.calls.map(({ id, name, arguments: args, metadata }) => ({
        id,
        name,
        arguments: args,
        ...(metadata === undefined ? {} : { metadata }),
      }))
      return contract('tool_calls_proposed', { run_id: event.runId, tool_calls: calls })
    }
    case 'ApprovalRequested':
      return contract('waiting_for_tool_approval', { run_id: event.runId, pending_tool_call_ids: event.toolCallIds })
    case 'ToolStarted':
      return contract('tool_execution_started', { run_id: event.runId, tool_call_id: event.toolCallId, tool_name: event.toolName })
    case 'ToolProgressed':
      return contract('tool_execution_progress', { run_id: event.runId, tool_call_id: event.toolCallId, message: event.message })
    case 'ToolCompleted': {
      const { runId, toolCallId, toolName, result, isError } = event
      return contract('tool_execution_completed', { run_id: runId, tool_call_id: toolCallId, tool_name: toolName, result, is_error: isError })
    }
    case 'ToolRejected':
      return contract('tool_rejected', { run_id: event.runId, tool_call_id: event.toolCallId, tool_name: event.toolName, reason: event.reason })
    case 'RetryScheduled':
      return contract('retry_attempt', { run_id: event.runId, attempt: event.attempt, delay_ms: event.delayMs, reason: event.reason })
    case 'UsageReported':
      return contract('usage_report', { run_id: event.runId, turn: event.turn, usage: detailedUsage(event.usage) })
    case 'TurnCompleted':
      return contract('turn_completed', { run_id: event.runId, turn: event.turn, finish_reason: event.finishReason })
    case 'RunCompleted': {
      const { runId, totalTurns, totalUsage, stopReason } = event
      return contract('run_completed', { run_id: runId, total_turns: totalTurns, total_usage: plainUsage(totalUsage), stop_reason: stopReason })
    }
    case 'RunFailed':
      return contract('run_error', { run_id: event.runId, error: event.error, retryable: false, code: event.code })
    // What an attempt streamed is void: the contract's words for it are a retry and then the same turn again.
    case 'AttemptSuperseded':
      return contract('retry_attempt', {
        run_id: event.runId,
        attempt: event.attempt,
        delay_ms: 0,
        reason: 'the attempt was interrupted',
        superseded_from: event.from,
      })
    case 'AttemptStarted':
      return contract('turn_started', { run_id: event.runId, turn: event.turn, attempt: event.attempt })
    default:
      return additionalEvent(event)
  }
}

/** Events that only this server has. */
function additionalEvent(event: Exclude<StreamEvent, { type: 'RunStarted' }>): WireEvent {
  switch (event.type) {
    case 'MessageAdded': {
      const { runId, messageId, message, delivery, partial } = event
      return additional('message_added', { run_id: runId, message_id: messageId, message: encodeMessage(message), delivery, partial })
    }
    case 'MessageQueued': {
      const { messageId, nextRunId, delivery, message } = event
      return additional('message_queued', { message_id: messageId, next_run_id: nextRunId, delivery, message: encodeMessage(message) })
    }
    case 'ApprovalDecided': {
      const { runId, toolCallId, action, by } = event
      return additional('approval_decided', { run_id: runId, tool_call_id: toolCallId, action, by })
    }
    case 'SessionCreated':
      return additional('session_created', {
        title: event.title,
        cwd: event.cwd ?? null,
        agent: event.agent,
        model: event.model ?? null,
        on_interrupt: event.onInterrupt,
      })
    case 'SessionForked': {
      const { origin, title, cwd, agent, model, onInterrupt, messages } = event
      const from = { session_id: origin.sessionId, position: origin.position }
      const settings = { cwd: cwd ?? null, agent, model: model ?? null, on_interrupt: onInterrupt }
      return additional('session_forked', { origin: from, title, ...settings, message_count: messages })
    }
    case 'SessionUpdated':
      return additional('session_updated', { title: event.title, visibility: event.visibility, agent: event.agent, on_interrupt: event.onInterrupt })
    case 'SessionDeleted':
      return additional('session_deleted', { by: event.by })
    case 'SessionAssigned':
      return additional('session_assigned', { to: event.to })
    case 'ModelChanged':
      return additional('model_changed', { model: event.model, by: event.by })
    case 'TodosUpdated':
      return additional('todos_updated', { run_id: event.runId, todos: event.todos })
    case 'RunClaimed':
      return additional('run_claimed', { run_id: event.runId })
    case 'ResumeRequested':
      return additional('resume_requested', { run_id: event.runId })
    case 'ResumeDecided':
      return additional('resume_decided', { run_id: event.runId, action: event.action, by: event.by })
    case 'StepStarted':
      return additional('step_started', { run_id: event.runId, key: event.key, attempt: event.attempt })
    // A result stays inside: it is the agent's, and may be anything.
    case 'StepCompleted':
      return additional('step_completed', { run_id: event.runId, key: event.key })
    case 'StepFailed': {
      const { runId, key, attempt, error, code, retryAtMs } = event
      return additional('step_failed', { run_id: runId, key, attempt, error, code, will_retry: retryAtMs !== undefined })
    }
    case 'CancelRequested':
      return additional('cancel_requested', { run_id: event.runId, by: event.by })
    case 'Unknown':
      return additional('unknown', { original_type: event.originalType })
    default:
      return additional('unknown', { original_type: event.type })
  }
}

function contract(name: string, payload: WireEvent['payload']): WireEvent {
  return { name, tag: pascal(name), payload, additional: false }
}

function additional(name: string, payload: WireEvent['payload']): WireEvent {
  return { name, tag: pascal(name), payload, additional: true }
}

const tags = new Map<string, string>()

function pascal(name: string): string {
  const known = tags.get(name) ?? name.replaceAll(/(?:^|_)([a-z])/g, (_, letter: string) => letter.toUpperCase())
  tags.set(name, known)
  return known
}

function plainUsage(usage: Usage) {
  return {
    prompt_tokens: usage.inputTokens,
    completion_tokens: usage.outputTokens,
    total_tokens: usage.totalTokens,
    ...(usage.cost === undefined ? {} : { cost: usage.cost }),
  }
}

function detailedUsage(usage: Usage) {
  const { cachedInputTokens, cacheWriteTokens, reasoningTokens } = usage
  const input =
    cachedInputTokens === undefined && cacheWriteTokens === undefined
      ? {}
      : { input_token_details: { cache_read: cachedInputTokens, cache_write: cacheWriteTokens } }
  const output = reasoningTokens === undefined ? {} : { output_token_details: { reasoning: reasoningTokens } }
  return { ...plainUsage(usage), ...input, ...output }
}
