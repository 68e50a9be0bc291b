/** One running server: all parts, put together, and taken apart in order. */
import type { AgentParts } from './agent/parts.ts'
import type { StaticKey, TokenHandler } from './access/keys.ts'
import type { Config } from './config.ts'
import type { ModelRegistry } from './domain/model.ts'
import type { Telemetry } from './domain/ports.ts'
import type { ToolIntent } from './domain/tool.ts'
import type { Agent } from './runtime/agent.ts'
import { OPENINGS_PER_TURN, type V1Context } from './dialect/v1/context.ts'
import type { Store } from './log/store.ts'
import type { Upkeep } from './log/upkeep.ts'
import type { SessionReads } from './projection/reads.ts'
import { createAccess } from './access/keys.ts'
import { builtinAgent } from './agent/builtin.ts'
import { Committer } from './command/committer.ts'
import { createPurger, type Purger } from './command/purge.ts'
import { retain, type RetentionParts } from './command/retention.ts'
import { createCommandService, type CommandService } from './command/service.ts'
import { openListeners, type ServingOptions } from './listeners.ts'
import { createModelRegistry } from './model/registry.ts'
import { startChores, type Chore } from './runtime/chores.ts'
import { Supervisor } from './runtime/supervisor.ts'
import { IDEMPOTENCY_KEEP_MS } from './log/store.ts'
import { ownAgents, withOwnTools } from './modules.ts'
import { openSqliteStore } from './storage/sqlite/store.ts'
import { Gate } from './stream/gate.ts'
import { Hub } from './stream/hub.ts'
import { systemClock } from './system/clock.ts'
import { SessionFolders } from './system/folders.ts'
import { systemRandom } from './system/random.ts'
import { jsonLog } from './telemetry/log.ts'
import { endGroup } from './tool/guardian/group.ts'
import { builtinTools, toolEnvironment } from './tool/registry.ts'
import { VERSION } from './version.ts'

const HOUR_MS = 3_600_000
/** How long open requests may take to end when the server stops, in ms, after the runs were let go. */
const DRAIN_MS = 2000

/** What an assembly is made from. */
export interface AssemblyOptions extends ServingOptions {
  readonly lockWaitMs: number
  readonly tokens: readonly string[]
  readonly handler?: TokenHandler
  /** Told when the log cannot be written any more. */
  readonly onLost: (error: Error) => void
  /** Requests without a key act as `local`. */
  readonly open: boolean
}

/** A running server. */
export interface Assembly {
  readonly url: string
  /** Tells streams, brings runs to a step's end, closes. Repeatable. */
  stop(): Promise<void>
}

/** Starts everything. What was opened is closed again when a later part fails. */
export async function assemble(options: AssemblyOptions): Promise<Assembly> {
  const { config } = options
  const store = await openSqliteStore({
    folder: config.data,
    random: systemRandom,
    lockWaitMs: options.lockWaitMs,
    sleep: (ms) => systemClock.sleepUntil(systemClock.nowMs() + ms),
    onLost: options.onLost,
  })
  try {
    return await assembleOver(store, options)
  } catch (error) {
    await store.close()
    throw error
  }
}

type Log = Store & SessionReads & Upkeep

async function assembleOver(store: Log, options: AssemblyOptions): Promise<Assembly> {
  const { config } = options
  const parts = await build(store, options)
  const { telemetry, supervisor, purger, context } = parts
  const access = createAccess({
    keys: keysOf(options),
    open: options.open,
    nowMs: () => systemClock.nowMs(),
    ...(options.handler === undefined ? {} : { handler: options.handler }),
  })
  const listeners = await openListeners(context, access, options)
  // Nobody waits for a thousand runs to be taken over: the server answers meanwhile.
  void supervisor.start()
  const stopChores = startChores(choresOf({ store, purger, clock: systemClock, telemetry }, config), { clock: systemClock, telemetry })
  // What a crash left unfinished. What cannot be done now is tried again with the next purge.
  purger.tidy().catch((error: unknown) => telemetry.log('warn', 'what erased sessions left could not be removed', { error: String(error) }))
  let stopping: Promise<void> | undefined
  return { url: listeners[0]?.url ?? '', stop: () => (stopping ??= takeApart(store, parts, listeners, stopChores, config.shutdownMs)) }
}

/** The parts of a server that is not started. */
interface Parts {
  readonly telemetry: Telemetry
  readonly models: ModelRegistry
  readonly supervisor: Supervisor
  readonly commands: CommandService
  readonly purger: Purger
  readonly context: V1Context
}

async function build(store: Log, options: AssemblyOptions): Promise<Parts> {
  const { config } = options
  const clock = systemClock
  const telemetry = jsonLog(
    config.log,
    (line) => process.stderr.write(line),
    () => clock.nowMs(),
  )
  const hub = new Hub()
  const committer = new Committer(store, hub)
  const models = modelsOf(config, telemetry)
  const folders = new SessionFolders({ dataFolder: config.data, roots: config.workspace.roots, restricted: !options.open })
  const agents = await agentsOf(config, {
    state: (session) => store.state(session),
    reads: store,
    models,
    tools: await withOwnTools(builtinTools({ clock, env: toolEnvironment(config.environment) }), config),
    policy: config.approvals,
    clock,
    random: systemRandom,
    telemetry,
    folders: async (session) => folders.ensure(session, (await store.session(session))?.cwd),
  })
  const killGroup = (intent: ToolIntent) => endGroup(intent, clock)
  const supervisor = new Supervisor({ store, hub, committer, clock, telemetry, agent: (name) => agents.get(name), killGroup })
  const commands = createCommandService(committer, clock)
  const purger = createPurger({ store, committer, commands, files: folders, clock })
  const context: V1Context = {
    commands,
    purger,
    store,
    reads: store,
    hub,
    models,
    clock,
    random: systemRandom,
    telemetry,
    version: VERSION,
    startedAtMs: clock.nowMs(),
    autoApproveMode: config.approvals.mode,
    agents: [...agents.keys()],
    resolveCwd: (cwd) => folders.resolveCwd(cwd),
    streams: new Set(),
    streamsMax: config.limits.streams,
    openings: new Gate(OPENINGS_PER_TURN),
    onSessionCreated: (id) => options.emit('session_created', { id }),
  }
  return { telemetry, models, supervisor, commands, purger, context }
}

async function agentsOf(config: Config, parts: AgentParts): Promise<ReadonlyMap<string, Agent>> {
  return new Map([builtinAgent(parts), ...(await ownAgents(config, parts))].map((agent) => [agent.name, agent]))
}

type Listeners = Awaited<ReturnType<typeof openListeners>>

/** Tells streams, lets runs come to a step's end, and closes what was opened, the log last (P14). */
async function takeApart(store: Log, parts: Parts, listeners: Listeners, stopChores: () => Promise<void>, graceMs: number): Promise<void> {
  const { models, commands, supervisor, purger, context } = parts
  models.close()
  commands.close()
  const closed = Promise.all(listeners.map((listener) => listener.close(graceMs + DRAIN_MS)))
  for (const stream of context.streams) stream.end()
  try {
    await supervisor.stop(graceMs)
    for (const stream of context.streams) stream.end()
    await Promise.race([closed, elapsed(DRAIN_MS)])
    // A peer that neither reads nor answers must not hold the process.
    for (const listener of listeners) listener.cut()
  } finally {
    await stopChores()
    await purger.close()
    await store.close()
  }
}

/** Resolves after `ms`, without keeping the process alive until then. */
function elapsed(ms: number): Promise<void> {
  return new Promise((resolve) => systemClock.after(ms, resolve))
}

/** The models that a configuration describes. */
export function modelsOf(config: Config, telemetry: Telemetry, discover = config.models.discover): ModelRegistry {
  const { providers, apiKeys, models, limits } = config
  const { default: defaultModel, aliases, catalog, demoPaceMs } = models
  return createModelRegistry({
    providers,
    defaultModel,
    aliases,
    catalog,
    apiKeys,
    clock: systemClock,
    telemetry,
    demoPaceMs,
    discover,
    idleMs: limits.modelIdleMs,
  })
}

function keysOf(options: AssemblyOptions): readonly StaticKey[] {
  const configured = options.config.access.keys.map(({ user, key, scopes, expires }) => ({
    user,
    key,
    ...(scopes === undefined ? {} : { scopes }),
    ...(expires === undefined ? {} : { expiresMs: Date.parse(expires) }),
  }))
  return [...configured, ...options.tokens.filter((token) => token !== '').map((key) => ({ user: 'local', key }))]
}

/** How often something is looked for that is to be done beside the requests, in ms. */
const CHORE_EVERY_MS = 600_000
/** How soon after some of it was done, in ms: each time commits go before. */
const CHORE_AGAIN_MS = 1_000
/** Steps of packing between two pauses. */
const PACK_STEPS = 16

function choresOf(parts: RetentionParts & { readonly store: Store & Upkeep }, { retention }: Config): readonly Chore[] {
  const { store } = parts
  const often = { everyMs: CHORE_EVERY_MS, againMs: CHORE_AGAIN_MS }
  return [
    { name: 'forgetting old keys', ...often, work: async () => (await store.pruneIdempotency(systemClock.nowMs() - IDEMPOTENCY_KEEP_MS)) > 0 },
    { name: 'giving room back', ...often, work: () => store.release() },
    { name: 'retention', ...often, work: () => retain(parts, retention) },
    {
      name: 'packing',
      ...often,
      async work() {
        const before = systemClock.nowMs() - retention.deltaHours * HOUR_MS
        for (let steps = 0; steps < PACK_STEPS; steps++) if (!(await store.pack(before))) return false
        return true
      },
    },
  ]
}
