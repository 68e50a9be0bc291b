/**
 * Slices of logs as they were encoded last: what many readers replay is read and encoded once.
 *
 * A slice is the events behind a multiple of `SLICE_EVENTS` up to the next one. The log never changes, so a whole slice stays right;
 * only memory bounds how long it is kept.
 */
import type { Recorded } from '../domain/event.ts'
import type { Position, SessionId } from '../domain/ids.ts'
import type { EventBatch } from './codec.ts'

/** Events of a slice. What a reader is given beyond its limit is at most one. */
export const SLICE_EVENTS = 32
/** Bytes of all slices that are kept for the readers of one store. */
export const SLICES_BYTES_MAX = 4 * 1024 * 1024

/** The slices that were used last. */
export class Slices {
  readonly #kept = new Map<string, Uint8Array>()
  #bytes = 0

  /** The slice behind `after`, if it is known. */
  get(codec: string, stream: SessionId, after: Position): Uint8Array | undefined {
    if (after % SLICE_EVENTS !== 0) return undefined
    const key = keyOf(codec, stream, after)
    const bytes = this.#kept.get(key)
    if (bytes === undefined) return undefined
    this.#kept.delete(key)
    this.#kept.set(key, bytes)
    return bytes
  }

  /** Keeps the slice behind `after`; the ones that were not asked for longest make room. */
  keep(codec: string, stream: SessionId, after: Position, bytes: Uint8Array): void {
    const key = keyOf(codec, stream, after)
    this.#bytes += bytes.length - (this.#kept.get(key)?.length ?? 0)
    this.#kept.set(key, bytes)
    for (const [oldest, { length }] of this.#kept) {
      if (this.#bytes <= SLICES_BYTES_MAX) return
      this.#kept.delete(oldest)
      this.#bytes -= length
    }
  }

  /** Bytes that are kept now. */
  get bytes(): number {
    return this.#bytes
  }
}

function keyOf(codec: string, stream: SessionId, after: Position): string {
  return `${codec} ${stream} ${after}`
}

/** A page cut at the slices' borders; each part as batches, because events of one batch have one time. */
export function* slicesOf(stream: SessionId, events: readonly Recorded[]): Generator<readonly EventBatch[]> {
  for (let from = 0; from < events.length;) {
    const first = (events[from] as Recorded).position
    const to = Math.min(events.length, from + SLICE_EVENTS - ((first - 1) % SLICE_EVENTS))
    yield batchesOf(stream, events.slice(from, to))
    from = to
  }
}

function batchesOf(stream: SessionId, events: readonly Recorded[]): readonly EventBatch[] {
  const batches: EventBatch[] = []
  for (let from = 0; from < events.length;) {
    const { position, atMs } = events[from] as Recorded
    let to = from + 1
    while (to < events.length && events[to]?.atMs === atMs) to++
    batches.push({ stream, from: position, to: position + to - from - 1, feed: 0, atMs, events: events.slice(from, to).map(({ event }) => event) })
    from = to
  }
  return batches
}

/** `events` without a broken slice at their end, so that the next page begins at a border; all of them where `head` ends the log there. */
export function wholeSlices(events: readonly Recorded[], head: Position): readonly Recorded[] {
  const first = events[0]?.position ?? 0
  const last = events.at(-1)?.position ?? 0
  const border = last - (last % SLICE_EVENTS)
  return last >= head || border < first ? events : events.slice(0, border - first + 1)
}
