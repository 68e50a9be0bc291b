import type { LogBatch } from '../log/store.ts'
import type { LiveBatch } from './hub.ts'

/** Turns events into the bytes of one wire. Pure; the same batch always gives the same bytes. */
export interface Codec {
  /** Names the encoding: two codecs of one name must give the same bytes. */
  readonly name: string
  /** The frames of a batch; empty where the wire shows none of its events. */
  encode(batch: LogBatch): Uint8Array
}

/** The bytes of a live batch: encoded once, however many read it. */
export function encodeOnce(batch: LiveBatch, codec: Codec): Uint8Array {
  const known = batch.encoded.get(codec.name)
  if (known !== undefined) return known
  const bytes = codec.encode(batch)
  batch.encoded.set(codec.name, bytes)
  return bytes
}
