import type { StreamEvent } from '../domain/event.ts'
import type { Position, SessionId } from '../domain/ids.ts'
import type { LiveBatch } from './hub.ts'

/** Events of one stream that were appended together: what a codec is given. */
export interface EventBatch {
  readonly stream: SessionId
  readonly from: Position
  readonly to: Position
  /** Number in the feed; 0 where the batch is a slice of a replay. */
  readonly feed: number
  readonly atMs: number
  readonly events: readonly StreamEvent[]
}

/** Turns events into the bytes of one wire. Pure; the same batch always gives the same bytes. */
export interface Codec {
  /** Names the encoding: two codecs of one name must give the same bytes. */
  readonly name: string
  /** The frames of a batch; empty where the wire shows none of its events. */
  encode(batch: EventBatch): Uint8Array
}

/** The bytes of a live batch: encoded once, however many read it. */
export function encodeOnce(batch: LiveBatch, codec: Codec): Uint8Array {
  const known = batch.encoded.get(codec.name)
  if (known !== undefined) return known
  const bytes = codec.encode(batch)
  batch.encoded.set(codec.name, bytes)
  return bytes
}
