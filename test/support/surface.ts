/** The HTTP surface over a memory store and a clock in hand, without agents: what happens in a run is written by the test. */
import type { StreamEvent } from '../../src/domain/event.ts'
import { createAccess, type AccessOptions } from '../../src/access/keys.ts'
import { Committer } from '../../src/command/committer.ts'
import { createPurger } from '../../src/command/purge.ts'
import { createCommandService } from '../../src/command/service.ts'
import { openV1Socket } from '../../src/dialect/v1/socket.ts'
import { v1Routes } from '../../src/dialect/v1/routes.ts'
import { OPENINGS_PER_TURN, type V1Context } from '../../src/dialect/v1/context.ts'
import { messageId, runId, sessionId, userId, type RunId, type SessionId } from '../../src/domain/ids.ts'
import { USER_SCOPES } from '../../src/domain/principal.ts'
import { createHttpApp, type HttpOptions, type RequestReport } from '../../src/http/app.ts'
import { listen } from '../../src/http/listener.ts'
import type { Route } from '../../src/http/route.ts'
import { createUpgrader } from '../../src/http/upgrade.ts'
import type { RecordWrite } from '../../src/log/store.ts'
import { createModelRegistry } from '../../src/model/registry.ts'
import { memoryStore } from '../../src/storage/memory/store.ts'
import { Gate } from '../../src/stream/gate.ts'
import { Hub } from '../../src/stream/hub.ts'
import { systemRandom } from '../../src/system/random.ts'
import { manualClock, type ManualClock } from '../../src/testing/manual-clock.ts'

/** What differs from a loopback listener without keys. */
export interface SurfaceOptions {
  readonly keys?: AccessOptions['keys']
  readonly loopback?: boolean
  readonly cors?: HttpOptions['cors']
  readonly streamsMax?: number
  readonly bodyBytesMax?: number
  readonly middleware?: HttpOptions['middleware']
  /** Routes besides those of `/v1`. */
  readonly routes?: readonly Route[]
}

/** A run that a test drives. */
export interface DrivenRun {
  readonly session: SessionId
  readonly id: RunId
  readonly fence: number
}

/** A surface under test. */
export interface Surface {
  readonly url: string
  readonly clock: ManualClock
  readonly context: V1Context
  readonly hub: Hub
  /** Requests whose answer has ended. */
  readonly reports: readonly RequestReport[]
  /** What `onError` was told. */
  readonly errors: readonly unknown[]
  /** Opens a session of `user` in the log. */
  session(user?: string): Promise<SessionId>
  /** Starts a run in `session`; the log has three events after it where the session was new. */
  run(session: SessionId, user?: string): Promise<DrivenRun>
  /** Writes events of a run, in one commit. */
  record(run: DrivenRun, events: readonly StreamEvent[]): Promise<void>
  close(): Promise<void>
}

/** Opens a surface on a free port. */
export async function openSurface(options: SurfaceOptions = {}): Promise<Surface> {
  const store = memoryStore(systemRandom)
  const hub = new Hub()
  const committer = new Committer(store, hub)
  const clock = manualClock()
  const telemetry = { log: () => undefined }
  const models = createModelRegistry({ providers: {}, aliases: {}, catalog: {}, apiKeys: {}, clock, telemetry, discover: false })
  const commands = createCommandService(committer, clock)
  const files = { count: async () => ({ workspace: 0, outputs: 0 }), remove: async () => undefined }
  const context: V1Context = {
    commands,
    purger: createPurger({ store, committer, commands, files, clock }),
    store,
    reads: store,
    hub,
    models,
    clock,
    random: systemRandom,
    telemetry,
    version: '0.0.0',
    startedAtMs: clock.nowMs(),
    autoApproveMode: 'custom',
    agents: ['convoke'],
    resolveCwd: async (cwd) => cwd,
    streams: new Set(),
    streamsMax: options.streamsMax ?? 1000,
    openings: new Gate(OPENINGS_PER_TURN),
    onSessionCreated: () => undefined,
  }
  const keys = options.keys ?? []
  const access = createAccess({ keys, open: keys.length === 0, nowMs: () => clock.nowMs() })
  const guard = { loopback: options.loopback ?? true, origins: options.cors?.origins ?? [] }
  const bodyBytesMax = options.bodyBytesMax ?? 64 * 1024
  const reports: RequestReport[] = []
  const errors: unknown[] = []
  const app = createHttpApp({
    routes: [...v1Routes(context), ...(options.routes ?? [])],
    access,
    guard,
    cors: options.cors,
    clock,
    random: systemRandom,
    telemetry,
    bodyBytesMax,
    requestMs: 30_000,
    middleware: options.middleware ?? (() => []),
    onRequest: (report) => reports.push(report),
    onError: (error) => errors.push(error),
  })
  const listener = await listen({
    host: '127.0.0.1',
    port: 0,
    fetch: (request, env) => app.fetch(request, env),
    requestMs: 30_000,
    onUpgrade: createUpgrader({ access, guard, clock, random: systemRandom, bodyBytesMax, open: (...asked) => openV1Socket(context, ...asked) }),
  })
  const asker = (user: string) => ({ user: userId(user), scopes: USER_SCOPES })
  return {
    url: `http://127.0.0.1:${listener.address.port}`,
    clock,
    context,
    hub,
    reports,
    errors,
    async session(user = 'local') {
      const command = { type: 'CreateSession', title: 'a session', agent: 'convoke' } as const
      return (await context.commands.execute(sessionId(systemRandom.uuid()), command, asker(user))).stream
    },
    async run(session, user = 'local') {
      const id = runId(systemRandom.uuid())
      const said = { messageId: messageId(systemRandom.uuid()), message: { role: 'user', content: 'go on' }, options: {} } as const
      const command = { type: 'SendMessage', newRunId: id, driver: store.driver, whenBusy: 'reject', ...said } as const
      await context.commands.execute(session, command, asker(user))
      return { session, id, fence: (await store.state(session))?.fence ?? 0 }
    },
    async record({ session, id, fence }, events) {
      const write = { kind: 'record', stream: session, runId: id, fence, events: events as RecordWrite['events'], atMs: clock.nowMs() } as const
      const [outcome] = await committer.commit([write])
      if (outcome?.kind !== 'appended') throw new Error(`the events were not written: ${JSON.stringify(outcome)}`)
    },
    async close() {
      for (const stream of context.streams) stream.end()
      await listener.close(0)
      models.close()
      await store.close()
    },
  }
}

/** `count` deltas of `text`, numbered from `from`. */
export function deltas(run: DrivenRun, count: number, text = '', from = 1): readonly StreamEvent[] {
  return Array.from({ length: count }, (_, index) => ({ type: 'TextDelta', runId: run.id, delta: `${from + index}${text}` }))
}

/** The end of a run. */
export function ending(run: DrivenRun): StreamEvent {
  const totalUsage = { inputTokens: 1, outputTokens: 1, totalTokens: 2 }
  return { type: 'RunCompleted', runId: run.id, totalTurns: 1, totalUsage, stopReason: 'completed' }
}
