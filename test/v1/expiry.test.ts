/** What a key has opened ends when the key does (protocol K5). */
import { once } from 'node:events'
import { afterAll, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { ask } from '../support/http.ts'
import { openSurface } from '../support/surface.ts'

const LIFE_MS = 60_000
const NOW = 1_700_000_000_000
const surface = await openSurface({
  keys: [
    { user: 'ann', key: 'key-of-ann' },
    { user: 'ann', key: 'short-key-of-ann', expiresMs: NOW + LIFE_MS },
  ],
})
afterAll(() => surface.close())

test('streams and sockets of a key end when it expires, those of another stay', async () => {
  const session = (await ask(surface.url, 'POST', '/v1/sessions', { title: 'x' }, { 'x-api-key': 'key-of-ann' })).json.id as string
  const stream = (key: string, path = `/v1/sessions/${session}/events`) => fetch(`${surface.url}${path}`, { headers: { 'x-api-key': key } })
  const [short, feed, long] = [await stream('short-key-of-ann'), await stream('short-key-of-ann', '/v1/events'), await stream('key-of-ann')]
  const socket = new WebSocket(`${surface.url.replace('http', 'ws')}/v1/sessions/${session}/ws`, { headers: { 'x-api-key': 'short-key-of-ann' } })
  await once(socket, 'open')
  expect(surface.context.streams.size).toBe(4)
  const closed = once(socket, 'close')
  surface.clock.advance(LIFE_MS)
  expect(await short.text()).toContain(': head 1')
  expect(await feed.text()).toContain(': head')
  expect((await closed)[0]).toBe(4401)
  await expect.poll(() => surface.context.streams.size).toBe(1)
  expect((await stream('short-key-of-ann')).status).toBe(401)
  await long.body?.cancel()
})

test('a stream that ended before leaves no timer', async () => {
  const before = surface.clock.pending
  const session = (await ask(surface.url, 'POST', '/v1/sessions', { title: 'x' }, { 'x-api-key': 'key-of-ann' })).json.id as string
  const one = await fetch(`${surface.url}/v1/sessions/${session}/events`, { headers: { 'x-api-key': 'key-of-ann' } })
  await one.body?.cancel()
  await expect.poll(() => surface.clock.pending).toBeLessThanOrEqual(before)
})
