/** The port to language models. Providers live in `model/`; the agent sees only this. */
import type { Json, Message } from './message.ts'
import type { Usage } from './usage.ts'

/** A tool as the model is told about it. */
export interface ToolSpec {
  readonly name: string
  readonly description: string
  /** JSON Schema of the arguments, an object schema. */
  readonly inputSchema: Json
}

/** One call. */
export interface ModelRequest {
  readonly system: string
  readonly messages: readonly Message[]
  readonly tools: readonly ToolSpec[]
  readonly maxOutputTokens?: number
  /** Aborting ends the stream by a throw and closes the connection to the provider. */
  readonly signal: AbortSignal
}

/** Why the model stopped. */
export type FinishReason = 'stop' | 'tool_calls' | 'max_output_tokens' | 'refused' | 'error'

/** One piece of a streamed answer, in the order in which the provider sent it. `finish` is last and comes exactly once. */
export type ModelPart =
  | { readonly type: 'text_delta'; readonly delta: string }
  /** A text block is complete. */
  | { readonly type: 'text_end' }
  | { readonly type: 'thinking_delta'; readonly delta: string }
  /** A thinking block is complete; `metadata` must be handed back with it. */
  | { readonly type: 'thinking_end'; readonly metadata?: Json }
  | {
      readonly type: 'tool_call'
      readonly id: string
      readonly name: string
      readonly arguments: Json
      readonly metadata?: Json
      /** Why the arguments could not be parsed; then `arguments` holds the raw text. */
      readonly invalid?: string
    }
  | { readonly type: 'finish'; readonly reason: FinishReason; readonly usage: Usage }

/** One model of one provider. */
export interface Model {
  /** `provider/id`. */
  readonly id: string
  /**
   * Calls the model once and streams its answer. Never retries by itself.
   *
   * @throws {ConvokeError} from the iteration, with a `model_*` code (and `retryAfterMs` where the provider said so), or the signal's reason when aborted.
   */
  stream(request: ModelRequest): AsyncIterable<ModelPart>
}

/** Facts about one model, for lists, cost and limits. Prices are US dollars per million tokens. */
export interface ModelInfo {
  /** Without the provider. */
  readonly id: string
  readonly name: string
  readonly provider: string
  readonly reasoning: boolean
  readonly cost?: { readonly input: number; readonly output: number; readonly cacheRead?: number; readonly cacheWrite?: number }
  readonly limit: { readonly context: number; readonly output: number }
  readonly releaseDate?: string
}

/** All models that this server can call. */
export interface ModelRegistry {
  /** The default model, `provider/id`: the configured one, else the first available provider's, else `demo/convoke`. */
  readonly defaultModel: string
  /** What can be listed now. Never waits for a network. */
  list(): readonly ModelInfo[]
  /** The full id for what a caller wrote (an alias, `provider/id`, or an id of the default provider). @throws {ConvokeError} `invalid_model` */
  resolve(name: string): string
  /** Facts, if the catalogue has them. `id` is a resolved `provider/id`. */
  info(id: string): ModelInfo | undefined
  /** The model of a resolved id; its provider package is imported on first use. @throws {ConvokeError} `invalid_model` */
  get(id: string): Promise<Model>
  /** Probes each provider's address. For `convoke doctor`. */
  check(signal: AbortSignal): Promise<readonly { readonly provider: string; readonly ok: boolean; readonly detail: string }[]>
  /** Stops background discovery. */
  close(): void
}
