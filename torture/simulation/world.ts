/**
 * One simulated world: people and readers around a server that dies, stops, pauses, and loses its disk for a moment; then calm, and a look
 * at what was promised.
 *
 * The same seed gives the same world, step for step.
 */
import type { SessionId } from '../../src/domain/ids.ts'
import type { Trace } from '../../src/testing/simulation/scheduler.ts'
import type { Committed, DiskManner } from '../../src/testing/simulation/disk.ts'
import type { Shape } from './shape.ts'
import type { Wished } from './client.ts'
import { userId } from '../../src/domain/ids.ts'
import { USER_SCOPES } from '../../src/domain/principal.ts'
import { CommitGroup } from '../../src/storage/sqlite/group.ts'
import { SimulatedDisk } from '../../src/testing/simulation/disk.ts'
import { Scheduler, type Scope } from '../../src/testing/simulation/scheduler.ts'
import { seededRandom } from '../../src/testing/simulation/seeded.ts'
import { Cancels } from './cancels.ts'
import { SimulatedClient } from './client.ts'
import { brokenPromises, endsOf } from './effects.ts'
import { engineData } from './engines.ts'
import { Fleet } from './fleet.ts'
import { Outside, isRepeatable } from './outside.ts'
import { People } from './people.ts'
import { SimulatedReader, type ReaderWorld } from './reader.ts'
import { Rules, callKey } from './rules.ts'
import { calmed, shapeOf } from './shape.ts'
import { differences } from './stored.ts'
import { Truth } from './truth.ts'

/** Steps after which a world is taken for one that never comes to rest. */
const STEPS_MAX = 400_000
/** Simulated time in which everything must have come to an end once the faults are over, in ms. */
const QUIET_MS = 900_000
/** Simulated time in which every reader must have seen everything: two keep-alives and some. */
const READERS_MS = 40_000
/** How long nothing must begin any more, in ms. */
const STILL_MS = 500
/** What a supervisor listens to while it lives. */
const SUPERVISOR_LISTENERS = 1
/** Sentences that one seed reports at most. */
const LOST_MAX = 12

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
  readonly #truth = new Truth()
  readonly #rules: Rules
  readonly #cancels: Cancels
  readonly #manner: DiskManner
  readonly #data: ReturnType<typeof engineData>
  readonly #disk: SimulatedDisk
  readonly #fleet: Fleet
  readonly #client: SimulatedClient
  readonly #people: People
  readonly #readers: SimulatedReader[] = []
  readonly #sessions: SessionId[] = []
  readonly #outside: Outside
  readonly #lost: string[] = []
  #calm = false
  #leaving = false
  #commits = 0
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
    this.#rules = new Rules({ repeatable: isRepeatable, broken })
    this.#cancels = new Cancels({ shape: this.#shape, nowMs: () => this.#scheduler.nowMs, broken })
    this.#manner = STORM_MANNER(this.#shape)
    this.#data = engineData(this.#shape.engine, random, this.#shape.processes > 1)
    this.#disk = new SimulatedDisk({
      random,
      manner: this.#manner,
      open: () => this.#data.open(),
      shared: this.#shape.processes > 1,
      committed: (commit) => this.#committed(commit),
      failed: (by, what) => this.#failed(by, what),
      ...(this.#shape.oneWriter ? { gather: (commit) => gathered(commit) } : {}),
    })
    this.#outside = new Outside({
      random,
      shape,
      world: this.#scheduler.scope('outside'),
      begins: (tool, call) => this.#toolBegins(tool, call),
      acts: (call, driver) => this.#groupActs(call, driver),
    })
    const parts = { scheduler: this.#scheduler, disk: this.#disk, outside: this.#outside, random, shape }
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
    })
    const readers: ReaderWorld = { network: this.#network, random, truth: this.#truth, owner: OWNER, shape, server, broken }
    this.#addReaders(readers)
  }

  /** Notes a broken promise. */
  broken(sentence: string): void {
    this.#scheduler.say('LOST', sentence)
    if (this.#lost.length < LOST_MAX) this.#lost.push(sentence)
  }

  async destroy(): Promise<void> {
    await this.#data.destroy()
  }

  async run(): Promise<SeedResult> {
    await this.#fleet.begin(this.#shape)
    await this.#storm()
    await this.#calmDown()
    await this.#close()
    await this.#look()
    const { deaths } = this.#fleet
    const counts: Counts = {
      runs: this.#rules.runs.size,
      claims: [...this.#rules.runs.values()].reduce((sum, fate) => sum + fate.claims, 0),
      events: this.#truth.feed.length,
      commits: this.#commits,
      commands: this.#client.wished.length,
      deaths,
      failures: this.#failures,
      frames: this.#readers.reduce((sum, reader) => sum + reader.frames, 0),
      steps: this.#scheduler.steps,
      ends: endsOf(this.#truth),
    }
    return { seed: this.#seed, shape: this.#shape, lost: this.#lost.map((sentence) => `seed ${this.#seed}: ${sentence}`), counts }
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
    const ended = () => this.#rules.openRuns === 0 && this.#client.open === 0 && this.#fleet.settled
    // A try that a sleeping process took in may still begin something when it wakes up.
    do {
      await this.#until(ended, QUIET_MS, 'P6: not every run and wish came to an end')
      await this.#until(() => false, STILL_MS, '')
    } while (!ended() && this.#lost.length === 0)
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

  async #look(): Promise<void> {
    for (const sentence of this.#rules.atEnd()) this.broken(sentence)
    for (const sentence of brokenPromises(this.#client.wished, this.#truth, this.#rules)) this.broken(sentence)
    for (const sentence of this.#unledgered()) this.broken(sentence)
    const engine = await this.#data.open()
    for (const sentence of await differences(engine, this.#truth, OWNER)) this.broken(sentence)
  }

  /** Results that say "done" of what was never done. */
  *#unledgered(): Generator<string> {
    for (const log of this.#truth.streams.values()) {
      for (const { event } of log) {
        if (event.type !== 'ToolCompleted' || event.result !== `done ${event.toolCallId}`) continue
        if (this.#outside.ledger.get(callKey(event.runId, event.toolCallId))?.some((line) => line.ended) !== true)
          yield `P5: ${event.toolCallId} has a result and did not run`
      }
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
    return `${this.#rules.openRuns} run(s), ${this.#client.open} wish(es) open`
  }

  #answered({ command, answer }: Wished): void {
    if (answer?.kind !== 'yes') return
    if (answer.to > this.#truth.headOf(answer.stream)) this.broken(`P1: ${command.type} was acknowledged before it was written`)
    if (command.type === 'CreateSession' && !this.#sessions.includes(answer.stream)) this.#sessions.push(answer.stream)
  }

  #failed(by: Scope, what: string): void {
    this.#failures++
    this.#cancels.disturb()
    this.#scheduler.say(by.name, what)
  }

  #toolBegins(tool: string, call: string): void {
    if (!this.#rules.started.has(call)) this.broken(`P5: ${tool} ran for ${call}, and no intent was recorded`)
    if (!isRepeatable(tool) && this.#outside.ledger.has(call)) this.broken(`P5: ${tool} must not be repeated, and ran twice for ${call}`)
  }

  /** What a process left running must be dead before another one goes on. */
  #groupActs(call: string, driver: number): void {
    const by = this.#rules.results.get(call)
    // Without a shared log a process that is gone is gone: its guardians' pipes are closed.
    if (this.#shape.processes === 1) return
    if (by !== undefined && by !== driver) this.broken(`P5: ${call} acted for driver ${driver} behind its result, which driver ${by} gave it`)
  }

  #committed({ by, writes, outcomes }: Committed): void {
    this.#commits++
    outcomes.forEach((outcome, index) => {
      const write = writes[index]
      const fence = write?.kind === 'record' ? write.fence : write?.kind === 'decide' && write.command.type === 'FinishRun' ? write.command.fence : undefined
      if (outcome.kind !== 'appended') {
        if (this.#scheduler.traced)
          this.#scheduler.say(
            by.name,
            `${write?.kind === 'decide' ? write.command.type : 'record'} is ${outcome.kind} ${outcome.kind === 'refused' ? outcome.code : ''}`,
          )
        return
      }
      if (outcome.replayed) return
      const { stream, from, events, atMs } = outcome
      if (fence !== undefined && fence !== this.#rules.fenceOf(stream))
        this.broken(`P4: ${by.name} wrote to ${stream} with fence ${fence}, it is ${this.#rules.fenceOf(stream)}`)
      if (this.#scheduler.traced) this.#scheduler.say(by.name, `wrote ${stream} ${from}: ${JSON.stringify(events).slice(0, 900)}`)
      events.forEach((event, at) => {
        const recorded = { position: from + at, atMs, event }
        this.#truth.add(stream, recorded)
        this.#rules.take(stream, recorded)
        this.#cancels.take(event)
      })
    })
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
