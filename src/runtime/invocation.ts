/**
 * One invocation of an own agent's function, from the top: what it has under way, and what it waits for.
 *
 * N1. An invocation that was dropped is told nothing any more: what it awaits never settles. Another one, from the top, stands in its place.
 * N2. A cancel rejects what it awaits, with the reason of the cancel. What it asks for after that never settles: a loop that tries for ever would hold the process.
 * N3. Within a step's function nothing else is asked for: it may wait for what the step itself holds, and its order would be another in a replay.
 * N4. When the server stops, what is under way ends, and nothing else begins.
 */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Disposition, MessageEvent, RunEvent } from '../domain/event.ts'
import type { Json } from '../domain/message.ts'
import type { Clock, Random } from '../domain/ports.ts'
import type { DriverEvent, RunContext } from './agent.ts'
import type { Journal } from './journal.ts'
import { ConvokeError } from '../domain/errors.ts'
import { Voice } from './voice.ts'

/** Steps, calls and texts of one run. */
export const JOURNAL_ENTRIES_MAX = 10_000
/** Characters of a key. */
export const KEY_CHARS_MAX = 200

/** The key of the step whose function runs. What it asked of its context would be missing in a replay, in which it does not run. */
export const withinStep = new AsyncLocalStorage<string | undefined>()

/** Ends the run whatever the function catches. */
export class Fatal extends Error {
  constructor(cause: ConvokeError) {
    super(cause.message, { cause })
  }
}

/** What was begun is left as it stands: whoever drives the run next goes on with it. With a `cause` this process leaves the whole run. */
export class Left extends Error {
  constructor(cause?: unknown) {
    super('left', { cause })
  }
}

/** What an invocation stands on: one run of one agent in this process. */
export interface Frame {
  readonly journal: Journal
  readonly context: RunContext
  readonly clock: Clock
  readonly random: Random
  /** Something has changed: look again at what comes next. */
  poke(): void
  /** Whether `invocation` is the one that counts. It counts again if it was set aside while it waited. */
  counts(invocation: Invocation): boolean
  /** A write that nobody waits for: the run is not left before it is durable. */
  written(write: Promise<void>): void
  /** Ends the run as failed, or leaves it. */
  giveUp(why: Fatal | Left): void
}

/** A question to a person, on its way. */
export interface Question {
  readonly id: string
  readonly name: string
  readonly arguments: Json
  readonly reason: string
  readonly disposition: Disposition
  /** The call is done by a tool, once it may. */
  readonly tool?: true
}

/** What is said in a step, as it stands. */
export interface Speaking {
  /** Ends it where it stands. Answers the text so far, as a message that was cut off. */
  hush(): readonly (RunEvent | MessageEvent)[]
}

/** One run of the function. */
export class Invocation {
  readonly frame: Frame
  /** Names it without holding it. */
  readonly token = Symbol('invocation')
  readonly voice = new Voice()
  /** Who takes messages in: one at a time, so that none is taken twice. */
  readonly inbox = new Voice()
  /** What is said in a step now. */
  speaking: Speaking | undefined
  /** Questions that are not asked yet, and the write that will ask them. */
  readonly questions: Question[] = []
  asking: Promise<void> | undefined
  readonly #keys = new Set<string>()
  readonly #ordinals = new Map<string, number>()
  readonly #rejects = new Set<(reason: unknown) => void>()
  readonly #waits = new Map<string, () => void>()
  /** Entries of the journal that were asked for: a replay asks for all of them again. */
  #taken = 0
  #active = 0
  #cancelled = false

  constructor(frame: Frame) {
    this.frame = frame
  }

  /** Nothing is under way. */
  get idle(): boolean {
    return this.#active === 0
  }

  /** The calls whose answers are awaited. */
  get awaited(): readonly string[] {
    return [...this.#waits.keys()]
  }

  /** Does one thing for the function. @see N1, N2, N3, N4 */
  do<T>(work: () => Promise<T>): Promise<T> {
    const done = new Promise<T>((resolve, reject) => {
      if (this.#cancelled || !this.frame.counts(this)) return
      const step = withinStep.getStore()
      if (step !== undefined) return reject(new ConvokeError('agent_failed', `within the step ${step} only what the step is given may be used, not ctx`))
      if (this.frame.context.stopping) return this.frame.poke()
      this.#active++
      this.#rejects.add(reject)
      const settle = (tell: () => void) => {
        this.#active--
        this.#rejects.delete(reject)
        if (this.frame.counts(this)) tell()
        this.frame.poke()
      }
      const failed = (error: unknown) => {
        if (error instanceof Fatal || error instanceof Left) settle(() => this.frame.giveUp(error))
        else settle(() => reject(error as Error))
      }
      work().then((value) => settle(() => resolve(value)), failed)
    })
    // A function that does not wait for it must not end the process, and every other run with it: what failed is in the log.
    done.catch(() => undefined)
    return done
  }

  /** Resolves when the call `id` has its answer. Nothing is under way meanwhile. */
  async answered(id: string): Promise<void> {
    const { calls } = this.frame.journal
    const isOpen = () => calls.get(id)?.status === 'asked'
    if (!isOpen()) return
    this.#active--
    const answer = new Promise<void>((resolve) => this.#waits.set(id, resolve))
    this.frame.poke()
    await answer
  }

  /** Tells those whose call has its answer. */
  look(): void {
    for (const [id, resolve] of this.#waits) {
      if (this.frame.journal.calls.get(id)?.status === 'asked') continue
      this.#waits.delete(id)
      this.#active++
      resolve()
    }
  }

  /** Rejects everything that the function awaits. */
  cancel(reason: unknown): void {
    this.#cancelled = true
    for (const reject of this.#rejects) reject(reason)
  }

  /** Takes `key` for this invocation. @throws {ConvokeError} `agent_failed` when it is taken, or none; {Fatal} when it is one too many */
  claim(key: string): void {
    this.#requireRoom()
    if (typeof key !== 'string' || key === '' || key.length > KEY_CHARS_MAX || key.startsWith('~'))
      throw new ConvokeError('agent_failed', `a key has 1 to ${KEY_CHARS_MAX} characters and no ~ in front: ${JSON.stringify(key)} does not`)
    if (this.#keys.has(key))
      throw new ConvokeError(
        'agent_failed',
        `the key ${JSON.stringify(key)} is used twice in one run: each step and question has its own; in a loop, add what differs to it`,
      )
    this.#keys.add(key)
  }

  /** The key of the next thing of `kind`: they are told apart by their order. @throws {Fatal} when it is one too many */
  next(kind: string): string {
    const ordinal = (this.#ordinals.get(kind) ?? 0) + 1
    this.#ordinals.set(kind, ordinal)
    this.#requireRoom()
    return `~${kind}:${ordinal}`
  }

  #requireRoom(): void {
    if (++this.#taken <= JOURNAL_ENTRIES_MAX) return
    // Not for the function to catch: it may be a loop that has no end.
    const over = new Fatal(new ConvokeError('agent_failed', `a run has at most ${JOURNAL_ENTRIES_MAX} steps`))
    if (this.frame.counts(this)) this.frame.giveUp(over)
    throw over
  }

  /** As `record`, without waiting: whatever reaches outside next has its intent recorded behind this, and waits for that. */
  recordSoon(...events: readonly DriverEvent[]): void {
    if (this.frame.counts(this)) this.frame.written(this.frame.context.record(...events))
  }

  /** Appends events; resolves when they are durable and in the journal. What is dropped writes nothing. @throws {Left} when they never will be */
  async record(...events: readonly DriverEvent[]): Promise<void> {
    if (!this.frame.counts(this)) throw new Left()
    try {
      await this.frame.context.record(...events)
    } catch (error) {
      throw new Left(error)
    }
  }
}
