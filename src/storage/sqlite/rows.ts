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

/** A batch of a row: what one write appended, its events as they were stored. */
export interface RowPart {
  readonly from: number
  readonly to: number
  readonly feed: number
  readonly atMs: number
  readonly values: readonly unknown[]
}

/** The body of a row that stands for several batches: their events, and where, when and by which commit each was appended, told by differences. */
export function encodeParts(parts: readonly RowPart[]): string {
  const at: number[] = []
  let [feed, from, atMs] = [0, 0, 0]
  for (const part of parts) {
    at.push(part.feed - feed, part.from - from, part.atMs - atMs)
    ;({ feed, from, atMs } = part)
  }
  return JSON.stringify({ at, events: packEvents(parts.flatMap(({ values }) => values as readonly StreamEvent[])) })
}

/** The batches of a row, one unless it is packed; `undefined` if its body is damaged. */
export function partsOf(row: BatchRow): readonly RowPart[] | undefined {
  const { first, last, feed, at_ms: atMs } = row
  try {
    const stored = JSON.parse(row.body) as unknown
    if (Array.isArray(stored)) {
      const values = unpackEvents(stored)
      return values.length === last - first + 1 ? [{ from: first, to: last, feed, atMs, values }] : undefined
    }
    const { at, events } = (stored ?? {}) as { readonly at?: unknown; readonly events?: unknown }
    if (!Array.isArray(at) || !Array.isArray(events) || at.length % 3 !== 0 || !at.every(Number.isSafeInteger)) return undefined
    return splitParts(row, at as readonly number[], unpackEvents(events))
  } catch {
    // Damaged: whoever asked says so.
    return undefined
  }
}

function splitParts(row: BatchRow, at: readonly number[], values: readonly unknown[]): readonly RowPart[] | undefined {
  const begins: { feed: number; from: number; atMs: number }[] = []
  let [feed, from, atMs] = [0, 0, 0]
  for (let index = 0; index < at.length; index += 3) {
    feed += at[index] ?? 0
    from += at[index + 1] ?? 0
    atMs += at[index + 2] ?? 0
    begins.push({ feed, from, atMs })
  }
  const parts = begins.map((begin, index): RowPart => {
    const to = (begins[index + 1]?.from ?? row.last + 1) - 1
    return { ...begin, to, values: values.slice(begin.from - row.first, to - row.first + 1) }
  })
  const isWhole = begins[0]?.from === row.first && values.length === row.last - row.first + 1 && parts.every((part) => part.to >= part.from)
  return isWhole ? parts : undefined
}

/** The batches of a row. A body that cannot be parsed reads as `Unknown` in each of its places. */
export function decodeBatches(stream: SessionId, row: BatchRow): readonly LogBatch[] {
  const parts = partsOf(row)
  if (parts !== undefined) return parts.map(({ from, to, feed, atMs, values }) => ({ stream, from, to, feed, atMs, events: values.map(readEvent) }))
  const { first, last, feed, at_ms: atMs } = row
  const events = Array.from({ length: last - first + 1 }, (): StreamEvent => ({ type: 'Unknown', originalType: 'damaged' }))
  return [{ stream, from: first, to: last, feed, atMs, events }]
}
