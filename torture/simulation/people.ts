/** People: they open sessions, talk, steer, answer questions, change their minds; at moments that chance picks, on what they saw a moment ago. */
import type { DecisionAction } from '../../src/domain/event.ts'
import type { SessionCommand, WhenBusy } from '../../src/domain/command.ts'
import type { Recorded } from '../../src/domain/event.ts'
import type { SessionState } from '../../src/domain/session.ts'
import type { SessionId } from '../../src/domain/ids.ts'
import type { Scope } from '../../src/testing/simulation/scheduler.ts'
import type { SeededRandom } from '../../src/testing/simulation/seeded.ts'
import type { SimulatedClient } from './client.ts'
import type { Shape, Whim } from './shape.ts'
import { OWN_AGENT } from './own.ts'
import { messageId, runId, sessionId } from '../../src/domain/ids.ts'

/** How often somebody looks whether a question is open, in ms. */
const LOOK_MS = 700
/** How long somebody waits for something that is worth a fork, in ms at most. */
const FORK_MS = 3_000

/** What people share. */
export interface PeopleWorld {
  readonly network: Scope
  readonly random: SeededRandom
  readonly client: SimulatedClient
  readonly shape: () => Shape
  /** Sessions that somebody was told of. */
  readonly sessions: () => readonly SessionId[]
  /** A session as its newest reader would know it. */
  readonly state: (session: SessionId) => Promise<SessionState | undefined>
  /** What they have read of it. */
  readonly log: (session: SessionId) => readonly Recorded[]
}

/** The people of one seed. */
export class People {
  readonly #world: PeopleWorld
  #left: number
  #thinking = 0
  #tags = 0
  #answering = true
  /** Sessions that somebody has forked. */
  readonly #origins: SessionId[] = []

  constructor(world: PeopleWorld) {
    this.#world = world
    this.#left = world.shape().wishes
    for (let left = world.shape().sessions; left > 0; left--) this.#create()
    this.#live()
    this.#look()
  }

  /** Whether they have nothing more to say. */
  get done(): boolean {
    return this.#left === 0 && this.#thinking === 0
  }

  /** Nobody looks at questions any more. */
  goHome(): void {
    this.#answering = false
  }

  #create(): void {
    const tag = this.#tag()
    const { random, client, shape } = this.#world
    const onInterrupt = random.pick(shape().onInterrupt)
    const agent = random.chance(shape().ownAgents) ? OWN_AGENT : 'convoke'
    client.send({ tag, make: () => ({ stream: sessionId(random.uuid()), command: { type: 'CreateSession', title: tag, agent, onInterrupt } }) })
  }

  #live(): void {
    const { network, random, shape } = this.#world
    if (this.#left === 0) return
    network.at(random.between(0, 2 * shape().pauseMs), 'somebody wants something', () => {
      this.#left--
      this.#thinking++
      void this.#act().then((sent) => {
        if (!sent) this.#thinking--
        this.#live()
      })
    })
  }

  /** Answers whether somebody is about to send something. */
  async #act(): Promise<boolean> {
    const { random, sessions, state, shape, client } = this.#world
    if (sessions().length === 0) return false
    const session = random.pick(sessions())
    const seen = await state(session)
    if (seen === undefined) {
      // Erased: life goes on elsewhere.
      if (random.chance(0.5)) this.#create()
      return false
    }
    const tag = this.#tag()
    const whims = shape().whims
    const whim = whims.length > 0 && random.chance(0.5) ? random.pick(whims) : undefined
    const { forks, erases } = shape()
    const isFork = forks > 0 && random.chance(forks)
    const isErase = !isFork && erases > 0 && random.chance(erases)
    const make = isFork || isErase ? undefined : this.#commandOf(whim, tag, seen)
    const gone = isErase && this.#origins.length > 0 && random.chance(0.7) ? random.pick(this.#origins) : session
    // It takes them a moment: what they saw may be over.
    this.#world.network.at(random.between(0, isFork ? FORK_MS : random.pick([1, 100])), `${tag} is sent`, () => {
      this.#thinking--
      const at = isFork ? this.#forkPoint(session) : 0
      if (isFork) client.send({ tag, make: () => ({ stream: sessionId(random.uuid()), command: { type: 'ForkSession', origin: session, at, title: tag } }) })
      if (isFork) this.#origins.push(session)
      if (isErase) client.send({ tag, make: () => ({ stream: gone, command: { type: 'PurgeSession' } }) })
      if (make !== undefined) client.send({ tag, make: (driver) => ({ stream: session, command: make(driver) }) })
    })
    return true
  }

  /** Mostly where something has ended; sometimes anywhere, and beyond. */
  #forkPoint(session: SessionId): number {
    const { random, log } = this.#world
    const events = log(session)
    const ends = events.filter(({ event }) => event.type === 'TurnCompleted' || event.type === 'RunCompleted' || event.type === 'SessionForked')
    return ends.length > 0 && random.chance(0.7) ? random.pick(ends).position : 1 + random.int(events.length + 1)
  }

  #commandOf(whim: Whim | undefined, tag: string, seen: SessionState): (driver: number) => SessionCommand {
    const { random } = this.#world
    const run = seen.run?.id ?? seen.lastRun?.id ?? runId(random.uuid())
    switch (whim) {
      case 'cancel':
        return () => ({ type: 'CancelRun', runId: run })
      case 'rename':
        return () => ({ type: 'UpdateSession', title: tag })
      case 'model':
        return () => ({ type: 'SetModel', runId: run, model: `sim/${tag}` })
      case 'resume': {
        const action = random.pick(['resume', 'fail'] as const)
        return () => ({ type: 'ResumeRun', runId: run, action })
      }
      case 'delete':
        return random.chance(0.3) ? () => ({ type: 'DeleteSession' }) : () => ({ type: 'UpdateSession', title: tag })
      case 'steer':
      case 'follow_up': {
        const delivery = random.chance(0.5) ? { delivery: whim, runId: run } : {}
        return this.#message(tag, whim === 'steer' ? 'steer' : 'enqueue', delivery)
      }
      case 'interrupt':
        return this.#message(tag, 'interrupt')
      default:
        return this.#message(tag, random.chance(0.5) ? 'enqueue' : 'reject')
    }
  }

  #message(tag: string, whenBusy: WhenBusy, more: object = {}): (driver: number) => SessionCommand {
    const { random } = this.#world
    const autoApprove = random.pick([undefined, undefined, 'all', 'none', ['danger']] as const)
    const options = { ...(autoApprove === undefined ? {} : { autoApprove }), ...(random.chance(0.1) ? { maxTurns: 2 } : {}) }
    const message = { role: 'user', content: tag } as const
    return (driver) => {
      const ids = { messageId: messageId(random.uuid()), newRunId: runId(random.uuid()) }
      return { type: 'SendMessage', ...ids, driver, message, options, whenBusy, ...more }
    }
  }

  /** Answers questions, one or all at once; sometimes a second person answers too. */
  #look(): void {
    const { network, random } = this.#world
    network.at(random.between(0, 2 * LOOK_MS), 'somebody looks for questions', () => {
      if (!this.#answering) return
      void this.#answer().then(() => this.#look())
    })
  }

  async #answer(): Promise<void> {
    const { random, sessions, state, client } = this.#world
    for (const session of sessions()) {
      const seen = await state(session)
      const asked = seen?.calls.filter(({ status }) => status === 'asked') ?? []
      const run = seen?.run?.id
      if (run !== undefined && seen?.run?.resume === 'asked') {
        // Two who do not agree, or one who wants it to end: at about the same moment.
        for (let people = random.chance(0.3) ? 2 : 1; people > 0; people--) {
          const action = random.pick(['resume', 'resume', 'fail'] as const)
          client.send({ tag: this.#tag(), make: () => ({ stream: session, command: { type: 'ResumeRun', runId: run, action } }) })
        }
        if (random.chance(0.1)) client.send({ tag: this.#tag(), make: () => ({ stream: session, command: { type: 'CancelRun', runId: run } }) })
      }
      if (run === undefined || asked.length === 0) continue
      const picked = random.chance(0.5) ? asked : [random.pick(asked)]
      for (let people = random.chance(0.1) ? 2 : 1; people > 0; people--) {
        const tag = this.#tag()
        const decisions = picked.map(({ id }) => {
          const action: DecisionAction = random.pick(['accept', 'accept', 'accept', 'reject', 'custom_result'] as const)
          return { toolCallId: id, action, ...(action === 'custom_result' ? { content: tag } : {}) }
        })
        client.send({ tag, make: () => ({ stream: session, command: { type: 'DecideCalls', runId: run, decisions } }) })
      }
    }
  }

  #tag(): string {
    return `w${++this.#tags}`
  }
}
