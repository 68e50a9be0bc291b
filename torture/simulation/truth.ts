/** What was really written, as the disk told it in the moment in which it was durable. */
import type { Origin, Recorded } from '../../src/domain/event.ts'
import type { SessionId } from '../../src/domain/ids.ts'
import { bodyOf } from './frames.ts'

/** An event in the order of the feed. */
export interface FeedEntry {
  readonly stream: SessionId
  readonly position: number
  /** Number of its commit. */
  readonly feed: number
}

/** What a session reads of what another one wrote. */
interface Piece {
  readonly writer: SessionId
  readonly upTo: number
}

/** The logs of all sessions. */
export class Truth {
  /** Of those that are there: what they inherited, and what they wrote. */
  readonly streams = new Map<SessionId, Recorded[]>()
  /** Of those that were erased, as they were. */
  readonly erased = new Map<SessionId, Recorded[]>()
  /** All events that were written, in the order of their commits. */
  readonly feed: FeedEntry[] = []
  readonly #origins = new Map<SessionId, Origin>()
  readonly #bodies = new Map<SessionId, string[]>()

  /** Takes in what was committed next. */
  add(stream: SessionId, recorded: Recorded, feed = 0): void {
    const log = this.streams.get(stream) ?? this.#begin(stream, recorded)
    log.push(recorded)
    this.feed.push({ stream, position: recorded.position, feed })
  }

  #begin(stream: SessionId, { event }: Recorded): Recorded[] {
    const origin = event.type === 'SessionForked' ? event.origin : undefined
    if (origin !== undefined) this.#origins.set(stream, origin)
    const log = origin === undefined ? [] : this.logOf(origin.sessionId).slice(0, origin.position)
    this.streams.set(stream, log)
    return log
  }

  /** The session is there no more. */
  erase(stream: SessionId): void {
    this.erased.set(stream, this.logOf(stream))
    this.streams.delete(stream)
  }

  /** The log of a session that is there, or was. */
  logOf(stream: SessionId): Recorded[] {
    return this.streams.get(stream) ?? this.erased.get(stream) ?? []
  }

  /** Last position that it inherited. */
  baseOf(stream: SessionId): number {
    return this.#origins.get(stream)?.position ?? 0
  }

  /** What each session wrote itself, also those that were erased. */
  *own(): Generator<readonly [SessionId, readonly Recorded[]]> {
    for (const stream of [...this.streams.keys(), ...this.erased.keys()]) yield [stream, this.ownOf(stream)]
  }

  /** What the session wrote itself. */
  ownOf(stream: SessionId): readonly Recorded[] {
    const log = this.logOf(stream)
    const base = this.baseOf(stream)
    return base === 0 ? log : log.slice(base)
  }

  /** Of what each erased session wrote, the part that a session inherits which is there. */
  kept(): ReadonlyMap<SessionId, readonly Recorded[]> {
    const upTo = new Map<SessionId, number>()
    for (const stream of this.streams.keys()) {
      for (const piece of this.#inherited(stream)) upTo.set(piece.writer, Math.max(upTo.get(piece.writer) ?? 0, piece.upTo))
    }
    return new Map([...this.erased.keys()].map((stream) => [stream, this.ownOf(stream).filter(({ position }) => position <= (upTo.get(stream) ?? 0))]))
  }

  /** What a session inherits, from the last piece backwards. */
  *#inherited(stream: SessionId): Generator<Piece> {
    let origin = this.#origins.get(stream)
    for (let upTo = origin?.position ?? 0; origin !== undefined; origin = this.#origins.get(origin.sessionId)) {
      if (upTo > this.baseOf(origin.sessionId)) yield { writer: origin.sessionId, upTo }
      upTo = Math.min(upTo, this.baseOf(origin.sessionId))
    }
  }

  /** The text of an event as a reader must see it, or nothing where none was written. */
  bodyAt(stream: SessionId, position: number): string | undefined {
    const recorded = this.logOf(stream)[position - 1]
    if (recorded === undefined) return undefined
    const bodies = this.#bodies.get(stream) ?? []
    this.#bodies.set(stream, bodies)
    return (bodies[position - 1] ??= bodyOf(recorded.atMs, recorded.event))
  }

  headOf(stream: SessionId): number {
    return this.logOf(stream).length
  }
}
