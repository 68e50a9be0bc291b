/** A Node response as a sink: what is written in one turn of the loop goes out as one piece. */
import type { ServerResponse } from 'node:http'
import type { ByteSink } from '../stream/sink.ts'

/** Bytes that a sink takes before it asks its writer to wait. */
const WRITABLE_BYTES = 64 * 1024
/** Bytes that are copied into one chunk; more is cheaper to write as it is. */
const JOINED_BYTES_MAX = 16 * 1024

/** The sink over `response`, whose head was sent. What leaves it is counted by the callbacks of its writes, not by `drain`. */
export function responseSink(response: ServerResponse): ByteSink {
  let pieces: Uint8Array[] = []
  let waiting = 0
  let scheduled = false
  let full = false
  let drained: () => void = () => undefined
  let closed = response.closed || response.destroyed
  if (!closed) response.once('close', () => (closed = true))

  const left = (bytes: number) => {
    waiting -= bytes
    if (waiting > 0 || !full || closed) return
    full = false
    drained()
  }
  const flush = () => {
    scheduled = false
    const batch = pieces
    pieces = []
    const last = batch.at(-1)
    if (last === undefined || closed || response.writableEnded) return
    const bytes = batch.reduce((sum, piece) => sum + piece.length, 0)
    // Not corked by us: Node corks the socket for one turn itself, while its `uncork` writes each part of a chunk by a call of its own.
    if (bytes <= JOINED_BYTES_MAX && batch.length > 1) return void response.write(Buffer.concat(batch, bytes), () => left(bytes))
    for (let index = 0; index < batch.length - 1; index++) response.write(batch[index] as Uint8Array)
    response.write(last, () => left(bytes))
  }
  return {
    write(bytes) {
      if (closed || response.writableEnded) return false
      pieces.push(bytes)
      waiting += bytes.length
      if (!scheduled) {
        scheduled = true
        setImmediate(flush)
      }
      full ||= waiting >= WRITABLE_BYTES
      return !full
    },
    buffered: () => waiting,
    end() {
      flush()
      response.end()
    },
    destroy: () => void response.destroy(),
    onDrain: (listener) => void (drained = listener),
    onClose(listener) {
      if (closed) return listener()
      response.once('close', listener)
    },
  }
}

/** The head of an event stream (HTML, section "server-sent events"). */
export const SSE_HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
} as const

/** First line of every event stream: how long to wait before reconnecting, in ms. A blank line must follow. */
export const SSE_RETRY = 'retry: 2000\n'
/** What is written into silence. */
export const SSE_KEEP_ALIVE = new TextEncoder().encode(': keepalive\n\n')
/** What tells readers that the server stops: come back in a moment. */
export const SSE_GOODBYE = new TextEncoder().encode(': the server stops\nretry: 1000\n\n')
