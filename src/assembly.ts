/** One running server: all parts, put together, and taken apart in order. */
import type { MiddlewareHandler } from 'hono'
import type { StaticKey, TokenHandler } from './access/keys.ts'
import type { Config } from './config.ts'
import type { ModelRegistry } from './domain/model.ts'
import type { Telemetry } from './domain/ports.ts'
import type { ServerEvents } from './server-events.ts'
import type { V1Context } from './dialect/v1/context.ts'
import type { Listener } from './http/listener.ts'
import type { Store } from './log/store.ts'
import type { SessionReads } from './projection/reads.ts'
import { createAccess, type Access } from './access/keys.ts'
import { builtinAgent, BUILTIN_AGENT } from './agent/builtin.ts'
import { Committer } from './command/committer.ts'
import { createCommandService } from './command/service.ts'
import { isLoopback } from './config.ts'
import { openV1Socket } from './dialect/v1/socket.ts'
import { v1Routes } from './dialect/v1/routes.ts'
import { createHttpApp } from './http/app.ts'
import { listen } from './http/listener.ts'
import { createUpgrader } from './http/upgrade.ts'
import { createModelRegistry } from './model/registry.ts'
import { Supervisor } from './runtime/supervisor.ts'
import { IDEMPOTENCY_KEEP_MS } from './log/store.ts'
import { openSqliteStore } from './storage/sqlite/store.ts'
import { Hub } from './stream/hub.ts'
import { systemClock } from './system/clock.ts'
import { SessionFolders } from './system/folders.ts'
import { systemRandom } from './system/random.ts'
import { jsonLog } from './telemetry/log.ts'
import { killGroup } from './tool/guardian/guarded.ts'
import { builtinTools, toolEnvironment } from './tool/registry.ts'
import { VERSION } from './version.ts'

/** How long open requests may take to end when the server stops, in ms, after the runs were let go. */
const DRAIN_MS = 2000

/** What an assembly is made from. */
export interface AssemblyOptions {
  readonly config: Config
  readonly lockWaitMs: number
  readonly tokens: readonly string[]
  readonly handler?: TokenHandler
  /** Requests without a key act as `local`. */
  readonly open: boolean
  readonly middleware: () => readonly MiddlewareHandler[]
  readonly emit: <Name extends keyof ServerEvents>(name: Name, payload: Parameters<ServerEvents[Name]>[0]) => void
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
  })
  try {
    return await assembleOver(store, options)
  } catch (error) {
    await store.close()
    throw error
  }
}

async function assembleOver(store: Store & SessionReads, options: AssemblyOptions): Promise<Assembly> {
  const { config, emit } = options
  const telemetry = jsonLog(
    config.log,
    (line) => process.stderr.write(line),
    () => systemClock.nowMs(),
  )
  const hub = new Hub()
  const committer = new Committer(store, hub)
  const models = modelsOf(config, telemetry)
  const folders = new SessionFolders({ dataFolder: config.data, roots: config.workspace.roots, restricted: !options.open })
  const agent = builtinAgent({
    state: (session) => store.state(session),
    reads: store,
    models,
    tools: builtinTools({ clock: systemClock, env: toolEnvironment(config.environment) }),
    policy: config.approvals,
    clock: systemClock,
    random: systemRandom,
    telemetry,
    folders: async (session) => folders.ensure(session, (await store.session(session))?.cwd),
    killGroup,
  })
  const supervisor = new Supervisor({ store, hub, committer, clock: systemClock, telemetry, agent: (name) => (name === BUILTIN_AGENT ? agent : undefined) })
  const context: V1Context = {
    commands: createCommandService(committer, systemClock),
    store,
    reads: store,
    hub,
    models,
    clock: systemClock,
    random: systemRandom,
    telemetry,
    version: VERSION,
    startedAtMs: systemClock.nowMs(),
    autoApproveMode: config.approvals.mode,
    agents: [BUILTIN_AGENT],
    resolveCwd: (cwd) => folders.resolveCwd(cwd),
    streams: new Set(),
    streamsMax: config.limits.streams,
    onSessionCreated: (id) => emit('session_created', { id }),
  }
  const access = createAccess({
    keys: keysOf(options),
    open: options.open,
    nowMs: () => systemClock.nowMs(),
    ...(options.handler === undefined ? {} : { handler: options.handler }),
  })
  const listener = await openListener(context, access, options)
  await supervisor.start()
  const prune = schedulePrune(store)
  let stopping: Promise<void> | undefined
  const stop = async () => {
    prune()
    models.close()
    const closed = listener.close(config.shutdownMs + DRAIN_MS)
    for (const stream of context.streams) stream.end()
    await supervisor.stop(config.shutdownMs)
    for (const stream of context.streams) stream.end()
    await Promise.race([closed, systemClock.sleepUntil(systemClock.nowMs() + DRAIN_MS)])
    await store.close()
  }
  return { url: urlOf(config.host, listener), stop: () => (stopping ??= stop()) }
}

/** The models that a configuration describes. */
export function modelsOf(config: Config, telemetry: Telemetry, discover = config.models.discover): ModelRegistry {
  const { providers, apiKeys, models } = config
  const { default: defaultModel, aliases, catalog, demoPaceMs } = models
  return createModelRegistry({ providers, defaultModel, aliases, catalog, apiKeys, clock: systemClock, telemetry, demoPaceMs, discover })
}

function openListener(context: V1Context, access: Access, options: AssemblyOptions): Promise<Listener> {
  const { config, emit } = options
  const guard = { loopback: isLoopback(config.host), origins: config.cors?.origins ?? [] }
  const app = createHttpApp({
    routes: v1Routes(context),
    access,
    guard,
    cors: config.cors,
    clock: systemClock,
    random: systemRandom,
    telemetry: context.telemetry,
    bodyBytesMax: config.limits.bodyBytes,
    requestMs: config.limits.requestMs,
    middleware: options.middleware,
    onRequest: (report) => emit('request', report),
    onError: (error, requestId) => {
      context.telemetry.log('error', 'a request failed', { requestId, error: error instanceof Error ? (error.stack ?? error.message) : String(error) })
      emit('error', error)
    },
  })
  const upgrader = createUpgrader({
    access,
    guard,
    random: systemRandom,
    clock: systemClock,
    bodyBytesMax: config.limits.bodyBytes,
    open: (request, path, principal) => openV1Socket(context, request, path, principal),
  })
  return listen({
    host: config.host,
    port: config.port,
    fetch: (request, env) => app.fetch(request, env),
    requestMs: config.limits.requestMs,
    onUpgrade: upgrader,
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

function urlOf(host: string, listener: Listener): string {
  return `http://${host.includes(':') ? `[${host.replaceAll(/[[\]]/g, '')}]` : host}:${listener.address.port}`
}

/** How often old idempotency records are removed, in ms. */
const PRUNE_EVERY_MS = 600_000

function schedulePrune(store: Store): () => void {
  let takeBack = () => undefined as void
  const again = () => {
    takeBack = systemClock.after(PRUNE_EVERY_MS, () => {
      // A failed prune is tried again; old records only cost space.
      store
        .pruneIdempotency(systemClock.nowMs() - IDEMPOTENCY_KEEP_MS)
        .catch(() => 0)
        .finally(again)
    })
  }
  again()
  return () => takeBack()
}
