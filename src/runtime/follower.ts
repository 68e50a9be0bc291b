/**
 * Follows one session inside the process: every event from a position on, in order, once, however hints are lost.
 *
 * The hub's batches are taken where they fit; otherwise the log is read.
 */
import type { Recorded } from '../domain/event.ts'
import type { Position, SessionId } from '../domain/ids.ts'
import type { LogBatch, Store } from '../log/store.ts'
import type { Hub } from '../stream/hub.ts'
import { READ_EVENTS_MAX } from '../log/store.ts'

/** What to follow, from behind which position. */
export interface FollowerOptions {
  readonly store: Store
  readonly hub: Hub
  readonly stream: SessionId
  readonly after: Position
}

/** A reader without a socket. */
export class Follower {
  readonly #options: FollowerOptions
  #position: Position
  #listener: ((recorded: Recorded) => void) | undefined
  #unsubscribe: (() => void) | undefined
  #reading: Promise<void> | undefined
  /** The newest position that the hub has told of. */
  #told: Position = 0
  /** A hint came while the log was read: the page may be older than it. */
  #hinted = false
  #seen = 0
  #answered = 0
  #waiters: (() => void)[] = []
  /** Who waits for a position that the log does not show yet. */
  #early: (() => void)[] = []
  #over: Error | undefined

  constructor(options: FollowerOptions) {
    this.#options = options
    this.#position = options.after
  }

  /** Begins: first what the log holds, then what comes. Resolves when the log was read to its head. @throws when it cannot be read */
  async start(listener: (recorded: Recorded) => void): Promise<void> {
    this.#listener = listener
    const { hub, stream } = this.#options
    const unsubscribe = hub.subscribe(stream, (batch) => this.#take(batch))
    // A log that cannot be read now is read at the next poll.
    const undoubt = hub.onDoubt(() => void this.compare().catch(() => undefined))
    this.#unsubscribe = () => {
      unsubscribe()
      undoubt()
    }
    this.#catchUp()
    await this.#reading
    if (this.#over !== undefined) throw this.#over
  }

  /** Resolves when `position` was seen; what the log does not show yet is looked for with each hint and poll. @throws when it never will be: who goes on without having seen its own events would do things twice */
  async reached(position: Position): Promise<void> {
    while (this.#position < position) {
      if (this.#over !== undefined) throw this.#over
      this.#told = Math.max(this.#told, position)
      this.#catchUp()
      await this.#reading
      if (this.#position < position && this.#over === undefined) await new Promise<void>((resolve) => this.#early.push(resolve))
    }
  }

  /** Compares with the head of the log, and reads what no hint has told of. Resolves when it was handed over. */
  async compare(): Promise<void> {
    const head = await this.#options.store.head(this.#options.stream)
    if (head === undefined && this.#position > 0) return this.#gone()
    this.#told = Math.max(this.#told, head ?? 0)
    this.#lookAgain()
    if (this.#listener === undefined || this.#position >= this.#told) return
    this.#hinted = true
    this.#catchUp()
    await this.#reading
  }

  /** Resolves when something was seen since the last call. @throws what `end` was given */
  async changed(): Promise<void> {
    while (this.#answered === this.#seen && this.#over === undefined) await new Promise<void>((resolve) => this.#waiters.push(resolve))
    this.#answered = this.#seen
    if (this.#over !== undefined) throw this.#over
  }

  /** Makes `changed` resolve though nothing happened. */
  wake(): void {
    this.#seen++
    for (const waiter of this.#waiters.splice(0)) waiter()
  }

  /** Makes `changed` reject from now on. */
  end(reason: Error): void {
    this.#over ??= reason
    this.wake()
    this.#lookAgain()
  }

  close(): void {
    this.#unsubscribe?.()
    this.#listener = undefined
    this.end(new Error('closed'))
  }

  #take(batch: LogBatch): void {
    this.#told = Math.max(this.#told, batch.to)
    if (this.#reading !== undefined) this.#hinted = true
    else if (batch.from !== this.#position + 1) this.#catchUp()
    else {
      batch.events.forEach((event, index) => this.#see({ position: batch.from + index, atMs: batch.atMs, event }))
      this.wake()
    }
    this.#lookAgain()
  }

  #lookAgain(): void {
    for (const early of this.#early.splice(0)) early()
  }

  #see(recorded: Recorded): void {
    this.#position = recorded.position
    try {
      this.#listener?.(recorded)
    } catch (error) {
      // Called from somebody's commit: an own agent's mistake is its run's, not theirs.
      this.end(error instanceof Error ? error : new Error(String(error)))
    }
  }

  #catchUp(): void {
    this.#reading ??= this.#read().then(
      () => {
        this.#reading = undefined
        // A batch that came after the last page was read, but before this line, was only noted.
        if (this.#hinted && this.#told > this.#position && this.#listener !== undefined) this.#catchUp()
      },
      (error: unknown) => this.end(error instanceof Error ? error : new Error(String(error))),
    )
  }

  async #read(): Promise<void> {
    for (;;) {
      this.#hinted = false
      const page = await this.#options.store.read(this.#options.stream, this.#position, READ_EVENTS_MAX)
      if (page === undefined && this.#told > this.#position) return this.#gone()
      for (const recorded of page?.events ?? []) this.#see(recorded)
      this.wake()
      const head = Math.max(page?.head ?? 0, this.#told)
      if (this.#position >= head || this.#listener === undefined) return
      // Told of what the log does not show: to ask for it over and over would hold everything up. The next hint or poll looks again.
      if ((page?.events.length ?? 0) === 0 && !this.#hinted) return
    }
  }

  /** The session was erased: what was told of it never comes. */
  #gone(): void {
    this.#told = this.#position
    this.end(new Error('the session is gone'))
  }
}
