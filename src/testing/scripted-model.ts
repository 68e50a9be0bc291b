/** Models that say what a test wrote down for them. */
import type { ErrorCode } from '../domain/errors.ts'
import type { Json, Message } from '../domain/message.ts'
import type { Model, ModelPart, ModelRegistry, ModelRequest } from '../domain/model.ts'
import type { Usage } from '../domain/usage.ts'
import { ConvokeError } from '../domain/errors.ts'

/** One line of an answer: a part to stream, an error to throw, or something to wait for. */
export type Line = ModelPart | Error | Promise<unknown>
/** The answers, one per call in the order of calls (the last one is repeated); or a function that makes each. */
export type Script = readonly (readonly Line[])[] | ((request: ModelRequest, call: number) => readonly Line[])

/** A call as the model saw it. */
export interface SeenCall {
  /** `provider/id`. */
  readonly model: string
  readonly system: string
  /** The prompt as it stood when the call began. */
  readonly messages: readonly Message[]
  readonly tools: readonly string[]
}

/** A registry whose models all follow one script. */
export interface ScriptedModels extends ModelRegistry {
  /** Calls so far, oldest first. */
  readonly seen: readonly SeenCall[]
  /** Lines that were pulled so far, over all calls. */
  readonly pulled: number
}

/** How the models behave besides their script. */
export interface ScriptedModelOptions {
  /** Full ids; the first is the default. */
  readonly ids?: readonly string[]
  /** A model that does not listen to its signal. */
  readonly deaf?: boolean
  /** Size of the context of each model; without it the catalogue knows nothing. */
  readonly contextTokens?: number
}

/** Models that follow `script`. They end at once when their signal is aborted, unless they are deaf. */
export function scriptedModels(script: Script, options: ScriptedModelOptions = {}): ScriptedModels {
  const { ids = ['test/one', 'test/two'], deaf = false, contextTokens } = options
  const seen: SeenCall[] = []
  let pulled = 0
  const linesOf = (request: ModelRequest, call: number) => {
    if (typeof script === 'function') return script(request, call)
    return script[Math.min(call, script.length - 1)] ?? []
  }
  const model = (id: string): Model => ({
    id,
    async *stream(request) {
      const call = seen.length
      seen.push({ model: id, system: request.system, messages: [...request.messages], tools: request.tools.map(({ name }) => name) })
      for (const line of linesOf(request, call)) {
        pulled++
        if (!deaf) request.signal.throwIfAborted()
        if (line instanceof Error) throw line
        if (line instanceof Promise) await (deaf ? line : unlessAborted(line, request.signal))
        else yield line
      }
    },
  })
  return {
    defaultModel: ids[0] ?? 'test/one',
    seen,
    get pulled() {
      return pulled
    },
    list: () => [],
    resolve(name) {
      const id = name.includes('/') ? name : `test/${name}`
      if (!ids.includes(id)) throw new ConvokeError('invalid_model', `there is no model ${name}`)
      return id
    },
    info: (id) =>
      contextTokens === undefined ? undefined : { id, name: id, provider: 'test', reasoning: false, limit: { context: contextTokens, output: 1000 } },
    get: async (id) => model(id),
    check: async () => [],
    close: () => undefined,
  }
}

/** Text in deltas, with its end. */
export function text(...deltas: readonly string[]): readonly ModelPart[] {
  return [...deltas.map((delta) => ({ type: 'text_delta', delta }) as const), { type: 'text_end' }]
}

/** Thinking in deltas, with its end. */
export function thinking(...deltas: readonly string[]): readonly ModelPart[] {
  return [...deltas.map((delta) => ({ type: 'thinking_delta', delta }) as const), { type: 'thinking_end' }]
}

/** A call of a tool. */
export function toolCall(id: string, name: string, args: Json = {}): ModelPart {
  return { type: 'tool_call', id, name, arguments: args }
}

/** Usage of `inputTokens` and `outputTokens`. */
export function tokens(inputTokens: number, outputTokens: number): Usage {
  return { inputTokens, outputTokens, totalTokens: inputTokens + outputTokens }
}

/** The end of an answer that says everything. */
export function stop(usage: Usage = tokens(10, 1)): ModelPart {
  return { type: 'finish', reason: 'stop', usage }
}

/** The end of an answer that asks for tools. */
export function askTools(usage: Usage = tokens(10, 1)): ModelPart {
  return { type: 'finish', reason: 'tool_calls', usage }
}

/** What a provider threw, classified. */
export function failure(code: ErrorCode, retryAfterMs?: number): ConvokeError {
  return new ConvokeError(code, `scripted ${code}`, retryAfterMs === undefined ? {} : { retryAfterMs })
}

function unlessAborted(waited: Promise<unknown>, signal: AbortSignal): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const stopWaiting = () => reject(signal.reason as Error)
    signal.addEventListener('abort', stopWaiting, { once: true })
    waited.then(resolve, reject).finally(() => signal.removeEventListener('abort', stopWaiting))
  })
}
