/** The wire of the simulation: each event is one frame, `HEAD JSON PADDING`, so that a client can tell a whole frame from a cut one. */
import type { StreamEvent } from '../../src/domain/event.ts'
import type { EventBatch } from '../../src/stream/codec.ts'
import { encodeFeedCursor } from '../../src/stream/feed-tail.ts'

/** Bytes that a large frame is filled up with: eight of them fill a reader's buffer. */
export const PADDING_BYTES = 32 * 1024
const PADDING = Buffer.alloc(PADDING_BYTES, '.')
const NO_PADDING = Buffer.alloc(0)

/** A frame as a client has read it. */
export interface Frame {
  /** A position, or a cursor of the feed. */
  readonly cursor: string
  readonly stream: string
  readonly position: number
  /** Time and event, as text. */
  readonly body: string
}

/** The text of an event: what a client must have seen of it. */
export function bodyOf(atMs: number, event: StreamEvent): string {
  return `${atMs} ${JSON.stringify(event)}`
}

/** The frames of one stream. */
export function encodeTail(batch: EventBatch, large: boolean): Uint8Array {
  return encode(batch, 0, large, (index) => String(batch.from + index))
}

/** The frames of the feed, from event `skip` on. */
export function encodeFeed(batch: EventBatch, skip: number, large: boolean): Uint8Array {
  return encode(batch, skip, large, (index) => encodeFeedCursor({ feed: batch.feed, count: index + 1 }))
}

function encode({ stream, from, atMs, events }: EventBatch, skip: number, large: boolean, cursorOf: (index: number) => string): Uint8Array {
  const padding = large ? PADDING : NO_PADDING
  const pieces = events.slice(skip).flatMap((event, at) => {
    const body = Buffer.from(bodyOf(atMs, event))
    const index = at + skip
    return [Buffer.from(`${cursorOf(index)} ${stream} ${from + index} ${body.length} ${padding.length}\n`), body, padding]
  })
  return Buffer.concat(pieces)
}

/** Puts pieces of bytes together to frames. */
export class FrameReader {
  #bytes = Buffer.alloc(0)

  /** The frames that are complete with `piece`. Keep-alives are skipped. */
  push(piece: Uint8Array): readonly Frame[] {
    this.#bytes = this.#bytes.length === 0 ? Buffer.from(piece) : Buffer.concat([this.#bytes, piece])
    const frames: Frame[] = []
    let at = 0
    for (;;) {
      while (this.#bytes[at] === 0x3a) at++
      const end = this.#bytes.indexOf(0x0a, at)
      if (end === -1) break
      const [cursor = '', stream = '', position, length, padding] = this.#bytes.toString('latin1', at, end).split(' ')
      const next = end + 1 + Number(length) + Number(padding)
      if (next > this.#bytes.length) break
      frames.push({ cursor, stream, position: Number(position), body: this.#bytes.toString('utf8', end + 1, end + 1 + Number(length)) })
      at = next
    }
    this.#bytes = this.#bytes.subarray(at)
    return frames
  }
}
