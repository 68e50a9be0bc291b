/** A whole server's inside, without its doors: one session, the built-in agent, scripted models and tools, and a clock in hand. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { Recorded } from '../../src/domain/event.ts'
import type { Random } from '../../src/domain/ports.ts'
import type { Tool, ToolIntent } from '../../src/domain/tool.ts'
import type { Store } from '../../src/log/store.ts'
import type { SessionReads } from '../../src/projection/reads.ts'
import type { Agent } from '../../src/runtime/agent.ts'
import type { ApprovalPolicy } from '../../src/agent/policy.ts'
import type { AgentParts } from '../../src/agent/parts.ts'
import type { DefinedAgent } from '../../src/runtime/define.ts'
import { builtinAgent } from '../../src/agent/builtin.ts'
import { ownAgent } from '../../src/agent/own.ts'
import { Committer } from '../../src/command/committer.ts'
import { memoryStore } from '../../src/storage/memory/store.ts'
import { openSqliteStore } from '../../src/storage/sqlite/store.ts'
import { Hub } from '../../src/stream/hub.ts'
import { systemRandom } from '../../src/system/random.ts'
import { failingStore, type FailingStore, type FateOf } from '../../src/testing/failing-store.ts'
import { manualClock } from '../../src/testing/manual-clock.ts'
import { TEST_SESSION, countingRandom, keptLog, runHost, runSession, type LogLine, type RunHost, type RunSession } from '../../src/testing/run-kit.ts'
import {
  scriptedModels,
  type Script,
  type ScriptedModelOptions,
  type ScriptedModels,
  askTools,
  stop,
  text,
  toolCall,
  type Line,
} from '../../src/testing/scripted-model.ts'

/** Engines that runs are tested over. */
export const ENGINES = ['memory', 'sqlite'] as const
/** Everything runs without asking. */
export const APPROVE_ALL: ApprovalPolicy = { mode: 'all', rules: {}, default: 'ask' }

/** What a rig is made of. */
export interface RigOptions {
  /** Default: the model says that it is done. */
  readonly script?: Script
  readonly models?: ScriptedModelOptions
  readonly tools?: readonly Tool[]
  /** Default: everything runs. */
  readonly policy?: ApprovalPolicy
  readonly engine?: (typeof ENGINES)[number]
  readonly agents?: readonly Agent[]
  /** Agents that `defineAgent` made. */
  readonly own?: readonly DefinedAgent[]
  readonly fateOf?: FateOf
  /** Whether other processes may have the log open too. */
  readonly shared?: boolean
}

/** One life of the process. */
export interface Rig extends RunHost, RunSession {
  readonly store: FailingStore
  /** The engine itself, which does not fail. */
  readonly beneath: Store & SessionReads
  readonly models: ScriptedModels
  readonly logged: readonly LogLine[]
  /** Groups that were killed. */
  readonly killed: readonly ToolIntent[]
  /** What readers in this process were shown. */
  readonly published: readonly Recorded[]
  /** Leaves this life where it stands, unheard, and begins another on the same data. Its clock goes on `laterMs` later. */
  restart(changed?: Partial<RigOptions>, laterMs?: number): Promise<Rig>
  /** Begins another process on the same data while this one lives, with a clock of its own. */
  join(changed?: Partial<RigOptions>): Promise<Rig>
}

type Opened = { readonly store: Store & SessionReads; readonly reopen: () => Promise<Opened>; readonly join: () => Promise<Opened> }

/** Opens an engine, makes a session and starts the supervisor. */
export async function rig(options: RigOptions, session: Parameters<RunSession['create']>[0] = {}): Promise<Rig> {
  const built = await boot(options, await openEngine(options), 1_700_000_000_000, countingRandom())
  await built.create(session)
  await built.supervisor.start()
  return built
}

async function boot(options: RigOptions, opened: Opened, startMs: number, random: Random): Promise<Rig> {
  const { fateOf = () => 'pass' } = options
  const store = failingStore(opened.store, fateOf)
  const hub = new Hub()
  const published: Recorded[] = []
  hub.subscribe(TEST_SESSION, ({ from, atMs, events }) => published.push(...events.map((event, index) => ({ position: from + index, atMs, event }))))
  const committer = new Committer(store, hub)
  const clock = manualClock(startMs)
  const telemetry = keptLog()
  const models = scriptedModels(options.script ?? [END], options.models)
  const killed: ToolIntent[] = []
  const parts: AgentParts = {
    state: (session) => store.state(session),
    reads: store,
    models,
    tools: options.tools ?? [],
    policy: options.policy ?? APPROVE_ALL,
    clock,
    random,
    telemetry,
    folders: async () => ({ workspace: '/nowhere', outputFolder: '/nowhere' }),
  }
  const own = (options.own ?? []).map((definition) => ownAgent(definition, parts))
  const agents = [builtinAgent(parts), ...own, ...(options.agents ?? [])]
  const host = runHost({ store, hub, committer, clock, telemetry, agents, killGroup: (intent) => void killed.push(intent) })
  const session = runSession(host, TEST_SESSION, random)
  return Object.defineProperties(
    {
      ...host,
      ...session,
      store,
      beneath: opened.store,
      models,
      logged: telemetry.lines,
      killed,
      published,
      async restart(changed: Partial<RigOptions> = {}, laterMs = 10_000) {
        store.kill()
        const { fateOf: _old, ...same } = options
        const next = await boot({ ...same, ...changed }, await opened.reopen(), clock.nowMs() + laterMs, random)
        // A life may end while it begins.
        await Promise.race([next.supervisor.start(), next.store.cut])
        return next
      },
      async join(changed: Partial<RigOptions> = {}) {
        const next = await boot({ ...options, ...changed }, await opened.join(), clock.nowMs(), random)
        await next.supervisor.start()
        return next
      },
    },
    { run: { get: () => session.run } },
  )
}

async function openEngine({ engine = 'memory', shared = false }: RigOptions): Promise<Opened> {
  if (engine === 'memory') {
    const reopened = (store: ReturnType<typeof memoryStore>): Opened => ({
      store,
      async reopen() {
        await store.close()
        return reopened(store.reopen())
      },
      join: async () => reopened(store.reopen()),
    })
    return reopened(memoryStore(systemRandom, { shared }))
  }
  const folder = mkdtempSync(join(tmpdir(), 'convoke-runs-'))
  const stores: Store[] = []
  onTestFinished(async () => {
    for (const store of stores) await store.close()
    rmSync(folder, { recursive: true, force: true })
  })
  const open = async (): Promise<Opened> => {
    const store = await openSqliteStore({ folder, random: systemRandom, worker: false, shared })
    stores.push(store)
    return {
      store,
      async reopen() {
        await store.close()
        return open()
      },
      join: open,
    }
  }
  return open()
}

/** What a model says that has nothing more to ask for. */
export const END: readonly Line[] = [...text('end'), stop()]
/** What never comes. */
export const NEVER = new Promise(() => undefined)
/** A policy that asks for every call. */
export const ASK_ALL = { mode: 'none', rules: {}, default: 'ask' } as const

/** A model that asks for the tool `act`, once for each id. */
export function asks(...ids: readonly string[]): readonly Line[] {
  return [...ids.map((id) => toolCall(id, 'act')), askTools()]
}

/** Something that waits until it is let go. */
export function gate() {
  let open: () => void = () => undefined
  const passed = new Promise<void>((resolve) => (open = resolve))
  return { passed, open: () => open() }
}
