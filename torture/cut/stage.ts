/**
 * A stage: one scenario, played over one process that dies or fails at one commit, and is followed by another one that does not.
 *
 * Whoever gave a command asks again with the same key until it is answered, as real clients do.
 */
import type { SessionCommand } from '../../src/domain/command.ts'
import type { OnInterrupt, Recorded } from '../../src/domain/event.ts'
import type { RunId, SessionId } from '../../src/domain/ids.ts'
import type { ModelPart, ModelRequest } from '../../src/domain/model.ts'
import type { Fate } from '../../src/testing/failing-store.ts'
import type { Shape } from '../simulation/shape.ts'
import { messageId, runId, sessionId, userId } from '../../src/domain/ids.ts'
import { USER_SCOPES } from '../../src/domain/principal.ts'
import { SimulatedDisk } from '../../src/testing/simulation/disk.ts'
import { Scheduler, type Scope, type Trace } from '../../src/testing/simulation/scheduler.ts'
import { seededRandom, type SeededRandom } from '../../src/testing/simulation/seeded.ts'
import { SimulatedClient } from '../simulation/client.ts'
import { engineData } from '../simulation/engines.ts'
import { Judge } from '../simulation/judge.ts'
import { Outside } from '../simulation/outside.ts'
import { SimulatedProcess } from '../simulation/process.ts'

/** What a person sees of the session: its log, and its newest run. */
export interface Seen {
  readonly log: readonly Recorded[]
  readonly run: RunId
  /** How many events of a type there are. */
  count(type: Recorded['event']['type']): number
}

/** Something that a person does once, as soon as `when` holds. */
export interface Step {
  readonly when: (seen: Seen) => boolean
  readonly wish: (seen: Seen, tag: string) => SessionCommand
}

/** A scenario of one session. */
export interface Scenario {
  readonly name: string
  readonly onInterrupt?: OnInterrupt
  readonly plan: (request: ModelRequest) => readonly (ModelPart | Error)[]
  readonly steps: readonly Step[]
  /** How long each tool takes, in ms. */
  readonly slowMs?: number
}

/** Where it breaks. */
export interface Cut {
  /** Counted from the first commit on; 0 never. */
  readonly at: number
  readonly fate: Exclude<Fate, 'pass'>
}

/** How it is played. */
export interface PlayOptions {
  /** Decides the moments of everything. Default 1. */
  readonly seed?: number
  /** Told of every step. */
  readonly trace?: Trace | undefined
}

/** What came of it. */
export interface Played {
  readonly lost: readonly string[]
  readonly commits: number
  /** Wishes of the scenario that were given. */
  readonly given: number
  readonly reached: boolean
  /** Events that were written, by type. */
  readonly types: ReadonlySet<string>
}

const OWNER = userId('alice')
/** Simulated time in which a scenario must have come to its end, in ms. */
const PLAY_MS = 120_000
const STEPS_MAX = 200_000
/** How soon after a death another process starts, in ms. */
const RESTART_MS = 20
/** How long a person thinks about a question, in ms. */
const THINK_MS = 300

/** Nothing but the cut goes wrong. */
const CALM: Shape = {
  engine: 'memory',
  processes: 1,
  oneWriter: true,
  sessions: 1,
  wishes: 0,
  pauseMs: 1,
  readers: 0,
  feedReaders: 0,
  crashes: 0,
  pauses: 0,
  stops: 0,
  commitMs: 1,
  readMs: 0,
  failing: 0,
  unreadable: 0,
  stalling: 0,
  lostHints: 0,
  lostAnswers: 0,
  breaks: 0,
  stalls: 0,
  largeFrames: false,
  lateMs: 0,
  models: { failing: 0, hanging: 0, deaf: 0, paceMs: 1, countingIds: false, words: 3 },
  tools: { failing: 0, deaf: 0, slowMs: 1, groups: true },
  whims: [],
  ownAgents: 0,
  onInterrupt: ['resume'],
  forks: 0,
  erases: 0,
  idleMs: 0,
  packMs: 0,
}

/** Plays `scenario` with `cut`. */
export async function play(scenario: Scenario, engine: Shape['engine'], cut: Cut, { seed = 1, trace }: PlayOptions = {}): Promise<Played> {
  const data = engineData(engine, seededRandom(2))
  try {
    return await new Stage(scenario, data, cut, { seed, trace }).play()
  } finally {
    await data.destroy()
  }
}

class Stage {
  readonly #scenario: Scenario
  readonly #cut: Cut
  readonly #data: ReturnType<typeof engineData>
  readonly #random: SeededRandom
  readonly #scheduler: Scheduler
  readonly #network: Scope
  readonly #judge: Judge
  readonly #disk: SimulatedDisk
  readonly #outside: Outside
  readonly #client: SimulatedClient
  readonly #shape: Shape
  #server: SimulatedProcess | undefined
  #session: SessionId | undefined
  #next = 0
  #answers = 0
  #asked = new Set<string>()
  #commits = 0
  #reached = false

  constructor(scenario: Scenario, data: ReturnType<typeof engineData>, cut: Cut, { seed = 1, trace }: PlayOptions) {
    this.#scenario = scenario
    this.#data = data
    this.#cut = cut
    this.#shape = { ...CALM, tools: { ...CALM.tools, slowMs: scenario.slowMs ?? CALM.tools.slowMs } }
    const random = seededRandom(seed)
    this.#random = random
    this.#scheduler = new Scheduler(random, trace)
    this.#network = this.#scheduler.scope('network')
    this.#judge = new Judge({ scheduler: this.#scheduler, owner: OWNER, written: () => void this.#network.at(0, 'somebody looks', () => this.#act()) })
    const { commitMs, readMs, failing, unreadable, stalling } = CALM
    this.#disk = new SimulatedDisk({
      random,
      manner: { commitMs, readMs, failing, unreadable, stalling },
      open: () => data.open(),
      committed: (commit) => this.#judge.committed(commit),
      failed: (by, what) => this.#scheduler.say(by.name, what),
      fateOf: () => this.#fate(),
    })
    this.#outside = new Outside({
      random,
      shape: () => this.#shape,
      plan: scenario.plan,
      world: this.#scheduler.scope('outside'),
      begins: (tool, call) => this.#judge.toolBegins(tool, call, this.#outside.ledger),
      acts: () => undefined,
    })
    const principal = { user: OWNER, scopes: USER_SCOPES }
    const answered = (wished: Parameters<Judge['answered']>[0]) => {
      this.#judge.answered(wished)
      if (wished.answer?.kind === 'yes') this.#session = wished.answer.stream
      this.#network.at(0, 'somebody looks', () => this.#act())
    }
    const parts = { scheduler: this.#scheduler, network: this.#network, random, principal, shape: () => this.#shape }
    this.#client = new SimulatedClient({ ...parts, server: () => this.#server, answered })
  }

  async play(): Promise<Played> {
    await this.#start()
    const { onInterrupt } = this.#scenario
    const optional = onInterrupt === undefined ? {} : { onInterrupt }
    const command = { type: 'CreateSession', title: 'created', agent: 'convoke', ...optional } as const
    this.#client.send({ tag: 'created', make: () => ({ stream: sessionId(this.#random.uuid()), command }) })
    const endMs = this.#scheduler.nowMs + PLAY_MS
    this.#network.at(PLAY_MS, 'time is up', () => undefined)
    let stillSinceMs = this.#scheduler.nowMs
    const over = () => {
      const busy = this.#client.open > 0 || this.#judge.rules.openRuns > 0 || this.#server === undefined
      if (busy) stillSinceMs = this.#scheduler.nowMs
      // Polls go on for ever: it is over when nothing has happened for a while.
      return this.#scheduler.nowMs - stillSinceMs > 2 * THINK_MS || this.#scheduler.nowMs >= endMs
    }
    const how = await this.#scheduler.run(over, STEPS_MAX)
    if (how === 'too long' || this.#scheduler.nowMs >= endMs)
      this.#judge.broken(`P6: no end: ${this.#judge.rules.openRuns} run(s), ${this.#client.open} wish(es) open`)
    await this.#judge.look(await this.#data.open(), this.#client.wished, this.#outside.ledger)
    const types = new Set([...this.#judge.truth.streams.values()].flatMap((log) => log.map(({ event }) => event.type)))
    return { types, lost: this.#judge.lost, commits: this.#commits, given: this.#next, reached: this.#reached }
  }

  #fate(): Fate {
    if (++this.#commits !== this.#cut.at) return 'pass'
    this.#reached = true
    if (this.#cut.fate.startsWith('cut')) {
      this.#server = undefined
      this.#network.at(RESTART_MS, 'another process starts', () => void this.#start())
    }
    return this.#cut.fate
  }

  async #start(): Promise<void> {
    const parts = {
      scheduler: this.#scheduler,
      disk: this.#disk,
      outside: this.#outside,
      random: this.#random,
      shape: () => this.#shape,
      stepRuns: () => undefined,
    }
    this.#server = await SimulatedProcess.start('process', parts)
  }

  /** Gives the next wish of the scenario where its moment has come, and answers questions that nobody else answers. */
  #act(): void {
    const session = this.#session
    if (session === undefined) return
    const log = this.#judge.truth.streams.get(session) ?? []
    const started = log.findLast(({ event }) => event.type === 'RunStarted')?.event
    const seen: Seen = {
      log,
      run: started?.type === 'RunStarted' ? started.runId : runId('none'),
      count: (type) => log.filter(({ event }) => event.type === type).length,
    }
    const step = this.#scenario.steps[this.#next]
    if (step?.when(seen) === true) {
      const tag = `step${++this.#next}`
      const command = step.wish(seen, tag)
      this.#client.send({ tag, make: (driver) => ({ stream: session, command: withIds(command, driver, this.#random) }) })
      this.#network.at(1, 'somebody looks', () => this.#act())
    }
    for (const recorded of log) this.#think(session, recorded)
  }

  /** Says yes to what is still asked after a while. */
  #think(session: SessionId, { event, position }: Recorded): void {
    if (event.type !== 'ApprovalRequested' && event.type !== 'ResumeRequested') return
    const question = `${position}`
    if (this.#asked.has(question)) return
    this.#asked.add(question)
    this.#network.at(THINK_MS, 'somebody answers', () => {
      const tag = `answer${++this.#answers}`
      const { runId: run } = event
      if (event.type === 'ResumeRequested') {
        return this.#client.send({ tag, make: () => ({ stream: session, command: { type: 'ResumeRun', runId: run, action: 'resume' } }) })
      }
      const decisions = event.toolCallIds.map((toolCallId) => ({ toolCallId, action: 'accept' }) as const)
      this.#client.send({ tag, make: () => ({ stream: session, command: { type: 'DecideCalls', runId: run, decisions } }) })
    })
  }
}

/** A message as a route makes it: with new ids for each try. */
function withIds(command: SessionCommand, driver: number, random: SeededRandom): SessionCommand {
  if (command.type !== 'SendMessage') return command
  return { ...command, messageId: messageId(random.uuid()), newRunId: runId(random.uuid()), driver }
}
