/** Rows to values and back. */
import type { LogBatch } from '../../log/store.ts'
import type { OpenCall, QueuedMessage, SessionState } from '../../domain/session.ts'
import type { SessionId } from '../../domain/ids.ts'
import type { StreamEvent } from '../../domain/event.ts'
import { readEvent } from '../../domain/event-types.ts'
import { packEvents, unpackEvents } from '../../log/packing.ts'

/** A row of `stream`. */
export interface StreamRow {
  readonly key: number
  readonly id: string
  readonly owner: string
  readonly head: number
  /** Positions up to here are inherited. */
  readonly base: number
  readonly state: string
  /** Places of the newest batches. @see places.ts */
  readonly places: string
}
/** A row of `batch`, with its stream's id. */
export interface BatchRow {
  readonly feed: number
  readonly first: number
  readonly last: number
  readonly at_ms: number
  readonly body: string
}

/** The state's own row: what does not stand in `stream_item`. */
export function encodeState(state: SessionState): string {
  const { queue: _queue, calls: _calls, ...rest } = state
  return JSON.stringify(rest)
}

/** The state from its row and its items. */
export function decodeState(state: string, queue: readonly QueuedMessage[], calls: readonly OpenCall[]): SessionState {
  return { ...(JSON.parse(state) as Omit<SessionState, 'queue' | 'calls'>), queue, calls }
}

/** The events of a batch as its body. */
export function encodeEvents(events: readonly StreamEvent[]): string {
  return JSON.stringify(packEvents(events))
}

/** The events of a batch. A body that cannot be parsed reads as `Unknown` in each of its places. */
export function decodeBatch(stream: SessionId, row: BatchRow): LogBatch {
  const { first, last, feed, at_ms: atMs } = row
  return { stream, from: first, to: last, feed, atMs, events: decodeEvents(row) }
}

function decodeEvents(row: BatchRow): readonly StreamEvent[] {
  const count = row.last - row.first + 1
  try {
    const stored = JSON.parse(row.body) as unknown
    const events = Array.isArray(stored) ? unpackEvents(stored).map(readEvent) : []
    if (events.length === count) return events
  } catch {
    // Damaged: the placeholders below say so to whoever reads.
  }
  return Array.from({ length: count }, () => ({ type: 'Unknown', originalType: 'damaged' }))
}
