/**
 * How events are written down: runs of deltas share one entry, so that a token costs its text and not its envelope.
 *
 * Nothing is merged: `unpackEvents(packEvents(x))` equals `x`, for any events.
 */
import type { StreamEvent } from '../domain/event.ts'
import type { RunId } from '../domain/ids.ts'

type Delta = Extract<StreamEvent, { type: 'TextDelta' | 'ThinkingDelta' }>

/** Several deltas of one run, in order. */
export interface PackedDeltas {
  readonly type: Delta['type']
  readonly runId: RunId
  readonly deltas: readonly string[]
}

/** Events as they are stored, ready for `JSON.stringify`. */
export function packEvents(events: readonly StreamEvent[]): readonly (StreamEvent | PackedDeltas)[] {
  const packed: (StreamEvent | PackedDeltas)[] = []
  let open: { type: Delta['type']; runId: RunId; deltas: string[] } | undefined
  for (const event of events) {
    if (!isDelta(event)) {
      packed.push(event)
      open = undefined
    } else if (open !== undefined && open.type === event.type && open.runId === event.runId) {
      open.deltas.push(event.delta)
    } else {
      open = { type: event.type, runId: event.runId, deltas: [event.delta] }
      packed.push(open)
    }
  }
  return packed
}

/** Whether an event is a delta with nothing besides its text: what a later version adds must not be lost. */
export function isDelta(event: unknown): event is Delta {
  if (typeof event !== 'object' || event === null || !('type' in event) || !('delta' in event)) return false
  return (event.type === 'TextDelta' || event.type === 'ThinkingDelta') && Object.keys(event).length === 3 && typeof event.delta === 'string'
}

/** Stored entries as one value per event; still to be read with `readEvent`. */
export function unpackEvents(stored: readonly unknown[]): readonly unknown[] {
  return stored.flatMap((entry) => {
    if (typeof entry !== 'object' || entry === null || !('deltas' in entry) || !Array.isArray(entry.deltas)) return [entry]
    const { type, runId, deltas } = entry as { type?: unknown; runId?: unknown; deltas: readonly unknown[] }
    return deltas.map((delta) => ({ type, runId, delta }))
  })
}
