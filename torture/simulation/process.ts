/** One life of a server without its doors: every part is the real one; time, disk, models and tools are simulated. */
import type { SessionId, UserId } from '../../src/domain/ids.ts'
import type { Telemetry } from '../../src/domain/ports.ts'
import type { BatchListener } from '../../src/stream/hub.ts'
import type { EventBatch } from '../../src/stream/codec.ts'
import type { FeedCursor } from '../../src/stream/feed-tail.ts'
import type { ByteSink } from '../../src/stream/sink.ts'
import type { Engine, SimulatedDisk } from '../../src/testing/simulation/disk.ts'
import type { Scheduler, Scope } from '../../src/testing/simulation/scheduler.ts'
import type { SeededRandom } from '../../src/testing/simulation/seeded.ts'
import type { Outside } from './outside.ts'
import { isErasing, type Shape } from './shape.ts'
import { builtinAgent } from '../../src/agent/builtin.ts'
import { ownAgent } from '../../src/agent/own.ts'
import { Committer } from '../../src/command/committer.ts'
import { createPurger, type Purger } from '../../src/command/purge.ts'
import { retain } from '../../src/command/retention.ts'
import { createCommandService, type CommandService } from '../../src/command/service.ts'
import { startChores } from '../../src/runtime/chores.ts'
import { Supervisor } from '../../src/runtime/supervisor.ts'
import { FeedTail } from '../../src/stream/feed-tail.ts'
import { Hub } from '../../src/stream/hub.ts'
import { Tail } from '../../src/stream/tail.ts'
import { encodeFeed, encodeTail } from './frames.ts'
import { simulatedOwnAgent, type OwnWorld } from './own.ts'

/** What every process shares. */
export interface ProcessParts {
  readonly scheduler: Scheduler
  readonly disk: SimulatedDisk
  readonly outside: Outside
  readonly random: SeededRandom
  readonly shape: () => Shape
  /** Told when a step of an own agent really runs. */
  readonly stepRuns: OwnWorld['stepRuns']
  /** Told of what a reader of `stream` is given, who began to read at `sinceMs`. */
  readonly shown?: (stream: SessionId, sinceMs: number) => void
}

/** A hub that loses hints, as a process does that dies between a commit and its publication, or a network between two processes. */
class LossyHub extends Hub {
  readonly #loses: () => boolean

  constructor(loses: () => boolean) {
    super()
    this.#loses = loses
  }

  override subscribe(stream: SessionId, listener: BatchListener): () => void {
    return super.subscribe(stream, (batch) => this.#loses() || listener(batch))
  }

  override subscribeOwner(owner: UserId, listener: BatchListener): () => void {
    return super.subscribeOwner(owner, (batch) => this.#loses() || listener(batch))
  }
}

/** How long a silent process counts as alive, in ms: more than a poll, less than the real one, so that seeds are short. */
const DRIVER_TTL_MS = 2_500
const POLICY = { mode: 'custom', rules: {}, default: 'ask' } as const
const DAY_MS = 86_400_000
/** How often it is looked for idle sessions, in ms. */
const RETAIN_EVERY_MS = 400
/** How long ago a run that is packed has ended, in ms. */
const PACK_AGE_MS = 100
const KEEP_ALIVE = new TextEncoder().encode(':')

/** A process. */
export class SimulatedProcess {
  readonly scope: Scope
  readonly hub: Hub
  readonly store: Engine
  readonly commands: CommandService
  readonly supervisor: Supervisor
  readonly purger: Purger
  readonly #stopChores: () => Promise<void>
  readonly #parts: ProcessParts
  readonly #tails = new Set<{ close(): void; readonly sink: ByteSink }>()

  /** Opens the disk and begins. What was open before has lost it. */
  static async start(name: string, parts: ProcessParts): Promise<SimulatedProcess> {
    const scope = parts.scheduler.scope(name)
    const started = new SimulatedProcess(scope, await parts.disk.open(scope), parts)
    started.scope.at(0, 'starts', () => started.#begin())
    return started
  }

  private constructor(scope: Scope, store: Engine, parts: ProcessParts) {
    const { random, shape, outside, scheduler } = parts
    this.#parts = parts
    this.scope = scope
    this.store = store
    scope.lateMs = shape().lateMs
    this.hub = new LossyHub(() => random.chance(shape().lostHints))
    const committer = new Committer(store, this.hub)
    const telemetry: Telemetry = {
      log: (level, message, fields) => scheduler.traced && scheduler.say(scope.name, `${level}: ${message} ${JSON.stringify(fields ?? {}).slice(0, 400)}`),
    }
    const agentParts = {
      state: (session: SessionId) => store.state(session),
      reads: store,
      models: outside.models(scope),
      tools: outside.tools(scope, store.driver),
      policy: POLICY,
      clock: scope,
      random,
      telemetry,
      folders: async () => ({ workspace: '/nowhere', outputFolder: '/nowhere' }),
    }
    const builtin = builtinAgent(agentParts)
    const own = ownAgent(simulatedOwnAgent(scope, { random, stepRuns: parts.stepRuns }), agentParts)
    this.supervisor = new Supervisor({
      store,
      hub: this.hub,
      committer,
      clock: scope,
      telemetry,
      agent: (name) => [builtin, own].find((agent) => agent.name === name),
      killGroup: (intent) => outside.killGroup(intent),
      driverTtlMs: DRIVER_TTL_MS,
    })
    this.commands = createCommandService(committer, scope)
    this.purger = createPurger({ store, committer, commands: this.commands, files: outside.files(scope), clock: scope })
    this.#stopChores = this.#startChores(telemetry)
  }

  #begin(): void {
    void this.supervisor.start()
    if (!isErasing(this.#parts.shape())) return
    this.purger.tidy().catch((error: unknown) => this.#parts.scheduler.say(this.scope.name, `nothing could be tidied: ${String(error)}`))
  }

  /** As a server does beside its requests, only much more often. */
  #startChores(telemetry: Telemetry): () => Promise<void> {
    const { store, purger, scope: clock } = this
    const { shape } = this.#parts
    const { idleMs, packMs } = shape()
    const retention = {
      name: 'retention',
      everyMs: RETAIN_EVERY_MS,
      againMs: RETAIN_EVERY_MS,
      work: async () => shape().idleMs > 0 && retain({ store, purger, clock, telemetry }, { days: shape().idleMs / DAY_MS }),
    }
    const packing = { name: 'packing', everyMs: packMs * 4, againMs: packMs, work: () => store.pack(clock.nowMs() - PACK_AGE_MS) }
    return startChores([...(idleMs > 0 ? [retention] : []), ...(packMs > 0 ? [packing] : [])], { clock, telemetry })
  }

  /** Begins to hand a session's events on to `sink`. */
  tail(stream: SessionId, after: number, sink: ByteSink): void {
    const large = this.#parts.shape().largeFrames
    const codec = { name: 'sim', encode: (batch: EventBatch) => encodeTail(batch, large) }
    this.#add(this.#watched(stream, sink), (common) => new Tail({ ...common, hub: this.hub, stream, after, codec }))
  }

  /** Begins to hand all events of `owner` on to `sink`. */
  feedTail(owner: UserId, after: FeedCursor, sink: ByteSink): void {
    const large = this.#parts.shape().largeFrames
    const { shown = () => undefined } = this.#parts
    const sinceMs = this.scope.nowMs()
    const encode = (batch: EventBatch, skip: number) => {
      shown(batch.stream, sinceMs)
      return encodeFeed(batch, skip, large)
    }
    this.#add(sink, (common) => new FeedTail({ ...common, hub: this.hub, owner, after, encode }))
  }

  /** The sink of a reader, with somebody who looks at what goes in. */
  #watched(stream: SessionId, sink: ByteSink): ByteSink {
    const { shown } = this.#parts
    if (shown === undefined) return sink
    const sinceMs = this.scope.nowMs()
    return {
      write(bytes) {
        if (bytes !== KEEP_ALIVE) shown(stream, sinceMs)
        return sink.write(bytes)
      },
      buffered: () => sink.buffered(),
      end: () => sink.end(),
      destroy: () => sink.destroy(),
      onDrain: (listener) => sink.onDrain(listener),
      onClose: (listener) => sink.onClose(listener),
    }
  }

  #add(sink: ByteSink, make: (common: CommonOptions) => Tail | FeedTail): void {
    const onClose = () => void this.#tails.delete(entry)
    const onError = (error: unknown) => this.#parts.scheduler.say(this.scope.name, `a reader failed: ${String(error)}`)
    const tail = make({ store: this.store, clock: this.scope, sink, keepAlive: KEEP_ALIVE, onClose, onError })
    const entry = { close: () => tail.close(), sink }
    this.#tails.add(entry)
    tail.start()
  }

  /** Readers that are attached. */
  get readers(): number {
    return this.#tails.size
  }

  /** As a server stops: no new work, streams end, runs are brought to a step's end. */
  async stop(graceMs: number): Promise<void> {
    this.commands.close()
    this.endStreams()
    await this.supervisor.stop(graceMs)
    this.endStreams()
    await this.#stopChores()
    await this.purger.close()
  }

  /** Ends all streams. */
  endStreams(): void {
    for (const entry of this.#tails) {
      entry.close()
      entry.sink.end()
    }
  }
}

interface CommonOptions {
  readonly store: Engine
  readonly clock: Scope
  readonly sink: ByteSink
  readonly keepAlive: Uint8Array
  readonly onClose: () => void
  readonly onError: (error: unknown) => void
}
