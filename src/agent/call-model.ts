/** One model call of a run: an attempt, streamed into the log, and what becomes of it. */
import type { MessageEvent, RunEvent } from '../domain/event.ts'
import type { Message } from '../domain/message.ts'
import type { ModelInfo, ModelRequest } from '../domain/model.ts'
import type { RunContext } from '../runtime/agent.ts'
import type { AgentParts } from './parts.ts'
import type { RunState } from './run-state.ts'
import { ConvokeError, isRetryable } from '../domain/errors.ts'
import { messageId } from '../domain/ids.ts'
import { CALLS_MAX } from '../domain/session.ts'
import { Answer } from './answer.ts'
import { ATTEMPTS_MAX, BACKOFF_MS, BACKOFF_MS_MAX, RETRY_AFTER_MS_MAX } from './parts.ts'
import { disposition } from './policy.ts'
import { HISTORY_SHARE, systemPrompt, withinBudget } from './prompt.ts'

/** Context of a model without facts, in tokens. */
export const CONTEXT_TOKENS_DEFAULT = 128_000

/** What came of an attempt. `closing` is not recorded yet: it goes with the run's end where there is one. */
export type CallOutcome =
  | { readonly kind: 'tools' }
  | { readonly kind: 'said'; readonly closing: readonly (RunEvent | MessageEvent)[] }
  | { readonly kind: 'retry' }
  | { readonly kind: 'failed'; readonly code: string; readonly error: string; readonly closing: readonly (RunEvent | MessageEvent)[] }
  | { readonly kind: 'cancelled'; readonly closing: readonly (RunEvent | MessageEvent)[] }

/** One attempt, as it is under way. */
export interface Attempt {
  readonly turn: number
  readonly attempt: number
  /** Resolved `provider/id`. */
  readonly model: string
  /** Ids of the calls that the run has made so far. */
  readonly callIds: ReadonlySet<string>
}

/** Calls the model for a turn whose start is recorded or on its way. */
export async function callModel(context: RunContext, parts: AgentParts, prompt: readonly Message[], attempt: Attempt): Promise<CallOutcome> {
  const answer = new Answer(attempt.callIds)
  // The end of the last text goes with the end of its turn, in one write: a crash between them would have the whole answer made again.
  let held: RunEvent | undefined
  let concluded: Concluded
  try {
    const model = await parts.models.get(attempt.model)
    for await (const part of model.stream(requestOf(context, parts, prompt, attempt.model))) {
      const text = answer.openText
      answer.add(part)
      const event = streamed(context, part.type, 'delta' in part ? part.delta : text)
      if (event !== undefined) {
        if (held !== undefined) context.emit(held)
        held = event.type === 'TextCompleted' ? event : undefined
        if (held === undefined) context.emit(event)
      }
      if (context.full) await context.drained()
      context.signal.throwIfAborted()
    }
    if (answer.finish === undefined) throw new ConvokeError('model_protocol', 'the provider ended its stream without saying why')
    concluded = conclude(context, parts, answer, attempt, held === undefined ? [] : [held])
  } catch (error) {
    if (held !== undefined) context.emit(held)
    return failed(context, parts, answer, attempt, error)
  }
  // What the log throws is no failure of the model: the answer may stand in it already, and nothing here can know.
  if (concluded.record.length > 0) await context.record(...concluded.record)
  return concluded.outcome
}

/** What a complete answer comes to, and what is to be recorded of it first. */
interface Concluded {
  readonly record: readonly (RunEvent | MessageEvent)[]
  readonly outcome: CallOutcome
}

function requestOf(context: RunContext, parts: AgentParts, prompt: readonly Message[], model: string): ModelRequest {
  const info = parts.models.info(model)
  return {
    system: systemPrompt(context.options),
    messages: withinBudget(prompt, info?.limit.context ?? CONTEXT_TOKENS_DEFAULT),
    tools: parts.tools,
    ...(info === undefined ? {} : { maxOutputTokens: maxOutputTokens(info.limit) }),
    signal: context.signal,
  }
}

/** As much as the model can say beside the history: some providers refuse a call whose sum is over the context. */
export function maxOutputTokens({ context, output }: ModelInfo['limit']): number {
  return Math.min(output, Math.floor(context * (1 - HISTORY_SHARE)))
}

function streamed(context: RunContext, type: string, text: string): RunEvent | undefined {
  const { runId } = context
  switch (type) {
    case 'text_delta':
      return text === '' ? undefined : { type: 'TextDelta', runId, delta: text }
    case 'thinking_delta':
      return text === '' ? undefined : { type: 'ThinkingDelta', runId, delta: text }
    case 'text_end':
      return text === '' ? undefined : { type: 'TextCompleted', runId, text }
    default:
      return undefined
  }
}

/** A complete answer: calls are proposed at once; plain text is handed back, to be recorded with the end of the run. */
function conclude(context: RunContext, parts: AgentParts, answer: Answer, attempt: Attempt, held: readonly RunEvent[]): Concluded {
  const { runId } = context
  const { turn, model } = attempt
  const said: readonly (RunEvent | MessageEvent)[] = [
    ...held,
    { type: 'MessageAdded', messageId: messageId(parts.random.uuid()), runId, message: answer.message() },
    { type: 'UsageReported', runId, turn, model, usage: answer.usage },
  ]
  if (answer.calls.length === 0) {
    if (answer.finish === 'error' || answer.finish === 'refused') throw new ConvokeError('model_refused', 'the model ended its answer with an error')
    const finishReason = answer.finish === 'max_output_tokens' ? 'max_output_tokens' : 'stop'
    return { record: [], outcome: { kind: 'said', closing: [...said, { type: 'TurnCompleted', runId, turn, finishReason }] } }
  }
  if (answer.calls.length > CALLS_MAX)
    throw new ConvokeError('model_protocol', `the model asked for ${answer.calls.length} tools at once, ${CALLS_MAX} is the most`)
  const calls = answer.calls.map((call) => {
    const tool = parts.tools.find((candidate) => candidate.name === call.name)
    const { id, name, metadata, invalid } = call
    const extra = { ...(metadata === undefined ? {} : { metadata }), ...(invalid === undefined ? {} : { invalid }) }
    // A call that cannot run needs no permission: the model is told why.
    const wrong = invalid !== undefined || tool === undefined || tool.check(call.arguments) !== undefined
    const how = wrong ? 'approve' : disposition(parts.policy, context.options.autoApprove, name, tool)
    return { id, name, arguments: call.arguments, ...extra, disposition: how } as const
  })
  // Asked in the same write: who sees a proposal may answer it at once.
  const toolCallIds = calls.filter((call) => call.disposition === 'ask').map((call) => call.id)
  const asked: readonly RunEvent[] = toolCallIds.length === 0 ? [] : [{ type: 'ApprovalRequested', runId, toolCallIds }]
  return { record: [...said, { type: 'ToolCallsProposed', runId, turn, calls }, ...asked], outcome: { kind: 'tools' } }
}

/** A failed or cancelled attempt: tried again where that may help, else the end of the run. */
async function failed(context: RunContext, parts: AgentParts, answer: Answer, attempt: Attempt, error: unknown): Promise<CallOutcome> {
  const { runId, signal } = context
  if (signal.aborted && !(signal.reason instanceof ConvokeError)) throw signal.reason
  const partial = answer.partialMessage()
  const cutOff: readonly MessageEvent[] =
    partial === undefined ? [] : [{ type: 'MessageAdded', messageId: messageId(parts.random.uuid()), runId, message: partial, partial: true }]
  if (signal.aborted) return { kind: 'cancelled', closing: cutOff }
  if (!(error instanceof ConvokeError)) throw error
  const delayMs = retryDelayMs(attempt.attempt, error)
  if (delayMs !== undefined) {
    await context.record({ type: 'RetryScheduled', runId, attempt: attempt.attempt, delayMs, reason: error.message })
    return { kind: 'retry' }
  }
  const closing = [...cutOff, { type: 'TurnCompleted', runId, turn: attempt.turn, finishReason: 'error' }] as const
  return { kind: 'failed', code: error.code, error: error.message, closing }
}

/** The pause before a failed call is tried again, in ms; nothing where that cannot help, or was tried often enough. */
export function retryDelayMs(attempt: number, error: ConvokeError): number | undefined {
  const delayMs = error.retryAfterMs ?? Math.min(BACKOFF_MS * 2 ** (attempt - 1), BACKOFF_MS_MAX)
  return isRetryable(error.code) && attempt < ATTEMPTS_MAX && delayMs <= RETRY_AFTER_MS_MAX ? delayMs : undefined
}

/** The model of the next call: the session's, as it was switched last, else the run's own, else the default. */
export function modelOf(context: RunContext, state: RunState, sessionModel: string | undefined, parts: AgentParts): string {
  return parts.models.resolve(state.model ?? context.options.model ?? sessionModel ?? parts.models.defaultModel)
}
