import type { WebSocket } from 'ws'
import type { ByteSink } from '../../stream/sink.ts'

const NEW_LINE = 10

/**
 * A WebSocket as a sink of lines: each goes out as one text message, without its line end. JSON has no bare line ends in it.
 *
 * One for each socket, for all readers that it has one after the other: only the last one's listeners count.
 */
export function socketSink(socket: WebSocket): ByteSink {
  /** Bytes of ours that the socket has not taken yet: its own count holds answers and pings too. */
  let waiting = 0
  let full = false
  let drained: () => void = () => undefined
  let gone: () => void = () => undefined
  socket.once('close', () => gone())
  const left = (bytes: number) => {
    waiting -= bytes
    if (!full || waiting > 0) return
    full = false
    drained()
  }
  return {
    write(bytes) {
      if (socket.readyState !== socket.OPEN) return false
      for (let from = 0; from < bytes.length;) {
        const end = bytes.indexOf(NEW_LINE, from)
        const to = end === -1 ? bytes.length : end
        // The callback also gets the error of a socket that breaks: its `close` tells the reader.
        if (to > from) {
          const line = bytes.subarray(from, to)
          waiting += line.length
          socket.send(line, { binary: false }, () => left(line.length))
        }
        from = to + 1
      }
      full ||= waiting > 0
      return !full
    },
    buffered: () => waiting,
    end: () => socket.close(1000),
    destroy: () => socket.terminate(),
    onDrain: (listener) => void (drained = listener),
    onClose(listener) {
      if (socket.readyState === socket.CLOSED) return listener()
      gone = listener
    },
  }
}
