/** Who gets a socket: the upgrade passes the same door as requests. */
import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { answersIn, connectRaw } from '../support/raw.ts'
import { openSocket, refusedSocket } from '../support/socket.ts'
import { openSurface, type Surface } from '../support/surface.ts'

const UNKNOWN = '01900000-0000-7000-8000-ffffffffffff'
const KEYS = [
  { user: 'ann', key: 'key-of-ann' },
  { user: 'bob', key: 'key-of-bob' },
  { user: 'ann', key: 'key-that-writes', scopes: ['sessions:write'] as const },
  { user: 'ann', key: 'key-of-old', expiresMs: 1 },
]
const ANN = { authorization: 'Bearer key-of-ann' }

let surface: Surface
let session: string
let foreign: string
beforeAll(async () => {
  surface = await openSurface({ keys: KEYS, cors: { origins: ['https://app.example'] }, streamsMax: 3 })
  session = await surface.session('ann')
  foreign = await surface.session('bob')
})
afterAll(() => surface.close())
const path = (id: string = session, query = ''): string => `/v1/sessions/${id}/ws${query}`

describe('a socket is opened', () => {
  test.each([
    ['a bearer key', ANN],
    ['a key in its own header', { 'x-api-key': 'key-of-ann' }],
    ['an origin that is configured', { ...ANN, origin: 'https://app.example' }],
  ])('with %s', async (_what, headers) => {
    const one = await openSocket(surface.url, path(session, '?after=0&events=all'), headers)
    expect(await one.until(() => true)).toMatchObject({ type: 'event', name: 'session_created', id: 1, session_id: session })
    one.socket.close()
    await one.closed
  })

  test('from a page of the server itself', async () => {
    const one = await openSocket(surface.url, path(), { ...ANN, origin: surface.url })
    one.socket.close()
    expect((await one.closed).code).toBe(1005)
  })

  test('under an id in upper case', async () => {
    const one = await openSocket(surface.url, path(session.toUpperCase(), '?after=0&events=all'), ANN)
    expect(await one.until(() => true)).toMatchObject({ session_id: session })
    one.socket.close()
    await one.closed
  })
})

describe('a socket is refused', () => {
  test.each([
    ['without a key', 'SESSION/ws', {}, 401, 'unauthorized'],
    ['with a wrong key', 'SESSION/ws', { authorization: 'Bearer nobody' }, 401, 'unauthorized'],
    ['with a key of another scheme', 'SESSION/ws', { authorization: 'Basic key-of-ann' }, 401, 'unauthorized'],
    ['with a key that has run out', 'SESSION/ws', { authorization: 'Bearer key-of-old' }, 401, 'unauthorized'],
    ['without the scope to read', 'SESSION/ws', { authorization: 'Bearer key-that-writes' }, 403, 'forbidden'],
    ['from another origin', 'SESSION/ws', { ...ANN, origin: 'https://evil.example' }, 403, 'forbidden_origin'],
    ['from the origin null', 'SESSION/ws', { ...ANN, origin: 'null' }, 403, 'forbidden_origin'],
    ['from an origin that only begins alike', 'SESSION/ws', { ...ANN, origin: 'https://app.example.evil.example' }, 403, 'forbidden_origin'],
    ['to another host', 'SESSION/ws', { ...ANN, host: 'evil.example' }, 403, 'forbidden_host'],
    ['for an unknown session', `${UNKNOWN}/ws`, ANN, 404, 'not_found'],
    ['for another’s session', 'FOREIGN/ws', ANN, 404, 'not_found'],
    ['for what is no id', 'abc/ws', ANN, 400, 'invalid_id'],
    ['for a path without sockets', 'SESSION/events', ANN, 404, 'route_not_found'],
    ['for a longer path', 'SESSION/ws/more', ANN, 404, 'route_not_found'],
    ['after what is no position', 'SESSION/ws?after=x', ANN, 400, 'invalid_cursor'],
    ['with an unknown view', 'SESSION/ws?events=some', ANN, 400, 'invalid_request'],
  ])('%s', async (_what, place, headers, status, code) => {
    const at = `/v1/sessions/${place.replace('SESSION', session).replace('FOREIGN', foreign)}`
    const refused = await refusedSocket(surface.url, at, headers as Record<string, string>)
    expect([refused.status, refused.json.status, refused.json.code]).toEqual([status, status, code])
    expect(refused.headers).toMatchObject({ 'content-type': 'application/problem+json', connection: 'close', 'x-request-id': refused.json.request_id })
    expect(refused.headers['www-authenticate']).toBe(status === 401 ? 'Bearer' : undefined)
  })

  test('for another’s session in the very words as for an unknown one (P11)', async () => {
    const text = async (id: string): Promise<string> =>
      (await refusedSocket(surface.url, path(id), { ...ANN, 'x-request-id': 'same' })).text.replaceAll(id, 'ID')
    expect(await text(foreign)).toBe(await text(UNKNOWN))
  })

  test('with the caller’s request id, where it may go into a header', async () => {
    expect((await refusedSocket(surface.url, path(UNKNOWN), { ...ANN, 'x-request-id': 'mine-1' })).json.request_id).toBe('mine-1')
    expect((await refusedSocket(surface.url, path(UNKNOWN), { ...ANN, 'x-request-id': 'not mine' })).json.request_id).toMatch(/^req_[0-9a-f]{32}$/)
  })

  test('beyond the limit of streams, and told when to come again', async () => {
    const open = await Promise.all([1, 2, 3].map(() => openSocket(surface.url, path(), ANN)))
    const refused = await refusedSocket(surface.url, path(), ANN)
    expect([refused.status, refused.json.code, refused.headers['retry-after']]).toEqual([503, 'too_many_streams', '5'])
    for (const one of open) one.socket.close()
    await Promise.all(open.map((one) => one.closed))
  })
})

describe('a handshake', () => {
  const shake = (change: Record<string, string | undefined> = {}, method = 'GET') => {
    const headers = {
      Host: new URL(surface.url).host,
      Connection: 'Upgrade',
      Upgrade: 'websocket',
      Authorization: 'Bearer key-of-ann',
      'Sec-WebSocket-Version': '13',
      'Sec-WebSocket-Key': randomBytes(16).toString('base64'),
      ...change,
    }
    const lines = Object.entries(headers).flatMap(([name, value]) => (value === undefined ? [] : [`${name}: ${value}`]))
    return `${method} ${path()} HTTP/1.1\r\n${lines.join('\r\n')}\r\n\r\n`
  }

  test.each([
    ['without a key', { 'Sec-WebSocket-Key': undefined }, 'GET'],
    ['with a short key', { 'Sec-WebSocket-Key': 'c2hvcnQ=' }, 'GET'],
    ['of another version', { 'Sec-WebSocket-Version': '7' }, 'GET'],
    ['by POST', {}, 'POST'],
    ['with a protocol list that is none', { 'Sec-WebSocket-Protocol': 'a,,b' }, 'GET'],
  ])('%s is answered 400', async (_what, change, method) => {
    const one = await connectRaw(surface.url)
    one.send(shake(change, method))
    const [answer] = answersIn(await one.ended)
    expect([answer?.status, JSON.parse(answer?.body ?? 'null').code]).toEqual([400, 'invalid_request'])
  })

  test('never gets a subprotocol back: a key that came as one would be shown, and none is spoken here', async () => {
    const one = await connectRaw(surface.url)
    one.send(shake({ 'Sec-WebSocket-Protocol': 'convoke, secret-token' }))
    const text = await one.until((seen) => seen.includes('\r\n\r\n'))
    expect(text).toMatch(/^HTTP\/1\.1 101 /)
    expect(text.toLowerCase()).not.toContain('sec-websocket-protocol')
    one.socket.destroy()
    await one.ended
  })

  test('does not compress: a small frame must not become a large one', async () => {
    const one = await connectRaw(surface.url)
    one.send(shake({ 'Sec-WebSocket-Extensions': 'permessage-deflate; client_max_window_bits' }))
    expect((await one.until((seen) => seen.includes('\r\n\r\n'))).toLowerCase()).not.toContain('permessage-deflate')
    one.socket.destroy()
    await one.ended
  })

  test('whose peer vanishes at once hurts nobody', async () => {
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        const one = await connectRaw(surface.url)
        one.send(shake())
        one.socket.resetAndDestroy()
        await one.ended
      }),
    )
    while (surface.context.streams.size > 0) await new Promise((resolve) => setImmediate(resolve))
    const one = await openSocket(surface.url, path(), ANN)
    one.socket.close()
    await one.closed
    expect(surface.errors).toEqual([])
  })
})

test('a listener that others can reach checks the origin of sockets too', async () => {
  const open = await openSurface({ keys: KEYS, loopback: false })
  const id = await open.session('ann')
  expect((await refusedSocket(open.url, path(id), { ...ANN, origin: 'https://evil.example' })).json.code).toBe('forbidden_origin')
  const own = await openSocket(open.url, path(id), { ...ANN, host: 'agents.example', origin: 'https://agents.example' })
  own.socket.close()
  await own.closed
  await open.close()
})
