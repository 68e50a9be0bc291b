/**
 * A run's outbox: events on their way to the log.
 *
 * While one commit is under way, what comes next is gathered, and goes out as one write. Order is kept.
 * O1. At most `OUTBOX_BYTES_MAX` wait; then `full` says so, and the agent stops pulling its provider.
 * O2. After a write was fenced, or the log failed, everything is refused with that reason: a stale driver writes nothing more (P4).
 */
import type { Position } from '../domain/ids.ts'
import type { Write, WriteOutcome } from '../log/store.ts'
import type { DriverEvent } from './agent.ts'
import { ConvokeError } from '../domain/errors.ts'
import { RECORD_EVENTS_MAX } from '../log/store.ts'

/** Bytes of events that may wait in one run, by a rough count. */
export const OUTBOX_BYTES_MAX = 256 * 1024
/** What an event costs besides its text, roughly, in bytes. */
const EVENT_OVERHEAD_BYTES = 96

interface Waiting {
  readonly events: readonly DriverEvent[]
  readonly bytes: number
  /** Who waits for it, if somebody does. */
  readonly waiter?: { readonly resolve: (to: Position) => void; readonly reject: (reason: unknown) => void }
}

/** What an outbox needs. */
export interface OutboxOptions {
  /** Makes the write for `events` under the run's fence. */
  readonly write: (events: readonly DriverEvent[]) => Write
  readonly commit: (writes: readonly Write[]) => Promise<readonly WriteOutcome[]>
  /** @see Clock.turn */
  readonly turn: () => Promise<void>
  /** The reason for a fenced write. */
  readonly fenced: () => Error
}

/** Gathers events and commits them in order. */
export class Outbox {
  readonly #options: OutboxOptions
  #waiting: Waiting[] = []
  #bytes = 0
  #flushing: Promise<void> | undefined
  /** Why nothing more is written; `canEnd` where the run may still be ended. */
  #dead: { readonly reason: unknown; readonly canEnd: boolean } | undefined
  #drainers: (() => void)[] = []
  #last: Position = 0
  /** Why nothing more is taken in. */
  #sealed: Error | undefined

  constructor(options: OutboxOptions) {
    this.#options = options
  }

  /** Whether `OUTBOX_BYTES_MAX` is reached. */
  get full(): boolean {
    return this.#bytes >= OUTBOX_BYTES_MAX
  }

  /** Resolves when the outbox is no longer full. */
  async drained(): Promise<void> {
    while (this.full && this.#dead === undefined) await new Promise<void>((resolve) => this.#drainers.push(resolve))
  }

  /** Appends events; resolves with the position of their write's end when they are durable, rejects when they never will be. */
  push(events: readonly DriverEvent[]): Promise<Position> {
    if (this.#dead !== undefined) return Promise.reject(this.#dead.reason as Error)
    if (this.#sealed !== undefined) return Promise.reject(this.#sealed)
    return new Promise((resolve, reject) => this.#add(events, { resolve, reject }))
  }

  /** Appends an event without telling when it is durable. After the outbox died or was sealed it is dropped: the next `push` says why. */
  emit(event: DriverEvent): void {
    if (this.#dead === undefined && this.#sealed === undefined) this.#add([event])
  }

  /** Refuses what comes from now on with `reason`; resolves as `settled`. */
  async seal(reason: Error): Promise<void> {
    this.#sealed ??= reason
    await this.settled()
  }

  /** Resolves when what was taken in stands in the log, or never will, with the last position that was written. */
  async settled(): Promise<Position> {
    while (this.#flushing !== undefined) await this.#flushing
    return this.#last
  }

  #add(events: readonly DriverEvent[], waiter?: Waiting['waiter']): void {
    const bytes = events.reduce((sum, event) => sum + sizeOf(event), 0)
    this.#bytes += bytes
    this.#waiting.push({ events, bytes, ...(waiter === undefined ? {} : { waiter }) })
    this.#flushing ??= this.#flush()
  }

  /** Commits what waits together with `last`, in one commit, and answers what became of `last`. */
  async commitLast(last: Write): Promise<WriteOutcome> {
    await this.settled()
    if (this.#dead?.canEnd === false) throw this.#dead.reason
    const [outcome] = await this.#options.commit([last])
    return outcome ?? { kind: 'fenced' }
  }

  async #flush(): Promise<void> {
    // Parts of one chunk of a provider's stream arrive in one turn of the loop: wait for its end and write them together.
    await this.#options.turn()
    while (this.#waiting.length > 0 && this.#dead === undefined) await this.#flushOnce(this.#take())
    this.#flushing = undefined
  }

  #take(): Waiting[] {
    let events = 0
    let count = 0
    for (const waiting of this.#waiting) {
      if (count > 0 && events + waiting.events.length > RECORD_EVENTS_MAX) break
      events += waiting.events.length
      count++
    }
    return this.#waiting.splice(0, count)
  }

  async #flushOnce(taken: readonly Waiting[]): Promise<void> {
    let canEnd = false
    try {
      const [outcome] = await this.#options.commit([this.#options.write(taken.flatMap((waiting) => waiting.events))])
      // The agent's own fault: its run is still ours, and is to be ended as failed.
      canEnd = outcome?.kind === 'refused'
      if (outcome?.kind === 'refused') throw new ConvokeError(outcome.code, outcome.message)
      if (outcome?.kind !== 'appended') throw this.#options.fenced()
      this.#last = outcome.to
      for (const waiting of taken) waiting.waiter?.resolve(outcome.to)
    } catch (error) {
      this.#dead = { reason: error, canEnd }
      for (const waiting of [...taken, ...this.#waiting.splice(0)]) waiting.waiter?.reject(error)
    } finally {
      for (const waiting of taken) this.#bytes -= waiting.bytes
      if (!this.full || this.#dead !== undefined) for (const wake of this.#drainers.splice(0)) wake()
    }
  }
}

function sizeOf(event: DriverEvent): number {
  switch (event.type) {
    case 'TextDelta':
    case 'ThinkingDelta':
      return EVENT_OVERHEAD_BYTES + event.delta.length
    case 'TextCompleted':
      return EVENT_OVERHEAD_BYTES + event.text.length
    case 'ToolCompleted':
      return EVENT_OVERHEAD_BYTES + event.result.length
    case 'ToolProgressed':
      return EVENT_OVERHEAD_BYTES + event.message.length
    default:
      return EVENT_OVERHEAD_BYTES * 4
  }
}
