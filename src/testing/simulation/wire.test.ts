import { expect, test } from 'vitest'
import { Scheduler } from './scheduler.ts'
import { seededRandom } from './seeded.ts'
import { SimulatedWire, type WireOptions } from './wire.ts'

function connection(changes: Partial<WireOptions> = {}) {
  const random = seededRandom(1)
  const scheduler = new Scheduler(random)
  const network = scheduler.scope('network')
  const server = scheduler.scope('server')
  let received = ''
  const told: string[] = []
  const receive = (bytes: Uint8Array) => void (received += new TextDecoder().decode(bytes))
  const wire = new SimulatedWire({ network, server, random, latencyMs: 5, pieceBytes: 7, receive, broken: () => told.push('client'), ...changes })
  wire.onClose(() => told.push('server'))
  wire.onDrain(() => told.push('drained'))
  const write = (text: string) => wire.write(new TextEncoder().encode(text))
  return { wire, write, network, server, told, read: () => received, run: () => scheduler.run(() => false, 100_000) }
}

test('what is written arrives whole and in order, in pieces', async () => {
  const { wire, write, run, read } = connection()
  expect(write('one two ')).toBe(true)
  expect(write('three four five')).toBe(true)
  expect([read(), wire.buffered()]).toEqual(['', 23])
  await run()
  expect([read(), wire.buffered()]).toEqual(['one two three four five', 0])
})

test('a full sink says so, and tells when it has drained', async () => {
  const { wire, write, run, told } = connection({ pieceBytes: 10_000 })
  expect(write('x'.repeat(17_000))).toBe(false)
  expect(told).toEqual([])
  await run()
  expect([told, wire.mostBuffered]).toEqual([['drained'], 17_000])
})

test('a client that stalls gets nothing until it reads on', async () => {
  const { wire, write, run, read } = connection()
  wire.stall()
  write('late')
  await run()
  expect([read(), wire.buffered()]).toEqual(['', 4])
  wire.flow()
  await run()
  expect(read()).toBe('late')
})

test('a broken connection ends anywhere in what was on its way, and both sides learn of it once', async () => {
  const { wire, write, run, read, told } = connection()
  write('a frame that may be cut')
  wire.break()
  wire.break()
  expect(write('more')).toBe(false)
  await run()
  expect('a frame that may be cut'.startsWith(read())).toBe(true)
  expect(told.toSorted()).toEqual(['client', 'server'])
})

test('an end comes behind what was written', async () => {
  const { wire, write, run, read, told } = connection()
  write('the last words')
  wire.end()
  expect([write('too late'), wire.closed]).toEqual([false, false])
  await run()
  expect([read(), told.toSorted()]).toEqual(['the last words', ['client', 'server']])
})

test('a dead server is told nothing', async () => {
  const { wire, server, run, told } = connection()
  server.kill()
  wire.break()
  await run()
  expect(told).toEqual(['client'])
})

test('whoever asks of a closed connection is told at once', async () => {
  const { wire, run } = connection()
  wire.destroy()
  await run()
  let told = false
  wire.onClose(() => (told = true))
  expect(told).toBe(true)
})
