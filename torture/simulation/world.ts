/**
 * One simulated world: people and readers around a server that dies, stops, pauses, and loses its disk for a moment; then calm, and a look
 * at what was promised.
 *
 * The same seed gives the same world, step for step.
 */
import type { SessionId } from '../../src/domain/ids.ts'
import type { Trace } from '../../src/testing/simulation/scheduler.ts'
import type { DiskManner } from '../../src/testing/simulation/disk.ts'
import type { Shape } from './shape.ts'
import type { Wished } from './client.ts'
import { userId } from '../../src/domain/ids.ts'
import { USER_SCOPES } from '../../src/domain/principal.ts'
import { Committer } from '../../src/command/committer.ts'
import { createPurger } from '../../src/command/purge.ts'
import { createCommandService } from '../../src/command/service.ts'
import { CommitGroup } from '../../src/storage/sqlite/group.ts'
import { Hub } from '../../src/stream/hub.ts'
import { SimulatedDisk, type Engine } from '../../src/testing/simulation/disk.ts'
import { Scheduler, type Scope } from '../../src/testing/simulation/scheduler.ts'
import { seededRandom } from '../../src/testing/simulation/seeded.ts'
import { Cancels } from './cancels.ts'
import { SimulatedClient } from './client.ts'
import { endsOf } from './effects.ts'
import { engineData } from './engines.ts'
import { Fleet } from './fleet.ts'
import { startInspector } from './inspector.ts'
import { Judge } from './judge.ts'
import { Outside } from './outside.ts'
import { People } from './people.ts'
import { SimulatedReader, type ReaderWorld } from './reader.ts'
import { calmed, isErasing, shapeOf } from './shape.ts'

/** Steps after which a world is taken for one that never comes to rest. */
const STEPS_MAX = 400_000
/** Simulated time in which everything must have come to an end once the faults are over, in ms. */
const QUIET_MS = 900_000
/** Simulated time in which every reader must have seen everything: two keep-alives and some. */
const READERS_MS = 40_000
/** Readers of one world, where forks get readers too. */
const READERS_MAX = 6
/** How long what a call began may go on behind its result, where no process dies and the disk works, in ms besides what it takes. */
const LEFT_MS = 50
/** How long nothing must begin any more, in ms. */
const STILL_MS = 500
/** What a supervisor listens to while it lives. */
const SUPERVISOR_LISTENERS = 1

/** What one seed came to. */
export interface SeedResult {
  readonly seed: number
  readonly shape: Shape
  readonly lost: readonly string[]
  readonly counts: Counts
}

/** What was tried. */
export interface Counts {
  runs: number
  /** Times that a run was taken over. */
  claims: number
  events: number
  commits: number
  commands: number
  deaths: number
  forks: number
  erasures: number
  failures: number
  frames: number
  steps: number
  ends: ReadonlyMap<string, number>
}

/** Runs the world of `seed`. @param trace Told of every step. */
export async function runSeed(seed: number, trace?: Trace): Promise<SeedResult> {
  const world = new World(seed, trace)
  const onRejection = (reason: unknown) =>
    world.broken(`P13: a promise was rejected and nobody listened: ${reason instanceof Error ? (reason.stack ?? '') : String(reason)}`)
  process.on('unhandledRejection', onRejection)
  try {
    return await world.run()
  } finally {
    process.off('unhandledRejection', onRejection)
    await world.destroy()
  }
}

const OWNER = userId('alice')
const STORM_MANNER = ({ commitMs, readMs, failing, unreadable, stalling }: Shape): DiskManner => ({ commitMs, readMs, failing, unreadable, stalling })

class World {
  readonly #seed: number
  readonly #shape: Shape
  readonly #scheduler: Scheduler
  readonly #network: Scope
  readonly #judge: Judge
  readonly #cancels: Cancels
  readonly #manner: DiskManner
  readonly #data: ReturnType<typeof engineData>
  readonly #disk: SimulatedDisk
  readonly #fleet: Fleet
  readonly #client: SimulatedClient
  readonly #people: People
  readonly #readers: SimulatedReader[] = []
  readonly #readerWorld: ReaderWorld
  readonly #sessions: SessionId[] = []
  readonly #outside: Outside
  #calm = false
  #leaving = false
  #failures = 0

  constructor(seed: number, trace: Trace | undefined) {
    const random = seededRandom(seed)
    this.#seed = seed
    this.#shape = shapeOf(random, seed)
    this.#scheduler = new Scheduler(random, trace)
    this.#scheduler.say('shape', JSON.stringify(this.#shape))
    this.#network = this.#scheduler.scope('network')
    const shape = () => (this.#calm ? calmed(this.#shape) : this.#shape)
    const broken = (sentence: string) => this.broken(sentence)
    const server = () => this.#fleet.server
    this.#cancels = new Cancels({ shape: this.#shape, nowMs: () => this.#scheduler.nowMs, broken })
    this.#judge = new Judge({ scheduler: this.#scheduler, owner: OWNER, sleepers: this.#shape.pauses > 0, written: (event) => this.#cancels.take(event) })
    this.#manner = STORM_MANNER(this.#shape)
    this.#data = engineData(this.#shape.engine, random, this.#shape.processes > 1)
    this.#disk = new SimulatedDisk({
      random,
      manner: this.#manner,
      open: () => this.#data.open(),
      shared: this.#shape.processes > 1,
      committed: (commit) => this.#judge.committed(commit),
      failed: (by, what) => this.#failed(by, what),
      ...(this.#shape.oneWriter ? { gather: (commit) => gathered(commit) } : {}),
    })
    this.#outside = new Outside({
      random,
      shape,
      world: this.#scheduler.scope('outside'),
      begins: (tool, call) => this.#judge.toolBegins(tool, call, this.#outside.ledger),
      acts: (call, driver) => this.#groupActs(call, driver),
    })
    const shown = isErasing(this.#shape) ? { shown: this.#judge.shown.bind(this.#judge) } : {}
    const parts = {
      scheduler: this.#scheduler,
      disk: this.#disk,
      outside: this.#outside,
      random,
      shape,
      stepRuns: this.#judge.stepRuns.bind(this.#judge),
      ...shown,
    }
    this.#fleet = new Fleet({
      parts,
      network: this.#network,
      disturbed: () => this.#cancels.disturb(),
      gone: (process) => this.#readers.forEach((reader) => reader.cutOff(process)),
    })
    const client = { scheduler: this.#scheduler, network: this.#network, random, principal: { user: OWNER, scopes: USER_SCOPES }, shape, server }
    this.#client = new SimulatedClient({ ...client, answered: (wished) => this.#answered(wished) })
    this.#people = new People({
      network: this.#network,
      random,
      client: this.#client,
      shape,
      sessions: () => this.#sessions,
      state: (session) => this.#disk.engine.state(session),
      log: (session) => this.#judge.truth.logOf(session),
    })
    const readers: ReaderWorld = { network: this.#network, random, truth: this.#judge.truth, owner: OWNER, shape, server, broken }
    this.#readerWorld = readers
    this.#addReaders(readers)
  }

  /** Somebody compares all the time, where logs are more than appended to. */
  #inspect(): () => void {
    const { forks, packMs } = this.#shape
    if (forks === 0 && packMs === 0 && !isErasing(this.#shape)) return () => undefined
    const broken = (sentence: string) => this.broken(sentence)
    const { truth } = this.#judge
    return startInspector({ network: this.#network, random: this.#scheduler.random, truth, owner: OWNER, engine: () => this.#disk.engine, broken })
  }

  /** Notes a broken promise. */
  broken(sentence: string): void {
    this.#judge.broken(sentence)
  }

  async destroy(): Promise<void> {
    await this.#data.destroy()
  }

  async run(): Promise<SeedResult> {
    await this.#fleet.begin(this.#shape)
    const endInspection = this.#inspect()
    await this.#storm()
    await this.#calmDown()
    endInspection()
    await this.#close()
    const engine = await this.#data.open()
    await this.#judge.look(engine, this.#client.wished, this.#outside.ledger)
    if (this.#judge.truth.erased.size > 0) {
      await this.#tidy(engine)
      await this.#judge.lookInside(engine, this.#data.held(), this.#outside.outputs)
    }
    const { deaths } = this.#fleet
    const counts: Counts = {
      runs: this.#judge.rules.runs.size,
      claims: [...this.#judge.rules.runs.values()].reduce((sum, fate) => sum + fate.claims, 0),
      events: this.#judge.truth.feed.length,
      commits: this.#judge.commits,
      commands: this.#client.wished.length,
      deaths,
      forks: [...this.#judge.truth.own()].filter(([, log]) => log[0]?.event.type === 'SessionForked').length,
      erasures: this.#judge.truth.erased.size,
      failures: this.#failures,
      frames: this.#readers.reduce((sum, reader) => sum + reader.frames, 0),
      steps: this.#scheduler.steps,
      ends: endsOf(this.#judge.truth),
    }
    return { seed: this.#seed, shape: this.#shape, lost: this.#judge.lost.map((sentence) => `seed ${this.#seed}: ${sentence}`), counts }
  }

  /** As a server does when it starts: what was left is removed, and changes nothing that is read. */
  async #tidy(store: Engine): Promise<void> {
    const clock = this.#network
    const committer = new Committer(store, new Hub())
    const commands = createCommandService(committer, clock)
    const purger = createPurger({ store, committer, commands, files: this.#outside.files(), clock })
    let done = false
    const failed = (error: unknown) => this.broken(`P1 of purge: what was left cannot be removed: ${String(error)}`)
    void purger
      .tidy()
      .catch(failed)
      .finally(() => (done = true))
    await this.#until(() => done, QUIET_MS, 'P1 of purge: what was left is not removed')
  }

  /** Until the people have said everything and every incident has happened. */
  async #storm(): Promise<void> {
    await this.#until(() => this.#people.done && this.#fleet.incidentsLeft === 0, QUIET_MS, 'the storm never ended')
  }

  /** No more faults: every wish is answered, and every run ends. */
  async #calmDown(): Promise<void> {
    this.#scheduler.say('world', 'the faults are over')
    this.#calm = true
    this.#cancels.disturb()
    Object.assign(this.#manner, STORM_MANNER(calmed(this.#shape)))
    this.#fleet.calm()
    for (const reader of this.#readers) reader.settle()
    const ended = () => this.#judge.rules.openRuns === 0 && this.#client.open === 0 && this.#fleet.settled
    // A try that a sleeping process took in may still begin something when it wakes up.
    do {
      await this.#until(ended, QUIET_MS, 'P6: not every run and wish came to an end')
      await this.#until(() => false, STILL_MS, '')
    } while (!ended() && this.#judge.lost.length === 0)
    this.#people.goHome()
    await this.#until(() => this.#client.open === 0 && this.#readers.every((reader) => reader.current), READERS_MS, '')
    for (const reader of this.#readers) if (!reader.current) this.broken(`P3: ${reader.place} of what is in the log, and gets no more`)
  }

  /** Everybody leaves; then nothing must wait or listen any more. */
  async #close(): Promise<void> {
    this.#leaving = true
    for (const reader of this.#readers) reader.leave()
    await this.#until(() => false, 30_000, '')
    const servers = this.#fleet.servers
    if (servers.length === 0) this.broken('no server lives in the end')
    for (const server of servers) {
      const listeners = server.hub.listenerCount - SUPERVISOR_LISTENERS
      if (server.readers > 0 || listeners > 0) this.broken(`P9: ${server.readers} reader(s) and ${listeners} listener(s) are left`)
      if (server.supervisor.active > 0) this.broken(`P6: ${server.supervisor.active} run(s) are driven that have ended`)
    }
    let stopped = 0
    for (const server of servers) void server.stop(1_000).then(() => stopped++)
    await this.#until(() => false, 5_000, '')
    if (stopped < servers.length) this.broken('P14: a server did not stop')
    for (const { hub, scope } of servers) {
      if (hub.listenerCount > 0) this.broken(`P9: ${hub.listenerCount} listener(s) outlive the server`)
      if (scope.pending > 0) this.broken(`P9: ${scope.pending} timer(s) are left`)
    }
  }

  async #until(done: () => boolean, mostMs: number, otherwise: string): Promise<void> {
    const endMs = this.#scheduler.nowMs + mostMs
    // Something must become due then, also where nothing else waits.
    const takeBack = this.#network.at(mostMs, 'time is up', () => undefined)
    const how = await this.#scheduler.run(() => this.#scheduler.nowMs >= endMs || done(), STEPS_MAX)
    takeBack()
    if (how === 'too long') this.broken(`${STEPS_MAX} steps, and no end`)
    else if (otherwise !== '' && !done()) this.broken(`${otherwise}, in ${mostMs / 1000} s: ${this.#openWork()}`)
  }

  #openWork(): string {
    return `${this.#judge.rules.openRuns} run(s), ${this.#client.open} wish(es) open`
  }

  #answered(wished: Wished): void {
    this.#judge.answered(wished)
    const { command, answer } = wished
    const isNew = command.type === 'CreateSession' || command.type === 'ForkSession'
    if (answer?.kind !== 'yes' || !isNew || this.#sessions.includes(answer.stream)) return
    this.#sessions.push(answer.stream)
    if (command.type === 'ForkSession' && !this.#leaving && this.#readers.length < READERS_MAX)
      this.#readers.push(new SimulatedReader(`reader of fork ${this.#readers.length}`, answer.stream, this.#readerWorld))
  }

  #failed(by: Scope, what: string): void {
    this.#failures++
    this.#cancels.disturb()
    this.#scheduler.say(by.name, what)
  }

  /** What a process left running must be dead before another one goes on. */
  #groupActs(call: string, driver: number): void {
    const by = this.#judge.rules.results.get(call)
    // Without a shared log nobody wakes up again outside of a simulation: nothing looks for what such a process still begins.
    if (this.#shape.processes === 1 && this.#shape.pauses > 0) return
    if (by === undefined) return
    if (by.driver !== driver) return this.broken(`P5: ${call} acted for driver ${driver} behind its result, which driver ${by.driver} gave it`)
    const { crashes, stops, failing, unreadable, stalling, commitMs, readMs } = this.#shape
    const isWhole = crashes + stops + failing + unreadable + stalling === 0
    const lateMs = this.#scheduler.nowMs - by.atMs
    if (isWhole && lateMs > LEFT_MS + 4 * (commitMs + readMs)) this.broken(`P8: ${call} acted ${Math.round(lateMs)} ms behind its result`)
  }

  #addReaders(world: ReaderWorld): void {
    const { random, network, shape } = world
    for (let left = shape().feedReaders; left > 0; left--) this.#readers.push(new SimulatedReader(`feed reader ${left}`, undefined, world))
    const add = (left: number) => {
      if (left === 0) return
      network.at(random.between(0, 1_000), 'somebody begins to read', () => {
        const [first] = this.#sessions
        if (this.#leaving) return
        if (first === undefined) return add(left)
        this.#readers.push(new SimulatedReader(`reader ${left}`, random.pick(this.#sessions), world))
        add(left - 1)
      })
    }
    add(shape().readers)
  }
}

/** What waits while one commit is under way goes into the next, as in the engine with a writer. */
function gathered(commit: SimulatedCommit): SimulatedCommit {
  const group = new CommitGroup(commit)
  return (writes) => group.add(writes)
}

type SimulatedCommit = ConstructorParameters<typeof CommitGroup>[0]
