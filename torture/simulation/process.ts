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
import type { Shape } from './shape.ts'
import { builtinAgent } from '../../src/agent/builtin.ts'
import { ownAgent } from '../../src/agent/own.ts'
import { Committer } from '../../src/command/committer.ts'
import { createCommandService, type CommandService } from '../../src/command/service.ts'
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
const KEEP_ALIVE = new TextEncoder().encode(':')

/** A process. */
export class SimulatedProcess {
  readonly scope: Scope
  readonly hub: Hub
  readonly store: Engine
  readonly commands: CommandService
  readonly supervisor: Supervisor
  readonly #parts: ProcessParts
  readonly #tails = new Set<{ close(): void; readonly sink: ByteSink }>()

  /** Opens the disk and begins. What was open before has lost it. */
  static async start(name: string, parts: ProcessParts): Promise<SimulatedProcess> {
    const scope = parts.scheduler.scope(name)
    const started = new SimulatedProcess(scope, await parts.disk.open(scope), parts)
    started.scope.at(0, 'starts', () => void started.supervisor.start())
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
  }

  /** Begins to hand a session's events on to `sink`. */
  tail(stream: SessionId, after: number, sink: ByteSink): void {
    const large = this.#parts.shape().largeFrames
    const codec = { name: 'sim', encode: (batch: EventBatch) => encodeTail(batch, large) }
    this.#add(sink, (common) => new Tail({ ...common, hub: this.hub, stream, after, codec }))
  }

  /** Begins to hand all events of `owner` on to `sink`. */
  feedTail(owner: UserId, after: FeedCursor, sink: ByteSink): void {
    const large = this.#parts.shape().largeFrames
    this.#add(sink, (common) => new FeedTail({ ...common, hub: this.hub, owner, after, encode: (batch, skip) => encodeFeed(batch, skip, large) }))
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
