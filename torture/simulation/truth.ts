/** What was really written, as the disk told it in the moment in which it was durable. */
import type { Recorded } from '../../src/domain/event.ts'
import type { SessionId } from '../../src/domain/ids.ts'
import { bodyOf } from './frames.ts'

/** An event in the order of the feed. */
export interface FeedEntry {
  readonly stream: SessionId
  readonly position: number
}

/** The logs of all sessions. */
export class Truth {
  readonly streams = new Map<SessionId, Recorded[]>()
  /** All events, in the order of their commits. */
  readonly feed: FeedEntry[] = []
  readonly #bodies = new Map<SessionId, string[]>()

  /** Takes in what was committed next. */
  add(stream: SessionId, recorded: Recorded): void {
    const log = this.streams.get(stream) ?? []
    this.streams.set(stream, log)
    log.push(recorded)
    this.feed.push({ stream, position: recorded.position })
  }

  /** The text of an event as a reader must see it, or nothing where none was written. */
  bodyAt(stream: SessionId, position: number): string | undefined {
    const recorded = this.streams.get(stream)?.[position - 1]
    if (recorded === undefined) return undefined
    const bodies = this.#bodies.get(stream) ?? []
    this.#bodies.set(stream, bodies)
    return (bodies[position - 1] ??= bodyOf(recorded.atMs, recorded.event))
  }

  headOf(stream: SessionId): number {
    return this.streams.get(stream)?.length ?? 0
  }
}
