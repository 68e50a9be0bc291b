import type { WebSocket } from 'ws'
import type { ByteSink } from '../../stream/sink.ts'

const NEW_LINE = 10

/**
 * A WebSocket as a sink of lines: each goes out as one text message, without its line end. JSON has no bare line ends in it.
 *
 * One for each socket, for all readers that it has one after the other: only the last one's listeners count.
 */
export function socketSink(socket: WebSocket): ByteSink {
  let full = false
  let drained: () => void = () => undefined
  let gone: () => void = () => undefined
  socket.once('close', () => gone())
  const left = () => {
    if (!full || socket.bufferedAmount > 0) return
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
        if (to > from) socket.send(bytes.subarray(from, to), { binary: false }, left)
        from = to + 1
      }
      full ||= socket.bufferedAmount > 0
      return !full
    },
    buffered: () => socket.bufferedAmount,
    end: () => socket.close(1000),
    destroy: () => socket.terminate(),
    onDrain: (listener) => void (drained = listener),
    onClose(listener) {
      if (socket.readyState === socket.CLOSED) return listener()
      gone = listener
    },
  }
}
