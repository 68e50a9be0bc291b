/** The world outside: models that answer as chance has it, and tools that write what they did into a ledger which no crash touches. */
import type { Json } from '../../src/domain/message.ts'
import type { Model, ModelPart, ModelRegistry, ModelRequest } from '../../src/domain/model.ts'
import type { Tool, ToolContext, ToolIntent, ToolResult } from '../../src/domain/tool.ts'
import type { Scope } from '../../src/testing/simulation/scheduler.ts'
import type { SeededRandom } from '../../src/testing/simulation/seeded.ts'
import type { SessionFiles } from '../../src/command/purge.ts'
import type { SessionId } from '../../src/domain/ids.ts'
import { isErasing, type Shape } from './shape.ts'
import { ConvokeError } from '../../src/domain/errors.ts'
import { callKey } from './rules.ts'

/** Turns with calls in a row that a model asks for at most. */
const DEPTH_MAX = 4
/** How long a model that hangs says nothing, in ms. */
const HANG_MS = 20_000

/** One time that a tool really ran. */
export interface LedgerLine {
  readonly tool: string
  readonly by: string
  ended: boolean
}

/** What really happened, by run and call. @see callKey */
export type Ledger = Map<string, LedgerLine[]>

/** What the outside needs. */
export interface OutsideOptions {
  readonly random: SeededRandom
  readonly shape: () => Shape
  /** What a model says, where chance shall not: parts, or an error in their place. */
  readonly plan?: (request: ModelRequest) => readonly (ModelPart | Error)[]
  /** Where what a tool started goes on without its server. */
  readonly world: Scope
  /** Told when a tool begins, before it is in the ledger. */
  readonly begins: (tool: string, call: string) => void
  /** Told when the process group of a tool does its work, for the driver that started it. */
  readonly acts: (call: string, driver: number) => void
}

/** Who runs a call. */
interface Runner {
  readonly scope: Scope
  readonly driver: number
  readonly group: number | undefined
}

const TOOLS = [
  { name: 'look', readOnly: true, parallelSafe: true, repeatable: true },
  { name: 'act', readOnly: true, parallelSafe: false, repeatable: false },
  { name: 'danger', readOnly: false, parallelSafe: true, repeatable: false },
  { name: 'fetch', readOnly: false, parallelSafe: false, repeatable: true },
] as const

/** Whether recovery may run that tool again. */
export function isRepeatable(name: string): boolean {
  return TOOLS.find((tool) => tool.name === name)?.repeatable === true
}

/** The outside of all processes. */
export class Outside {
  readonly ledger: Ledger = new Map()
  /** Outputs of tools that are kept in files, by session. */
  readonly outputs = new Map<SessionId, Set<string>>()
  readonly #options: OutsideOptions
  /** Ends each process group that works. */
  readonly #groups = new Map<number, () => void>()
  /** Groups that were killed: their guardians start nothing more. */
  readonly #dead = new Set<number>()
  #calls = 0
  #newGroups = 0

  constructor(options: OutsideOptions) {
    this.#options = options
  }

  /** The tools as the process of `scope` has them. */
  tools(scope: Scope, driver: number): readonly Tool[] {
    return TOOLS.map((nature) => ({
      ...nature,
      description: nature.name,
      inputSchema: { type: 'object' },
      timeoutMs: () => 2_000,
      check: () => undefined,
      open: async (_args: Json, context: ToolContext) => {
        const group = this.#options.shape().tools.groups ? ++this.#newGroups : undefined
        const intent = group === undefined ? {} : { intent: { groupId: group, startTicks: 1 } }
        return { ...intent, run: () => this.#run(nature.name, context, { scope, driver, group }), close: async () => this.#end(group) }
      },
    }))
  }

  /** The files of sessions, as the process of `scope` reaches them. Without one it takes no time, and nothing fails. */
  files(scope?: Scope): SessionFiles {
    const { random, shape } = this.#options
    const takes = async (what: string) => {
      await scope?.delay(random.between(0, 5), what)
      if (scope !== undefined && random.chance(shape().failing)) throw new Error('a simulated file cannot be removed')
    }
    return {
      count: async (session) => ({ workspace: 0, outputs: this.outputs.get(session)?.size ?? 0 }),
      remove: async (session, keep) => {
        await takes('files are removed')
        for (const name of this.outputs.get(session) ?? []) if (keep?.has(name) !== true) this.outputs.get(session)?.delete(name)
      },
    }
  }

  /** Ends what a call left running. */
  killGroup({ groupId }: ToolIntent): void {
    this.#end(groupId)
  }

  #end(group: number | undefined): void {
    if (group === undefined) return
    this.#groups.get(group)?.()
    this.#groups.delete(group)
    this.#dead.add(group)
  }

  async #run(tool: string, context: ToolContext, { scope, driver, group }: Runner): Promise<ToolResult> {
    const { random, begins } = this.#options
    const { tools } = this.#options.shape()
    const call = callKey(context.runId, context.toolCallId)
    begins(tool, call)
    const line = { tool, by: scope.name, ended: false }
    this.ledger.set(call, [...(this.ledger.get(call) ?? []), line])
    if (random.chance(0.3)) context.progress('half of it')
    const tookMs = random.between(0, tools.slowMs) * (random.chance(0.05) ? 20 : 1)
    if (group === undefined) await pause(scope, tookMs, `tool ${tool}`, random.chance(tools.deaf) ? undefined : context.signal)
    else await this.#runGroup(call, driver, group, tookMs, { scope, signal: context.signal })
    line.ended = true
    if (random.chance(tools.failing)) throw new Error('the tool broke')
    const outputFile = isErasing(this.#options.shape()) && random.chance(0.3) ? this.#keepOutput(context) : undefined
    return { output: `done ${context.toolCallId}`, isError: false, ...(outputFile === undefined ? {} : { outputFile }) }
  }

  #keepOutput({ sessionId, runId, toolCallId }: ToolContext): string {
    const name = `${runId}-${toolCallId}.txt`
    this.outputs.set(sessionId, (this.outputs.get(sessionId) ?? new Set()).add(name))
    return `/outputs/${sessionId}/${name}`
  }

  /** A process group works whether or not its server lives; only a kill ends it. Its server hears of its end. */
  async #runGroup(
    call: string,
    driver: number,
    group: number,
    tookMs: number,
    { scope, signal }: { readonly scope: Scope; readonly signal: AbortSignal },
  ): Promise<void> {
    const { world, acts } = this.#options
    if (this.#dead.has(group)) throw new Error('the guardian is gone')
    const takeBack = world.at(tookMs, `${call} acts`, () => {
      this.#groups.delete(group)
      acts(call, driver)
    })
    this.#groups.set(group, takeBack)
    try {
      await pause(scope, tookMs, `tool ${call}`, signal)
    } catch (error) {
      this.#end(group)
      throw error
    }
  }

  /** The models as the process of `scope` has them. Any name will do. */
  models(scope: Scope): ModelRegistry {
    return {
      defaultModel: 'sim/one',
      list: () => [],
      resolve: (name) => name,
      info: () => undefined,
      get: async (id) => this.#model(id, scope),
      check: async () => [],
      close: () => undefined,
    }
  }

  #model(id: string, scope: Scope): Model {
    return { id, stream: (request) => this.#answer(request, scope) }
  }

  async *#answer(request: ModelRequest, scope: Scope): AsyncGenerator<ModelPart> {
    const { random } = this.#options
    const { models } = this.#options.shape()
    const signal = random.chance(models.deaf) ? undefined : request.signal
    const parts = this.#options.plan?.(request) ?? this.#plan(request)
    const failsAt = random.chance(models.failing) ? random.int(parts.length) : -1
    const hangsAt = random.chance(models.hanging) ? random.int(parts.length) : -1
    for (const [index, part] of parts.entries()) {
      if (models.paceMs > 0) await pause(scope, random.between(0, models.paceMs), 'model', signal)
      if (index === hangsAt) await pause(scope, HANG_MS, 'model hangs', signal)
      if (index === failsAt) throw this.#failure()
      if (part instanceof Error) throw part
      yield part
    }
  }

  #failure(): ConvokeError {
    const { random } = this.#options
    const code = random.pick(['model_unavailable', 'model_rate_limited', 'model_protocol', 'model_refused'] as const)
    return new ConvokeError(code, `simulated ${code}`, random.chance(0.3) ? { retryAfterMs: random.int(3_000) } : {})
  }

  /** Calls of tools until it has had enough, then an end. A model knows only its prompt. */
  #plan({ messages }: ModelRequest): readonly ModelPart[] {
    const { random } = this.#options
    const { countingIds, words } = this.#options.shape().models
    const since = messages.length - 1 - messages.findLastIndex(({ role }) => role === 'user')
    const depth = messages.slice(messages.length - since).filter(({ role }) => role === 'assistant').length
    const parts: ModelPart[] = []
    if (random.chance(0.3)) parts.push({ type: 'thinking_delta', delta: 'hm' }, { type: 'thinking_end' })
    const deltas = random.int(words + 1)
    for (let left = deltas; left > 0; left--) parts.push({ type: 'text_delta', delta: 'word ' })
    if (deltas > 0) parts.push({ type: 'text_end' })
    const calls = depth < DEPTH_MAX && random.chance(0.65) ? 1 + random.int(3) : 0
    for (let left = calls; left > 0; left--)
      parts.push({ type: 'tool_call', id: countingIds ? `call_${left}` : `c${++this.#calls}`, name: random.pick(TOOLS).name, arguments: {} })
    const usage = { inputTokens: 10, outputTokens: 1, totalTokens: 11 }
    parts.push({ type: 'finish', reason: calls > 0 ? 'tool_calls' : 'stop', usage })
    return parts
  }
}

/** Waits, or ends with the signal's reason. */
async function pause(scope: Scope, ms: number, label: string, signal: AbortSignal | undefined): Promise<void> {
  if (signal === undefined) return scope.delay(ms, label)
  await new Promise<void>((resolve, reject) => {
    if (signal.aborted) return reject(signal.reason as Error)
    const stop = () => {
      takeBack()
      reject(signal.reason as Error)
    }
    const takeBack = scope.at(ms, label, () => {
      signal.removeEventListener('abort', stop)
      resolve()
    })
    signal.addEventListener('abort', stop, { once: true })
  })
}
