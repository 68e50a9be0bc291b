/** The order of the house: what is asked before what, and what the user's own middleware sees. */
import type { MiddlewareHandler } from 'hono'
import { describe, expect, onTestFinished, test } from 'vitest'
import { z } from 'zod'
import { createAccess } from '../access/keys.ts'
import { systemRandom } from '../system/random.ts'
import { manualClock } from '../testing/manual-clock.ts'
import { createHttpApp, type HttpOptions, type RequestReport } from './app.ts'
import { listen } from './listener.ts'
import type { Route } from './route.ts'

const route = (method: Route['method'], path: string, handle: Route['handle'], more: Partial<Route> = {}): Route => ({
  method,
  path,
  id: `${method}${path}`,
  summary: '',
  tag: 'test',
  answers: {},
  errors: [],
  handle,
  ...more,
})
const ROUTES: readonly Route[] = [
  route('get', '/open', async () => ({ status: 200, json: { open: true } }), { public: true }),
  route('get', '/who', async (call) => ({ status: 200, json: { user: call.principal.user, id: call.requestId } })),
  route('get', '/text', async () => ({ status: 200, text: 'plain', headers: { 'content-type': 'text/plain', etag: '"1"' } })),
  route('delete', '/nothing', async () => ({ status: 204 })),
  route('get', '/items/{id}', async (call) => ({ status: 200, json: { id: call.param('id'), other: call.param('other') } })),
  route('post', '/items/{id}/parts/{part}', async (call) => ({ status: 201, json: [call.param('id'), call.param('part'), await call.json(z.unknown())] })),
  route('get', '/file.json', async () => ({ status: 200, json: {} })),
  route('get', '/raw', async (call) => {
    call.outgoing.writeHead(200, { 'content-type': 'text/event-stream', ...call.extraHeaders })
    call.outgoing.end('data: 1\n\n')
    return 'streaming'
  }),
]
const KEY = { authorization: 'Bearer key-of-ann' }

async function start(options: Partial<HttpOptions> = {}) {
  const clock = manualClock()
  const reports: RequestReport[] = []
  const errors: unknown[] = []
  const app = createHttpApp({
    routes: ROUTES,
    access: createAccess({ keys: [{ user: 'ann', key: 'key-of-ann' }], open: false, nowMs: () => 0 }),
    guard: { loopback: true, origins: [] },
    cors: undefined,
    clock,
    random: systemRandom,
    telemetry: { log: () => undefined },
    bodyBytesMax: 100,
    requestMs: 1000,
    middleware: () => [],
    onRequest: (report) => reports.push(report),
    onError: (error) => errors.push(error),
    ...options,
  })
  const listener = await listen({ host: '127.0.0.1', port: 0, fetch: (request, env) => app.fetch(request, env), requestMs: 30_000, onUpgrade: () => undefined })
  onTestFinished(() => listener.close(0))
  const ask = async (path: string, init: { readonly method?: string; readonly body?: string; readonly headers?: Record<string, string> } = {}) => {
    const response = await fetch(`http://127.0.0.1:${listener.address.port}${path}`, { ...init, headers: { ...KEY, ...init.headers } })
    const text = await response.text()
    return { status: response.status, headers: response.headers, text, json: text.startsWith('{') || text.startsWith('[') ? JSON.parse(text) : undefined }
  }
  return { ask, reports, errors, clock }
}

describe('an answer', () => {
  test('of JSON, of text and of nothing carries the request id', async () => {
    const { ask } = await start()
    const asked = { headers: { 'x-request-id': 'mine' } }
    const [json, text, nothing, raw] = [
      await ask('/who', asked),
      await ask('/text', asked),
      await ask('/nothing', { method: 'DELETE', ...asked }),
      await ask('/raw', asked),
    ]
    expect([json, text, nothing, raw].map(({ headers }) => headers.get('x-request-id'))).toEqual(['mine', 'mine', 'mine', 'mine'])
    expect([json.json, json.headers.get('content-type')]).toEqual([{ user: 'ann', id: 'mine' }, 'application/json'])
    expect([text.text, text.headers.get('content-type'), text.headers.get('etag')]).toEqual(['plain', 'text/plain', '"1"'])
    expect([nothing.status, nothing.text, nothing.headers.get('content-type')]).toEqual([204, '', null])
    expect(raw.text).toBe('data: 1\n\n')
  })

  test('is the same to the byte whether a middleware looks at it or not', async () => {
    const [plain, watched] = [await start(), await start({ middleware: () => [async (_c, next) => next()] })]
    for (const path of ['/who', '/text', '/open', '/items/a', '/none', '/raw']) {
      const asked = { headers: { 'x-request-id': 'same' } }
      const [one, other] = [await plain.ask(path, asked), await watched.ask(path, asked)]
      expect([one.status, one.text, one.headers.get('content-type'), one.headers.get('cache-control')]).toEqual([
        other.status,
        other.text,
        other.headers.get('content-type'),
        other.headers.get('cache-control'),
      ])
    }
  })

  test('is reported when it has ended, with its time', async () => {
    const { ask, reports, clock } = await start({
      routes: [
        route('get', '/slow/{id}', async () => {
          tick()
          return { status: 202, json: {} }
        }),
      ],
    })
    const tick = () => clock.advance(250)
    await ask('/slow/x?y=z', { headers: { 'x-request-id': 'mine' } })
    while (reports.length === 0) await new Promise((resolve) => setImmediate(resolve))
    expect(reports).toEqual([{ method: 'GET', path: '/slow/x', status: 202, duration: 250, requestId: 'mine' }])
  })
})

describe('a path', () => {
  test.each([
    ['/items/a', 'a'],
    ['/items/a%20b', 'a b'],
    ['/items/a%2Fb', 'a/b'],
    ['/items/%E2%82%AC', '€'],
    ['/items/{id}', '{id}'],
    ['/items/a%00b', 'a\0b'],
    ['/items/%2e%2e%2f', '../'],
    ['/items/a;v=1', 'a;v=1'],
    ['/items/a:b', 'a:b'],
  ])('%s gives %j', async (path, id) => {
    const { ask } = await start()
    expect((await ask(path)).json).toEqual({ id, other: '' })
  })

  test.each(['/', '/items', '/items/', '/items/a/', '/items/a/b', '/fileXjson', '/OPEN', '/open/', '//open'])('%s leads nowhere', async (path) => {
    const { ask } = await start()
    expect((await ask(path)).json).toMatchObject({ status: 404, code: 'route_not_found' })
  })

  test.each([
    ['/open', 'POST', 'GET, HEAD'],
    ['/nothing', 'GET', 'DELETE'],
    ['/items/a/parts/b', 'GET', 'POST'],
    ['/file.json', 'DELETE', 'GET, HEAD'],
  ])('%s does not know %s, and says what it knows', async (path, method, allow) => {
    const { ask } = await start()
    const answer = await ask(path, { method })
    expect([answer.status, answer.json.code, answer.headers.get('allow')]).toEqual([405, 'method_not_allowed', allow])
  })

  test('gives each of its places', async () => {
    const { ask } = await start()
    const answer = await ask('/items/one/parts/two', { method: 'POST', body: '{"x":1}', headers: { 'content-type': 'application/json' } })
    expect([answer.status, answer.json]).toEqual([201, ['one', 'two', { x: 1 }]])
  })
})

describe('a middleware of the user', () => {
  const seen =
    (name: string, list: string[]): MiddlewareHandler =>
    async (_c, next) => {
      list.push(`${name} in`)
      await next()
      list.push(`${name} out`)
    }

  test('stands around the others that came after it', async () => {
    const list: string[] = []
    const { ask } = await start({ middleware: () => [seen('first', list), seen('second', list)] })
    await ask('/open')
    expect(list).toEqual(['first in', 'second in', 'second out', 'first out'])
  })

  test('that is added later is heard from the next request on', async () => {
    const own: MiddlewareHandler[] = []
    const list: string[] = []
    const { ask } = await start({ middleware: () => own })
    await ask('/open')
    own.push(seen('late', list))
    await ask('/open')
    expect(list).toEqual(['late in', 'late out'])
  })

  test('comes before the key is asked for, and behind limits, host and origin', async () => {
    const list: string[] = []
    const { ask } = await start({ middleware: () => [seen('own', list)] })
    expect((await ask('/who', { headers: { authorization: 'Bearer nobody' } })).status).toBe(401)
    expect(list).toEqual(['own in', 'own out'])
    expect((await ask('/who', { headers: { origin: 'https://evil.example' } })).status).toBe(403)
    expect((await ask('/items/a/parts/b', { method: 'POST', body: 'x'.repeat(101) })).status).toBe(413)
    expect(list).toHaveLength(2)
  })

  test('may answer itself; the request id stands on that too', async () => {
    const { ask } = await start({ middleware: () => [async () => new Response('mine', { status: 418 })] })
    const answer = await ask('/who', { headers: { 'x-request-id': 'x1' } })
    expect([answer.status, answer.text, answer.headers.get('x-request-id')]).toEqual([418, 'mine', 'x1'])
  })

  test('may add headers to an answer, and sees its status', async () => {
    let status = 0
    const own: MiddlewareHandler = async (c, next) => {
      await next()
      status = c.res.status
      c.res.headers.set('x-own', 'yes')
    }
    const { ask } = await start({ middleware: () => [own] })
    expect((await ask('/who')).headers.get('x-own')).toBe('yes')
    expect(status).toBe(200)
    await ask('/none')
    expect(status).toBe(404)
  })

  test.each([new Error('secret'), 'secret', undefined])('that throws %j is a failure of the server, told to whoever runs it', async (thrown) => {
    const { ask, errors } = await start({ middleware: () => [() => Promise.reject(thrown as Error)] })
    const answer = await ask('/open')
    expect([answer.status, answer.json.code, answer.text.includes('secret'), errors.length]).toEqual([500, 'internal_error', false, 1])
  })
})

describe('a request that takes too long', () => {
  const never = () => new Promise<never>(() => undefined)
  test.each([
    ['in its handler', { routes: [route('get', '/slow', never)] }],
    ['while its key is looked at', { routes: [route('get', '/slow', async () => ({ status: 200 }))], access: { open: false, authenticate: never } }],
  ])('%s is answered 503', async (_what, options) => {
    const { ask, clock } = await start(options)
    const asked = ask('/slow')
    while (clock.pending === 0) await new Promise((resolve) => setImmediate(resolve))
    clock.advance(1000)
    expect((await asked).json).toMatchObject({ status: 503, code: 'request_timeout' })
    expect(clock.pending).toBe(0)
  })

  test('may do so where that is said of its route', async () => {
    let finish: () => void = () => undefined
    const begun = new Promise<void>((begin) => {
      finish = begin
    })
    let letGo: () => void = () => undefined
    const handle = async () => {
      finish()
      await new Promise<void>((resolve) => (letGo = resolve))
      return { status: 200, json: {} }
    }
    const { ask, clock } = await start({ routes: [route('get', '/wait', handle, { unbounded: true })] })
    const asked = ask('/wait')
    await begun
    clock.advance(100_000)
    letGo()
    expect((await asked).status).toBe(200)
  })
})
