/** What arrives may be anything: each is answered in the house's shape or cut off, and the server lives (P13). */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { answersIn, rawPeers } from '../support/raw.ts'
import { openSurface, type Surface } from '../support/surface.ts'

const BODY_MAX = 64 * 1024
let surface: Surface
beforeAll(async () => void (surface = await openSurface({ bodyBytesMax: BODY_MAX })))
afterAll(() => surface.close())

const peer = rawPeers(() => surface.url)

/** Sends `text` and answers what comes until the connection is over. */
async function exchange(text: string | Uint8Array) {
  const one = await peer()
  one.send(text)
  return answersIn(await one.ended)
}

/** Checks the shape of an error. */
function expectProblem(answer: { status: number; headers: Readonly<Record<string, string>>; body: string } | undefined, status: number, code: string) {
  expect(answer?.status).toBe(status)
  expect(answer?.headers['content-type']).toBe('application/problem+json')
  const problem = JSON.parse(answer?.body ?? 'null')
  expect(problem).toMatchObject({ type: `urn:convoke:error:${code}`, status, code, error: expect.any(String), request_id: answer?.headers['x-request-id'] })
}

const HEAD = 'GET /v1/health HTTP/1.1\r\nHost: localhost\r\n'
const CLOSE = 'Connection: close\r\n\r\n'

describe('what is no HTTP', () => {
  test.each([
    ['nonsense', 'hello there\r\n\r\n'],
    ['a method that does not exist', 'FLY /v1/health HTTP/1.1\r\nHost: localhost\r\n\r\n'],
    ['a version from the future', 'GET / HTTP/9.9\r\n\r\n'],
    ['no version', 'GET /v1/health\r\n\r\n'],
    ['a space in a header name', `${HEAD}X Bad: 1\r\n\r\n`],
    ['a NUL in a header', `${HEAD}X-Bad: a\0b\r\n\r\n`],
    ['a bare line feed and a folded header', `${HEAD}X-Bad: a\r\n b\r\n\r\n`],
    ['two lengths', `POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab`],
    ['a length and chunks', `POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
    ['a negative length', `POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n`],
    ['a TLS hello', Uint8Array.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03, 0x0d, 0x0a, 0x0d, 0x0a])],
  ])('%s is answered 400 and the connection closed', async (_what, bytes) => {
    const [answer, ...more] = await exchange(bytes)
    expectProblem(answer, 400, 'invalid_request')
    expect(more).toEqual([])
  })

  test('a tunnel is refused', async () => {
    const [answer] = await exchange('CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\nX-Request-Id: mine\r\n\r\n')
    expectProblem(answer, 405, 'method_not_allowed')
    expect(answer?.headers['x-request-id']).toBe('mine')
  })
})

describe('a head', () => {
  test.each([
    ['one large header', `${HEAD}X-Large: ${'x'.repeat(17_000)}\r\n${CLOSE}`],
    ['many small headers', `${HEAD}${Array.from({ length: 2000 }, (_, index) => `X-${index}: ${index}\r\n`).join('')}${CLOSE}`],
    ['a long target', `GET /v1/health?${'x'.repeat(17_000)} HTTP/1.1\r\nHost: localhost\r\n${CLOSE}`],
  ])('with %s is answered 431', async (_what, text) => {
    expectProblem((await exchange(text))[0], 431, 'headers_too_large')
  })

  test('with more headers than Node counts by default keeps them all', async () => {
    const many = Array.from({ length: 1200 }, (_, index) => `a${index}:\r\n`).join('')
    expect((await exchange(`${HEAD}${many}X-Request-Id: behind-them\r\n${CLOSE}`))[0]?.headers['x-request-id']).toBe('behind-them')
  })

  test('without Host is refused', async () => {
    expectProblem((await exchange(`GET /v1/health HTTP/1.1\r\n${CLOSE}`))[0], 400, 'invalid_request')
  })

  test('with a Host that is no host is refused', async () => {
    expectProblem((await exchange(`GET /v1/health HTTP/1.1\r\nHost: lo cal:host\r\n${CLOSE}`))[0], 400, 'invalid_request')
  })

  test.each(['localhost', 'LOCALHOST:80', '127.0.0.1', '127.9.9.9:1', '[::1]:4096'])('that names %s is answered', async (host) => {
    expect((await exchange(`GET /v1/health HTTP/1.1\r\nHost: ${host}\r\n${CLOSE}`))[0]?.status).toBe(200)
  })

  test.each([
    ['example.org', 403, 'forbidden_host'],
    ['localhost.example.org', 403, 'forbidden_host'],
    ['127.0.0.1.nip.io', 403, 'forbidden_host'],
    ['10.0.0.1', 403, 'forbidden_host'],
    ['[::2]:4096', 403, 'forbidden_host'],
    ['localhost:80:80', 400, 'invalid_request'],
  ])('that names %s is refused as %i %s', async (host, status, code) => {
    expectProblem((await exchange(`GET /v1/health HTTP/1.1\r\nHost: ${host}\r\n${CLOSE}`))[0], status, code)
  })

  test('that wants what cannot be met is told so', async () => {
    expectProblem((await exchange(`${HEAD}Expect: the-impossible\r\n${CLOSE}`))[0], 400, 'invalid_request')
  })

  test('that asks for another protocol than a websocket is answered as if it had not', async () => {
    const [answer] = await exchange(`${HEAD}Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n${CLOSE}`)
    expect(answer?.status).toBe(200)
  })

  test('in absolute form, as a proxy sends it, is answered', async () => {
    expect((await exchange(`GET http://localhost/v1/health HTTP/1.1\r\nHost: localhost\r\n${CLOSE}`))[0]?.status).toBe(200)
  })

  test.each(['OPTIONS * HTTP/1.1', 'GET nowhere HTTP/1.1', 'GET //[ HTTP/1.1', 'GET http://[ HTTP/1.1'])(
    'with the target of %j is answered with an error',
    async (line) => {
      const [answer] = await exchange(`${line}\r\nHost: localhost\r\n${CLOSE}`)
      expect([400, 404, 405]).toContain(answer?.status)
      expect(answer?.headers['content-type']).toBe('application/problem+json')
    },
  )
})
