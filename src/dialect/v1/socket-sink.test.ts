import { EventEmitter } from 'node:events'
import type { WebSocket } from 'ws'
import { expect, test } from 'vitest'
import { socketSink } from './socket-sink.ts'

/** As much of a socket as a sink touches. */
class Socket extends EventEmitter {
  readonly OPEN = 1
  readonly CLOSED = 3
  readyState = 1
  bufferedAmount = 0
  readonly sent: string[] = []
  readonly callbacks: (() => void)[] = []
  send(bytes: Uint8Array, _options: object, done: () => void) {
    this.sent.push(Buffer.from(bytes).toString())
    this.callbacks.push(done)
  }
}
const open = () => {
  const socket = new Socket()
  return { socket, sink: socketSink(socket as unknown as WebSocket) }
}

test('each line is one message, without its end', () => {
  const { socket, sink } = open()
  sink.write(Buffer.from('{"a":1}\n{"b":"ü"}\n\nlast'))
  expect(socket.sent).toEqual(['{"a":1}', '{"b":"ü"}', 'last'])
})

test('one that is full says so until all that it wrote has left, whatever else the socket sends', () => {
  const { socket, sink } = open()
  let drains = 0
  sink.onDrain(() => drains++)
  expect(sink.write(Buffer.from('abc\nde\n'))).toBe(false)
  expect(sink.buffered()).toBe(5)
  socket.bufferedAmount = 1000
  socket.callbacks[0]?.()
  expect([drains, sink.buffered()]).toEqual([0, 2])
  socket.callbacks[1]?.()
  expect([drains, sink.buffered()]).toEqual([1, 0])
})

test('however many readers follow each other on one socket, it has one listener, and the last reader is told', () => {
  const { socket, sink } = open()
  const told: number[] = []
  for (let reader = 1; reader <= 100; reader++) sink.onClose(() => told.push(reader))
  expect(socket.listenerCount('close')).toBe(1)
  socket.emit('close')
  expect(told).toEqual([100])
})

test('a reader that comes after the end is told at once, and nothing is sent', () => {
  const { socket, sink } = open()
  socket.readyState = socket.CLOSED
  let told = false
  sink.onClose(() => (told = true))
  expect(told).toBe(true)
  expect(sink.write(Buffer.from('a\n'))).toBe(false)
  expect(socket.sent).toEqual([])
})
