import type { SessionState } from '../../domain/session.ts'
import type { SessionSummary } from '../../projection/session-summary.ts'

/** Streams that the writer keeps in memory. */
export const HOT_STREAMS_MAX = 4096

/** A stream as the writer knows it. Changed only inside a transaction; dropped when one fails. */
export interface HotStream {
  /** `undefined` until the row exists. */
  key: number | undefined
  head: number
  /** Positions up to here are inherited. 0: none. */
  base: number
  /** Places of the newest batches, and how many. @see places.ts */
  places: string
  placeCount: number
  state: SessionState | undefined
  summary: SessionSummary | undefined
  /** What the tables hold, to write only what differs. */
  stored: { state: SessionState | undefined; summary: SessionSummary | undefined; head: number }
}

/** The streams that were written last, least recently used first. */
export class HotStreams {
  readonly #streams = new Map<string, HotStream>()

  get(id: string): HotStream | undefined {
    const stream = this.#streams.get(id)
    if (stream === undefined) return undefined
    this.#streams.delete(id)
    this.#streams.set(id, stream)
    return stream
  }

  set(id: string, stream: HotStream): void {
    this.#streams.set(id, stream)
  }

  delete(id: string): void {
    this.#streams.delete(id)
  }

  /** Drops what is over `HOT_STREAMS_MAX`. Not to be called inside a transaction: unsaved streams must stay. */
  trim(): void {
    for (const id of this.#streams.keys()) {
      if (this.#streams.size <= HOT_STREAMS_MAX) return
      this.#streams.delete(id)
    }
  }

  clear(): void {
    this.#streams.clear()
  }
}
