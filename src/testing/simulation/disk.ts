/**
 * A disk that several processes may reach, under a seeded scheduler: commits and reads take time, fail where they are told to, and go on
 * without the process that asked for them.
 *
 * K1. What a process asks of the disk is answered in that process: a dead one hears nothing, whatever was written for it.
 * K2. A stale process writes to the same log as the one that took over: only its fence stands between them.
 * K3. A failed commit throws `store_unknown`; whether it took effect is chance.
 */
import type { Store, Write, WriteOutcome } from '../../log/store.ts'
import type { Upkeep } from '../../log/upkeep.ts'
import type { SessionReads } from '../../projection/reads.ts'
import type { Fate } from '../failing-store.ts'
import type { Scope } from './scheduler.ts'
import type { SeededRandom } from './seeded.ts'
import { ConvokeError } from '../../domain/errors.ts'

/** Any engine. */
export type Engine = Store & SessionReads & Upkeep
type Commit = Store['commit']

/** What the disk does. It may be changed while the simulation runs. */
export interface DiskManner {
  /** Longest time of a commit, in ms: before it is written, and again before it is answered. */
  commitMs: number
  /** Longest time of a read, in ms; 0 answers at once. */
  readMs: number
  /** Probability that a commit fails. */
  failing: number
  /** Probability that a read fails. */
  unreadable: number
  /** Probability that something takes `STALL_MS` instead. */
  stalling: number
}

/** Longest time that a stalled disk takes, in ms. */
export const STALL_MS = 1_500

/** Reads that are answered at once within one step of the scheduler. */
const READS_AT_ONCE_MAX = 1_000

/** What was committed, as it is told to whoever checks. */
export interface Committed {
  readonly by: Scope
  readonly writes: readonly Write[]
  readonly outcomes: readonly WriteOutcome[]
}

/** What a disk is made of. */
export interface DiskOptions {
  readonly random: SeededRandom
  readonly manner: DiskManner
  /** Opens the engine, or opens it again: what was open before is closed, unless the engine is shared. */
  readonly open: () => Promise<Engine>
  /** Several processes have the log open at the same time, each by an opening of its own. */
  readonly shared?: boolean
  /** Told of each commit in the moment in which it is durable. */
  readonly committed: (commit: Committed) => void
  /** Told of everything that goes wrong. */
  readonly failed: (by: Scope, what: string) => void
  /** Says what becomes of a commit, where chance shall not. A cut is the death of the process that asked. */
  readonly fateOf?: (writes: readonly Write[]) => Fate
  /** Stands between a process and the disk, as a group of commits does. */
  readonly gather?: (commit: Commit) => Commit
}

/** The disk. */
export class SimulatedDisk {
  readonly #options: DiskOptions
  #engine: Engine | undefined
  #step = 0
  #reads = 0

  constructor(options: DiskOptions) {
    this.#options = options
  }

  /** The engine beneath, which neither waits nor fails. */
  get engine(): Engine {
    if (this.#engine === undefined) throw new Error('the disk is not open')
    return this.#engine
  }

  /** The log for a new process: the driver number grows. */
  async open(scope: Scope): Promise<Engine> {
    const opened = await this.#options.open()
    this.#engine = opened
    const { logId, driver, drivers } = opened
    const mine = () => (this.#options.shared === true ? opened : this.engine)
    const write: Commit = (writes) => this.#commit(scope, mine(), writes)
    const later =
      <Args extends readonly unknown[], T>(what: string, ask: (engine: Engine, ...args: Args) => Promise<T>) =>
      (...args: Args) =>
        this.#read(scope, what, () => ask(mine(), ...args))
    const tend =
      <Args extends readonly unknown[], T>(what: string, work: (engine: Engine, ...args: Args) => Promise<T>) =>
      (...args: Args) =>
        this.#tend(scope, what, () => work(mine(), ...args))
    return {
      logId,
      driver,
      ...(drivers === undefined
        ? {}
        : {
            drivers: {
              renew: (untilMs) => this.#read(scope, 'renew', () => drivers.renew(untilMs)),
              gone: (others, nowMs) => this.#read(scope, 'gone', () => drivers.gone(others, nowMs)),
            },
          }),
      commit: this.#options.gather?.(write) ?? write,
      read: later('read', (engine, stream, after, limit) => engine.read(stream, after, limit)),
      head: later('head', (engine, stream) => engine.head(stream)),
      state: later('state', (engine, stream) => engine.state(stream)),
      readFeed: later('feed', (engine, owner, after, limit) => engine.readFeed(owner, after, limit)),
      feedHead: later('feed head', (engine) => engine.feedHead()),
      unfinishedRuns: later('unfinished runs', (engine, limit, after) => engine.unfinishedRuns(limit, after)),
      pruneIdempotency: later('prune', (engine, beforeMs) => engine.pruneIdempotency(beforeMs)),
      session: later('session', (engine, id) => engine.session(id)),
      sessionAt: later('session', (engine, id) => engine.sessionAt(id)),
      sessions: later('sessions', (engine, query) => engine.sessions(query)),
      messages: later('messages', (engine, id, page) => engine.messages(id, page)),
      history: later('history', (engine, id, upTo, limit, after) => engine.history(id, upTo, limit, after)),
      sessionIds: later('session ids', (engine, owner, after, limit) => engine.sessionIds(owner, after, limit)),
      sweep: tend('sweep', (engine) => engine.sweep()),
      pack: tend('pack', (engine, beforeMs) => engine.pack(beforeMs)),
      release: tend('release', (engine) => engine.release()),
      forgetLeftover: tend('forget leftover', (engine, leftover) => engine.forgetLeftover(leftover)),
      leftovers: later('leftovers', (engine, limit) => engine.leftovers(limit)),
      idleSessions: later('idle sessions', (engine, sinceMs, limit) => engine.idleSessions(sinceMs, limit)),
      usedBytes: later('used bytes', (engine) => engine.usedBytes()),
      close: async () => undefined,
    }
  }

  /** A step of upkeep: it takes its time and fails as commits do. */
  async #tend<T>(scope: Scope, what: string, work: () => Promise<T>): Promise<T> {
    const { random, manner, failed } = this.#options
    await scope.delay(this.#takes(manner.commitMs), `${what} begins`)
    const fate = random.chance(manner.failing) ? random.pick(['fail-before', 'fail-after'] as const) : 'pass'
    const done = fate === 'fail-before' ? undefined : await work()
    await scope.delay(this.#takes(manner.commitMs), `${what} is done`)
    if (fate === 'pass') return done as T
    failed(scope, `${what} failed, ${fate === 'fail-before' ? 'nothing was done' : 'after it was done'}`)
    throw new ConvokeError('store_unknown', 'the simulated disk failed')
  }

  async #commit(scope: Scope, engine: Engine, writes: readonly Write[]): Promise<readonly WriteOutcome[]> {
    const { random, manner, committed, failed } = this.#options
    await scope.delay(this.#takes(manner.commitMs), 'commit is written')
    const chance = random.chance(manner.failing) ? random.pick(['fail-before', 'fail-after'] as const) : 'pass'
    const fate = this.#options.fateOf?.(writes) ?? chance
    if (fate === 'cut-before') return this.#die(scope)
    if (fate === 'fail-before') {
      failed(scope, 'a commit failed, nothing was written')
      throw new ConvokeError('store_unknown', 'the simulated disk failed')
    }
    const outcomes = await engine.commit(writes)
    committed({ by: scope, writes, outcomes })
    if (fate === 'cut-after') return this.#die(scope)
    await scope.delay(this.#takes(manner.commitMs), 'commit is answered')
    if (fate === 'pass') return outcomes
    failed(scope, 'a commit failed after it was written')
    throw new ConvokeError('store_unknown', 'the simulated disk failed after it wrote')
  }

  /** The process that asked is dead: it never hears an answer. */
  #die<T>(scope: Scope): Promise<T> {
    scope.kill()
    this.#options.failed(scope, 'dies in a commit')
    return new Promise<T>(() => undefined)
  }

  async #read<T>(scope: Scope, what: string, ask: () => Promise<T>): Promise<T> {
    const { random, manner, failed } = this.#options
    if (manner.unreadable > 0 && random.chance(manner.unreadable)) {
      await scope.delay(this.#takes(manner.readMs), `${what} fails`)
      failed(scope, `a read failed: ${what}`)
      // Engines throw what their database throws.
      throw random.chance(0.5) ? new ConvokeError('store_failed', 'the simulated disk cannot be read') : new Error('simulated input or output error')
    }
    if (manner.readMs === 0 && manner.stalling === 0) {
      // Whoever reads again and again without letting go would hold simulated time for ever.
      if (this.#readsInStep(scope) > READS_AT_ONCE_MAX) await scope.delay(1, 'a loop of reads')
      return ask()
    }
    // What is read is what stands there at some moment in between.
    await scope.delay(this.#takes(manner.readMs), what)
    const answer = await ask()
    await scope.delay(this.#takes(manner.readMs), `${what} is answered`)
    return answer
  }

  #readsInStep({ step }: Scope): number {
    if (step !== this.#step) this.#reads = 0
    this.#step = step
    return ++this.#reads
  }

  #takes(mostMs: number): number {
    const { random, manner } = this.#options
    return random.between(0, manner.stalling > 0 && random.chance(manner.stalling) ? STALL_MS : mostMs)
  }
}
