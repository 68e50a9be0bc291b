/** A client that gives commands over a bad network: it asks again with the same key until it is told yes or no. */
import type { Reply, SessionCommand } from '../../src/domain/command.ts'
import type { SessionId } from '../../src/domain/ids.ts'
import type { Receipt } from '../../src/log/store.ts'
import type { Principal } from '../../src/domain/principal.ts'
import type { Scheduler, Scope } from '../../src/testing/simulation/scheduler.ts'
import type { SeededRandom } from '../../src/testing/simulation/seeded.ts'
import type { SimulatedProcess } from './process.ts'
import type { Shape } from './shape.ts'
import { ConvokeError } from '../../src/domain/errors.ts'

/** How long a client waits for an answer, in ms, before it asks again. */
const ANSWER_MS = 400
/** Longest pause before it asks again, in ms. */
const AGAIN_MS = 300

/** Erases a session for good: no command of the session, which is not there to take one twice. */
export interface PurgeSession {
  readonly type: 'PurgeSession'
}
/** What can be wished for. */
export type WishCommand = SessionCommand | PurgeSession

/** What somebody wants. */
export interface Wish {
  /** Names it everywhere: its idempotency key, and where it can the text that it writes. */
  readonly tag: string
  /** The command as a route makes it, with new ids for each try. */
  readonly make: (driver: number) => { readonly stream: SessionId; readonly command: WishCommand }
}

/** What became of a wish. */
export type Answer =
  | {
      readonly kind: 'yes'
      readonly stream: SessionId
      readonly to: number
      readonly reply: Reply
      readonly replayed: boolean
      /** Of a session that was erased. */
      readonly receipt?: Receipt
    }
  | { readonly kind: 'no'; readonly code: string }

/** A wish and what its sender was told; without an answer it is unknown to everybody. */
export interface Wished {
  readonly wish: Wish
  readonly stream: SessionId
  readonly command: WishCommand
  tries: number
  answer?: Answer
}

/** What clients share. */
export interface ClientWorld {
  readonly scheduler: Scheduler
  readonly network: Scope
  readonly random: SeededRandom
  readonly principal: Principal
  readonly shape: () => Shape
  readonly server: () => SimulatedProcess | undefined
  /** Told of each answer that arrives. */
  readonly answered: (wished: Wished) => void
}

/** Codes that a client takes for "ask again"; a busy session is an answer. */
function isPassing(code: string): boolean {
  return code === 'overloaded' || code === 'shutting_down' || code === 'store_unknown' || code === 'store_failed' || code === 'internal_error'
}

/** Gives commands. */
export class SimulatedClient {
  readonly #world: ClientWorld
  readonly wished: Wished[] = []
  #open = 0

  constructor(world: ClientWorld) {
    this.#world = world
  }

  /** Wishes without an answer. */
  get open(): number {
    return this.#open
  }

  /** Sends `wish`, as often as it takes. */
  send(wish: Wish): void {
    const { stream, command } = wish.make(0)
    const wished: Wished = { wish, stream, command, tries: 0 }
    this.wished.push(wished)
    this.#open++
    this.#try(wished)
  }

  #try(wished: Wished): void {
    const { network, random, server, shape } = this.#world
    if (wished.answer !== undefined) return
    const { tag } = wished.wish
    wished.tries++
    let waiting = true
    const again = (ms: number) => {
      if (!waiting) return
      waiting = false
      giveUp()
      network.at(random.between(0, ms), `${tag} is asked again`, () => this.#try(wished))
    }
    const giveUp = network.at(random.between(ANSWER_MS / 10, ANSWER_MS), `${tag} has no answer yet`, () => again(AGAIN_MS))
    const process = server()
    if (process === undefined) return
    process.scope.at(random.between(0, 5), `${tag} arrives`, () => {
      void this.#execute(process, wished).then((answer) => {
        const lost = random.chance(shape().lostAnswers)
        network.at(random.between(0, 5) + (lost ? ANSWER_MS : 0), `${tag} is answered: ${answer.kind === 'yes' ? 'yes' : answer.code}`, () => {
          if (answer.kind === 'no' && isPassing(answer.code)) return again(AGAIN_MS)
          // An answer that comes after the client asked again is heard by nobody, if it was lost.
          if (lost && !waiting) return
          if (waiting) giveUp()
          waiting = false
          this.#hear(wished, answer)
        })
      })
    })
  }

  #hear(wished: Wished, answer: Answer): void {
    if (wished.answer !== undefined) return
    wished.answer = answer
    this.#open--
    this.#world.answered(wished)
  }

  async #execute(process: SimulatedProcess, { wish }: Wished): Promise<Answer> {
    const { stream, command } = wish.make(process.store.driver)
    try {
      const { principal } = this.#world
      const idempotency = { scope: 'client', key: wish.tag, fingerprint: wish.tag }
      if (command.type === 'PurgeSession') {
        const { receipt, replayed } = await process.purger.purge(stream, principal, idempotency)
        return { kind: 'yes', stream, to: 0, reply: {}, replayed, receipt }
      }
      const give = command.type === 'ForkSession' ? process.commands.fork(stream, command, principal, idempotency) : undefined
      const result = await (give ?? process.commands.execute(stream, command, principal, idempotency))
      return { kind: 'yes', stream: result.stream, to: result.to, reply: result.reply, replayed: result.replayed }
    } catch (error) {
      if (error instanceof ConvokeError) return { kind: 'no', code: error.code }
      // These read before they write, and remove files afterwards: a route says that the fault is the server's own.
      if (command.type === 'ForkSession' || command.type === 'PurgeSession') return { kind: 'no', code: 'internal_error' }
      throw error
    }
  }
}
