/** A Node response as a sink: what is written in one turn of the loop goes out as one piece. */
import type { ServerResponse } from 'node:http'
import type { ByteSink } from '../stream/sink.ts'

/** The sink over `response`, whose head was sent. Not by `cork`: a response that is ended while corked loses what it holds. */
export function responseSink(response: ServerResponse): ByteSink {
  let gathered: Uint8Array[] = []
  let gatheredBytes = 0
  let closed = false
  const flush = () => {
    if (gathered.length === 0) return
    const bytes = gathered.length === 1 ? (gathered[0] as Uint8Array) : Buffer.concat(gathered)
    gathered = []
    gatheredBytes = 0
    if (!closed && !response.writableEnded) response.write(bytes)
  }
  return {
    write(bytes) {
      if (closed || response.writableEnded) return false
      if (gathered.length === 0) setImmediate(flush)
      gathered.push(bytes)
      gatheredBytes += bytes.length
      return !response.writableNeedDrain && gatheredBytes < response.writableHighWaterMark
    },
    buffered: () => response.writableLength + gatheredBytes,
    end() {
      flush()
      response.end()
    },
    destroy: () => void response.destroy(),
    onDrain: (listener) => void response.on('drain', listener),
    onClose(listener) {
      if (response.closed || response.destroyed) return listener()
      response.once('close', () => {
        closed = true
        listener()
      })
    },
  }
}

/** The head of an event stream (HTML, section "server-sent events"). */
export const SSE_HEADERS = {
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache, no-transform',
  'x-accel-buffering': 'no',
} as const

/** What opens every event stream: how long to wait before reconnecting, in ms. */
export const SSE_RETRY = 'retry: 2000\n\n'
/** What is written into silence. */
export const SSE_KEEP_ALIVE = new TextEncoder().encode(': keepalive\n\n')
/** What tells readers that the server stops: come back in a moment. */
export const SSE_GOODBYE = new TextEncoder().encode(': the server stops\nretry: 1000\n\n')
