/** Bodies and connections that do not do what clients do: over-long, cut off, piled up (P13). */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ask } from '../support/http.ts'
import { answersIn, rawPeers, type RawAnswer } from '../support/raw.ts'
import { openSurface, type Surface } from '../support/surface.ts'

const BODY_MAX = 64 * 1024
let surface: Surface
beforeAll(async () => void (surface = await openSurface({ bodyBytesMax: BODY_MAX })))
afterAll(() => surface.close())

const peer = rawPeers(() => surface.url)

const post = (headers: string, path = '/v1/sessions') => `POST ${path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n${headers}\r\n`
const chunk = (text: string) => `${text.length.toString(16)}\r\n${text}\r\n`
const code = (answer: RawAnswer | undefined) => JSON.parse(answer?.body || 'null')?.code
const sized = (body: string) => `${post(`Content-Length: ${Buffer.byteLength(body)}\r\n`)}${body}`
const title = (text: string) => JSON.stringify({ title: text })

describe('a body', () => {
  test('that announces too much is refused before it comes, and what does come is not read as the next request', async () => {
    const one = await peer()
    one.send(`${post(`Content-Length: ${BODY_MAX + 1}\r\n`)}GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n`)
    const answers = answersIn(await one.ended)
    expect(answers.map((answer) => [answer.status, code(answer), answer.headers['connection']])).toEqual([[413, 'payload_too_large', 'close']])
  })

  test('that announces more digits than a number can hold is refused', async () => {
    const one = await peer()
    one.send(post(`Content-Length: ${'9'.repeat(30)}\r\n`))
    const [answer] = answersIn(await one.ended)
    expect([400, 413]).toContain(answer?.status)
  })

  test('in chunks that becomes too much is refused as soon as it does', async () => {
    const one = await peer()
    one.send(post('Transfer-Encoding: chunked\r\n'))
    for (let sent = 0; sent <= BODY_MAX; sent += 1024) one.send(chunk('x'.repeat(1024)))
    const [answer, ...more] = answersIn(await one.ended)
    expect([answer?.status, code(answer), answer?.headers['connection']]).toEqual([413, 'payload_too_large', 'close'])
    expect(more).toEqual([])
  })

  test('of exactly the limit is read, one byte more is not', async () => {
    const overhead = Buffer.byteLength(title(''))
    for (const [size, status] of [
      [BODY_MAX, 422],
      [BODY_MAX + 1, 413],
    ] as const) {
      const one = await peer()
      one.send(sized(title('x'.repeat(size - overhead))))
      await one.until((text) => answersIn(text).length > 0)
      expect(answersIn(one.text)[0]?.status).toBe(status)
    }
  })

  test('in chunks of one byte is put together, letters of several bytes too', async () => {
    const one = await peer()
    one.send(post('Transfer-Encoding: chunked\r\nConnection: close\r\n'))
    for (const byte of Buffer.from(title('in pieces: ü€😀'))) one.send(Buffer.from([0x31, 13, 10, byte, 13, 10]))
    one.send('0\r\n\r\n')
    const [answer] = answersIn(await one.ended)
    expect(answer?.status).toBe(201)
    expect(JSON.parse(answer?.body ?? '')).toMatchObject({ title: 'in pieces: ü€😀' })
  })

  test.each([
    ['a chunk size that is no number', 'zz\r\nhello\r\n'],
    ['a chunk size beyond all numbers', `${'f'.repeat(40)}\r\nhello\r\n`],
    ['a chunk without its line end', '5\r\nhelloXX0\r\n\r\n'],
  ])('with %s ends the connection without an effect', async (_what, bytes) => {
    const before = (await ask(surface.url, 'GET', '/v1/sessions')).json.total
    const one = await peer()
    one.send(`${post('Transfer-Encoding: chunked\r\n')}${bytes}`)
    for (const answer of answersIn(await one.ended)) expect([answer.status, code(answer)]).toEqual([400, 'invalid_request'])
    expect((await ask(surface.url, 'GET', '/v1/sessions')).json.total).toBe(before)
  })

  test('that is expected with 100-continue is asked for', async () => {
    const one = await peer()
    const body = title('asked for')
    one.send(post(`Expect: 100-continue\r\nConnection: close\r\nContent-Length: ${body.length}\r\n`))
    expect(await one.until((text) => text.includes('\r\n\r\n'))).toMatch(/^HTTP\/1\.1 100 /)
    one.send(body)
    expect(answersIn(await one.ended).map(({ status }) => status)).toEqual([100, 201])
  })

  test('on a GET is ignored', async () => {
    const one = await peer()
    one.send(`GET /v1/health HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello`)
    expect(answersIn(await one.ended).map(({ status }) => status)).toEqual([200])
  })

  test('of which only half came, then nobody is there, has no effect and is nobody’s failure', async () => {
    const before = surface.reports.length
    const one = await peer()
    one.send(`${post('Content-Length: 100\r\n')}{"title":`)
    await one.until(() => true)
    // The server must have begun to read: another request behind it in time says so.
    await ask(surface.url, 'GET', '/v1/health')
    one.socket.destroy()
    await one.ended
    while (!surface.reports.slice(before).some(({ method }) => method === 'POST')) await ask(surface.url, 'GET', '/v1/health')
    expect(surface.errors).toEqual([])
  })
})

describe('a connection', () => {
  test('carries piled-up requests, answered in their order', async () => {
    const one = await peer()
    const get = (path: string, close = '') => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n${close}\r\n`
    one.send(get('/v1/health') + sized(title('piled')) + get('/v1/nothing') + get('/v1/config', 'Connection: close\r\n'))
    expect(answersIn(await one.ended).map(({ status }) => status)).toEqual([200, 201, 404, 200])
  })

  test('is kept after an error that left nothing unread', async () => {
    const one = await peer()
    one.send(sized('{"title":'))
    await one.until((text) => answersIn(text).length === 1)
    one.send(sized(title('again')))
    await one.until((text) => answersIn(text).length === 2)
    expect(answersIn(one.text).map(({ status }) => status)).toEqual([400, 201])
  })

  test('is kept after a refusal that did not look at the body', async () => {
    const one = await peer()
    one.send(sized(title('a')).replace('application/json', 'text/plain') + sized(title('b')))
    await one.until((text) => answersIn(text).length === 2)
    expect(answersIn(one.text).map(({ status }) => status)).toEqual([415, 201])
  })

  test('in HTTP/1.0 is answered and closed, a stream too', async () => {
    const plain = await peer()
    plain.send('GET /v1/health HTTP/1.0\r\nHost: localhost\r\n\r\n')
    expect(answersIn(await plain.ended)[0]?.status).toBe(200)
    const run = await surface.run(await surface.session())
    const stream = await peer()
    stream.send(`GET /v1/sessions/${run.session}/events?after=0 HTTP/1.0\r\nHost: localhost\r\n\r\n`)
    const text = await stream.until((seen) => seen.includes('run_started'))
    expect(text).not.toContain('chunked')
    expect(text).toContain('event: run_started\n')
  })

  test('with half a head holds up nobody', async () => {
    const half = await peer()
    half.send('GET /v1/health HTTP/1.1\r\nHos')
    for (let count = 0; count < 5; count++) expect((await ask(surface.url, 'GET', '/v1/health')).status).toBe(200)
    half.send('t: localhost\r\nConnection: close\r\n\r\n')
    expect(answersIn(await half.ended)[0]?.status).toBe(200)
  })

  test('that ends its side after the request is still answered', async () => {
    const one = await peer()
    one.socket.end('GET /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n')
    expect(answersIn(await one.ended)[0]?.status).toBe(200)
  })

  test('a hundred of them that are cut off at any place of a request leave the server well', async () => {
    const text = sized(title('cut'))
    const before = (await ask(surface.url, 'GET', '/v1/sessions?search=cut')).json.total
    await Promise.all(
      Array.from({ length: 100 }, async (_, index) => {
        const one = await peer()
        one.send(text.slice(0, Math.floor((text.length * index) / 100)))
        if (index % 2 === 0) one.socket.destroy()
        else one.socket.end()
        await one.ended
      }),
    )
    expect((await ask(surface.url, 'GET', '/v1/sessions?search=cut')).json.total).toBe(before)
    expect(surface.errors).toEqual([])
  })

  test('broken behind the head of a stream is cut off, without a second head in the stream', async () => {
    const run = await surface.run(await surface.session())
    const one = await peer()
    one.send(`GET /v1/sessions/${run.session}/events?after=0 HTTP/1.1\r\nHost: localhost\r\n\r\n`)
    await one.until((text) => text.includes('run_started'))
    one.send('this is no request\r\n\r\n')
    const text = await one.ended
    expect(text.split('HTTP/1.1 ')).toHaveLength(2)
  })
})
