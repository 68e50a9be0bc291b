/** A model of a provider package, at its lowest level: one `doStream`, translated part by part. */
import type {
  JSONSchema7,
  LanguageModelV4,
  LanguageModelV4CallOptions,
  LanguageModelV4StreamPart,
  LanguageModelV4Usage,
  SharedV4ProviderMetadata,
} from '@ai-sdk/provider'
import type { Json } from '../domain/message.ts'
import type { FinishReason, Model, ModelInfo, ModelPart, ModelRequest } from '../domain/model.ts'
import type { Clock } from '../domain/ports.ts'
import type { Usage } from '../domain/usage.ts'
import { ConvokeError } from '../domain/errors.ts'
import { ANSWER_CHARS_MAX, tooLong, watchIdle, type IdleWatch } from './bounds.ts'
import { toPrompt } from './convert.ts'
import { classify } from './errors.ts'

/** What a model needs to know besides its package. */
export interface SdkModelOptions {
  readonly info: ModelInfo | undefined
  /** Reads dates in the answers of the provider. */
  readonly nowMs: () => number
  /** The key that is sent: no error shows it, whatever a provider echoes. */
  readonly secret?: string | undefined
  /** How long the model may say nothing. Without it, as long as it likes. */
  readonly idle?: { readonly clock: Clock; readonly ms: number }
}

/** What must be remembered from one part of an answer to the next. */
interface Memory {
  /** How often each call id was seen. */
  readonly calls: Map<string, number>
  /** What must be handed back with each open thought: providers send it with any of its parts. */
  readonly thoughts: Map<string, SharedV4ProviderMetadata>
}

/** Wraps the model of a provider package. */
export function sdkModel(id: string, sdk: LanguageModelV4, { info, nowMs, secret, idle }: SdkModelOptions): Model {
  return {
    id,
    async *stream(request) {
      const memory: Memory = { calls: new Map(), thoughts: new Map() }
      const watch = idle === undefined ? undefined : watchIdle(idle.clock, idle.ms)
      const signal = watch === undefined ? request.signal : AbortSignal.any([request.signal, watch.signal])
      let finished = false
      try {
        const { stream } = await sdk.doStream(callOptions(request, signal))
        for await (const part of limited(stream as unknown as AsyncIterable<LanguageModelV4StreamPart>, watch)) {
          if (part.type === 'error') throw part.error
          const ours = translate(part, info, memory)
          finished ||= part.type === 'finish'
          if (ours !== undefined) yield ours
        }
        if (!finished) throw cutOff()
      } catch (error) {
        if (request.signal.aborted) throw request.signal.reason
        throw classify(watch?.signal.aborted === true ? watch.signal.reason : error, nowMs(), secret)
      } finally {
        watch?.close()
      }
    },
  }
}

/** Parts as they come, until they are too many or too far apart. @see bounds.ts */
async function* limited(parts: AsyncIterable<LanguageModelV4StreamPart>, watch: IdleWatch | undefined): AsyncGenerator<LanguageModelV4StreamPart> {
  let chars = 0
  for await (const part of parts) {
    const said = saidIn(part)
    chars += said
    if (chars > ANSWER_CHARS_MAX) throw tooLong('characters', ANSWER_CHARS_MAX)
    // How long we take over it is no silence of the model's.
    if (said > 0) watch?.heard(true)
    yield part
    if (said > 0) watch?.heard()
  }
}

/** Characters that a part adds to the answer. Arguments are counted as they stream; a call says something even without any. */
function saidIn(part: LanguageModelV4StreamPart): number {
  switch (part.type) {
    case 'text-delta':
    case 'reasoning-delta':
    case 'tool-input-delta':
      return part.delta.length
    case 'tool-call':
      return 1
    default:
      return 0
  }
}

function cutOff(): ConvokeError {
  return new ConvokeError('model_protocol', 'the model provider ended its answer without saying why')
}

function callOptions(request: ModelRequest, signal: AbortSignal): LanguageModelV4CallOptions {
  const tools = request.tools.map(({ name, description, inputSchema }) => ({
    type: 'function' as const,
    name,
    description,
    inputSchema: inputSchema as JSONSchema7,
  }))
  return {
    prompt: toPrompt(request),
    abortSignal: signal,
    ...(tools.length === 0 ? {} : { tools, toolChoice: { type: 'auto' as const } }),
    ...(request.maxOutputTokens === undefined ? {} : { maxOutputTokens: request.maxOutputTokens }),
  }
}

function translate(part: LanguageModelV4StreamPart, info: ModelInfo | undefined, { calls, thoughts }: Memory): ModelPart | undefined {
  switch (part.type) {
    case 'text-delta':
      return { type: 'text_delta', delta: part.delta }
    case 'text-end':
      return { type: 'text_end' }
    case 'reasoning-start':
      keepMetadata(part, thoughts)
      return undefined
    case 'reasoning-delta':
      keepMetadata(part, thoughts)
      return part.delta === '' ? undefined : { type: 'thinking_delta', delta: part.delta }
    case 'reasoning-end': {
      keepMetadata(part, thoughts)
      const metadata = thoughts.get(part.id)
      thoughts.delete(part.id)
      return { type: 'thinking_end', ...(metadata === undefined ? {} : { metadata: metadata as Json }) }
    }
    case 'tool-call':
      if (part.providerExecuted === true) return undefined
      return {
        type: 'tool_call',
        id: uniqueId(part.toolCallId, calls),
        name: part.toolName,
        ...argumentsOf(part.input),
        ...(part.providerMetadata === undefined ? {} : { metadata: part.providerMetadata as Json }),
      }
    case 'finish':
      if (part.finishReason.unified === 'interrupted') throw cutOff()
      return { type: 'finish', reason: finishReason(part.finishReason.unified), usage: usageOf(part.usage, info) }
    default:
      return undefined
  }
}

function keepMetadata(
  { id, providerMetadata }: { readonly id: string; readonly providerMetadata?: SharedV4ProviderMetadata },
  thoughts: Memory['thoughts'],
): void {
  if (providerMetadata === undefined) return
  const merged = { ...thoughts.get(id) }
  for (const [provider, facts] of Object.entries(providerMetadata)) merged[provider] = { ...merged[provider], ...facts }
  thoughts.set(id, merged)
}

/** A provider that gives two calls one id would have them answered as one. */
function uniqueId(id: string, calls: Map<string, number>): string {
  const seen = calls.get(id) ?? 0
  calls.set(id, seen + 1)
  return seen === 0 ? id : `${id}-${seen + 1}`
}

function argumentsOf(input: string): { arguments: Json; invalid?: string } {
  if (input.trim() === '') return { arguments: {} }
  try {
    return { arguments: JSON.parse(input) as Json }
  } catch (error) {
    return { arguments: input, invalid: error instanceof Error ? error.message : 'not JSON' }
  }
}

function finishReason(unified: string): FinishReason {
  switch (unified) {
    case 'length':
      return 'max_output_tokens'
    case 'tool-calls':
      return 'tool_calls'
    case 'content-filter':
      return 'refused'
    case 'error':
      return 'error'
    default:
      return 'stop'
  }
}

function usageOf(usage: LanguageModelV4Usage, info: ModelInfo | undefined): Usage {
  const inputTokens = usage.inputTokens.total ?? 0
  const outputTokens = usage.outputTokens.total ?? 0
  const { cacheRead, cacheWrite } = usage.inputTokens
  const { reasoning } = usage.outputTokens
  const prices = info?.cost
  const cost = prices === undefined ? {} : { cost: (inputTokens * prices.input + outputTokens * prices.output) / 1_000_000 }
  return {
    inputTokens,
    outputTokens,
    totalTokens: inputTokens + outputTokens,
    ...(cacheRead === undefined ? {} : { cachedInputTokens: cacheRead }),
    ...(cacheWrite === undefined ? {} : { cacheWriteTokens: cacheWrite }),
    ...(reasoning === undefined ? {} : { reasoningTokens: reasoning }),
    ...cost,
  }
}
