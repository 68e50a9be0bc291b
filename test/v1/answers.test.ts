/** What every answer carries: request ids, errors as problems, what caches and other origins may do with it. */
import { request } from 'node:http'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Route } from '../../src/http/route.ts'
import { ConvokeError } from '../../src/domain/errors.ts'
import { ask } from '../support/http.ts'
import { openSurface, type Surface } from '../support/surface.ts'

const ORIGIN = 'https://app.example'
const UNKNOWN = '01900000-0000-7000-8000-ffffffffffff'
const BODY_MAX = 64 * 1024

/** Routes that fail in each way in which code can. */
const failing = (name: string, handle: Route['handle']): Route => ({
  method: 'get',
  path: `/fail/${name}`,
  id: name,
  summary: '',
  tag: 'fail',
  answers: {},
  errors: [],
  handle,
})
let hanging: () => void = () => undefined
const FAILING = [
  failing('throw', async () => {
    throw new Error('a secret from within')
  }),
  failing('text', async () => Promise.reject('a secret text' as unknown as Error)),
  failing('nothing', async () => Promise.reject(undefined as unknown as Error)),
  failing('unknown', async () => Promise.reject(new ConvokeError('store_unknown', 'whether it was written is unknown'))),
  failing('busy', async () => Promise.reject(new ConvokeError('overloaded', 'busy', { retryAfterMs: 2500 }))),
  failing('hang', () => new Promise(() => hanging())),
]

let surface: Surface
beforeAll(async () => {
  surface = await openSurface({
    keys: [{ user: 'ann', key: 'key-of-ann' }],
    cors: { origins: [ORIGIN] },
    bodyBytesMax: BODY_MAX,
    routes: FAILING,
  })
})
afterAll(() => surface.close())
const ANN = { authorization: 'Bearer key-of-ann' }
const get = (path: string, headers: Record<string, string> = {}) => ask(surface.url, 'GET', path, undefined, { ...ANN, ...headers })
const post = (path: string, body: unknown, headers: Record<string, string> = {}) => ask(surface.url, 'POST', path, body, { ...ANN, ...headers })

describe('a request id', () => {
  test.each(['a', 'req_0123', 'A.b-c_9', 'x'.repeat(128)])('%s is taken over, into the header and into errors', async (id) => {
    expect((await get('/v1/health', { 'x-request-id': id })).headers.get('x-request-id')).toBe(id)
    expect((await get('/v1/nothing', { 'x-request-id': id })).json.request_id).toBe(id)
  })

  test.each([
    ['none', {}],
    ['an empty one', { 'x-request-id': '' }],
    ['one of 129 letters', { 'x-request-id': 'x'.repeat(129) }],
    ['one with a space', { 'x-request-id': 'a b' }],
    ['one that is markup', { 'x-request-id': '<script>' }],
    ['one that is a format', { 'x-request-id': '%s%n' }],
    ['one beyond ASCII', { 'x-request-id': 'é' }],
    ['two', { 'x-request-id': 'a, b' }],
  ])('is made where there is %s', async (_what, headers) => {
    const answer = await get('/v1/nothing', headers as Record<string, string>)
    expect(answer.headers.get('x-request-id')).toMatch(/^req_[0-9a-f]{32}$/)
    expect(answer.json.request_id).toBe(answer.headers.get('x-request-id'))
  })

  test('is another one for each request, and is what the report names', async () => {
    const from = surface.reports.length
    const ids = await Promise.all(Array.from({ length: 20 }, async () => (await get('/v1/config')).headers.get('x-request-id')))
    expect(new Set(ids).size).toBe(20)
    while (surface.reports.length < from + 20) await get('/v1/health')
    for (const id of ids) expect(surface.reports.find(({ requestId }) => requestId === id)).toMatchObject({ method: 'GET', path: '/v1/config', status: 200 })
  })
})

describe('an error', () => {
  test.each([
    ['GET', '/nothing', undefined, {}, 404, 'route_not_found'],
    ['GET', '/v1/sessions/', undefined, {}, 404, 'route_not_found'],
    ['GET', '/v1/Sessions', undefined, {}, 404, 'route_not_found'],
    ['GET', `/v1/sessions/${UNKNOWN}`, undefined, {}, 404, 'not_found'],
    ['PUT', '/v1/sessions', undefined, {}, 405, 'method_not_allowed'],
    ['POST', '/v1/sessions', 'title=x', { 'content-type': 'application/x-www-form-urlencoded' }, 415, 'unsupported_media_type'],
    ['POST', '/v1/sessions', '{}', { 'content-type': 'text/plain' }, 415, 'unsupported_media_type'],
    ['POST', '/v1/sessions', '{}', { 'content-type': 'application/jsonp' }, 415, 'unsupported_media_type'],
    ['POST', '/v1/sessions', '{}', { 'content-type': 'multipart/form-data; boundary=x' }, 415, 'unsupported_media_type'],
    ['POST', '/v1/sessions', '', {}, 400, 'invalid_json'],
    ['POST', '/v1/sessions', '{"title":"x"', {}, 400, 'invalid_json'],
    ['POST', '/v1/sessions', '{"title":"x"} ,', {}, 400, 'invalid_json'],
    ['POST', '/v1/sessions', '\uFEFF{"title":"x"}x', {}, 400, 'invalid_json'],
    ['POST', '/v1/sessions', '['.repeat(65) + ']'.repeat(65), {}, 400, 'invalid_json'],
    ['POST', '/v1/sessions', '['.repeat(30_000), {}, 400, 'invalid_json'],
    ['POST', '/v1/sessions', '['.repeat(64) + ']'.repeat(64), {}, 422, 'invalid_body'],
    ['POST', '/v1/sessions', 'null', {}, 422, 'invalid_body'],
    ['POST', '/v1/sessions', '[]', {}, 422, 'invalid_body'],
    ['POST', '/v1/sessions', '{"title":7}', {}, 422, 'invalid_body'],
    ['POST', '/v1/sessions', '{"title":null}', {}, 422, 'invalid_body'],
    ['POST', '/v1/sessions', `{"title":"${'x'.repeat(1001)}"}`, {}, 422, 'invalid_body'],
    ['POST', '/v1/sessions', `{"title":"${'x'.repeat(BODY_MAX)}"}`, {}, 413, 'payload_too_large'],
    ['POST', '/v1/sessions', '{"title":"x","agent":"nobody"}', {}, 400, 'invalid_request'],
    ['GET', '/v1/sessions?limit=x', undefined, {}, 400, 'invalid_request'],
    ['GET', '/fail/throw', undefined, {}, 500, 'internal_error'],
    ['GET', '/fail/text', undefined, {}, 500, 'internal_error'],
    ['GET', '/fail/nothing', undefined, {}, 500, 'internal_error'],
    ['GET', '/fail/unknown', undefined, {}, 503, 'store_unknown'],
    ['GET', '/fail/busy', undefined, {}, 503, 'overloaded'],
  ])('%s %s, %j with %j is a problem: %i %s', async (method, path, body, headers, status, code) => {
    const answer = await ask(surface.url, method, path, body, { ...ANN, ...(headers as Record<string, string>) })
    expect(answer.status).toBe(status)
    expect(answer.headers.get('content-type')).toBe('application/problem+json')
    expect(answer.headers.get('cache-control')).toBe('no-store')
    const { errors: _errors, ...rest } = answer.json
    expect(rest).toEqual({
      type: `urn:convoke:error:${code}`,
      title: code.replaceAll('_', ' '),
      status,
      detail: rest.error,
      instance: path.split('?')[0],
      error: expect.stringMatching(/\S/),
      code,
      request_id: answer.headers.get('x-request-id'),
    })
    expect(answer.headers.get('retry-after') === null).toBe(status !== 503)
  })

  test('of the server says nothing of what happened inside, and is told to whoever runs it', async () => {
    const before = surface.errors.length
    const texts = [await get('/fail/throw'), await get('/fail/text')].map(({ text }) => text).join()
    expect(texts).not.toContain('secret')
    expect(surface.errors.slice(before)).toMatchObject([{ message: 'a secret from within' }, { cause: 'a secret text' }])
  })

  test('of a caller is told to nobody', async () => {
    const before = surface.errors.length
    await get('/v1/nothing')
    await post('/v1/sessions', '{')
    expect(surface.errors).toHaveLength(before)
  })

  test('names the places in the body, at most twenty', async () => {
    const one = await post('/v1/sessions', { title: 7, cwd: [], 'a/b': 1 })
    expect(one.json.errors.map(({ pointer }: { pointer: string }) => pointer)).toEqual(['/title', '/cwd'])
    expect(one.json.error).toMatch(/^\/title: /)
    const session = (await post('/v1/sessions', { title: 'x' })).json.id
    const decisions = Object.fromEntries(Array.from({ length: 30 }, (_, index) => [`a/b~${index}`, {}]))
    const many = await post(`/v1/sessions/${session}/tools/decisions`, { run_id: UNKNOWN, decisions })
    expect(many.json.errors).toHaveLength(20)
    expect(many.json.errors[0].pointer).toBe('/decisions/a~1b~00/action')
  })

  test.each([
    ['/v1/health', 'GET, HEAD'],
    ['/v1/sessions', 'GET, POST, HEAD'],
    [`/v1/sessions/${UNKNOWN}`, 'GET, PATCH, DELETE, HEAD'],
    [`/v1/sessions/${UNKNOWN}/messages`, 'POST, GET, HEAD'],
    [`/v1/sessions/${UNKNOWN}/events`, 'GET, HEAD'],
    [`/v1/sessions/${UNKNOWN}/tools/any%2Fcall/decision`, 'POST'],
  ])('at %s about the method names those that are there: %s', async (path, allow) => {
    for (const method of ['PUT', 'OPTIONS']) {
      const answer = await ask(surface.url, method, path, undefined, ANN)
      expect([answer.status, answer.headers.get('allow')]).toEqual([405, allow])
    }
  })

  test('comes when a handler takes longer than a request may, and nothing is left behind', async () => {
    const started = new Promise<void>((resolve) => (hanging = resolve))
    const asked = get('/fail/hang')
    await started
    surface.clock.advance(30_000)
    const answer = await asked
    expect([answer.status, answer.json.code, answer.headers.get('retry-after')]).toEqual([503, 'request_timeout', '1'])
    expect(surface.clock.pending).toBe(0)
  })

  test('that says when to come again says so in whole seconds', async () => {
    expect((await get('/fail/busy')).headers.get('retry-after')).toBe('3')
  })

  test('about a full queue comes with the 65th message', async () => {
    const run = await surface.run(await surface.session('ann'), 'ann')
    const body = { message: { role: 'user', content: 'x' }, when_busy: 'enqueue' }
    for (let count = 0; count < 64; count++) expect((await post(`/v1/sessions/${run.session}/messages`, body)).status).toBe(200)
    const answer = await post(`/v1/sessions/${run.session}/messages`, body, { origin: ORIGIN })
    expect([answer.status, answer.json.code, answer.headers.get('access-control-allow-origin')]).toEqual([429, 'queue_full', ORIGIN])
  })
})

describe('a body', () => {
  test.each([
    'application/json',
    'application/json; charset=utf-8',
    'APPLICATION/JSON',
    'application/json ;x=y',
    'application/merge-patch+json',
    'application/vnd.api+json',
  ])('may come as %s', async (type) => {
    expect((await post('/v1/sessions', '{"title":"x"}', { 'content-type': type })).status).toBe(201)
  })

  test('in Latin-1 is no JSON', async () => {
    const response = await fetch(`${surface.url}/v1/sessions`, {
      method: 'POST',
      headers: { ...ANN, 'content-type': 'application/json; charset=iso-8859-1' },
      body: Buffer.from('{"title":"é"}', 'latin1'),
    })
    expect([response.status, (await response.json()).code]).toEqual([400, 'invalid_json'])
  })

  test('may hold fields that nobody knows', async () => {
    expect((await post('/v1/sessions', '{"title":"x","new":{"deep":[1]},"__proto__":{"agent":"evil"},"constructor":1}')).status).toBe(201)
  })
})

describe('caches', () => {
  test.each([
    ['/v1/health', 'private, no-cache'],
    ['/v1/config', 'private, no-cache'],
    ['/v1/sessions', 'private, no-cache'],
    ['/v1/events', 'no-cache, no-transform'],
    ['/docs', 'no-cache'],
    ['/v1/nothing', 'no-store'],
  ])('may do with %s what %s says', async (path, control) => {
    const stop = new AbortController()
    const response = await fetch(`${surface.url}${path}`, { headers: ANN, signal: stop.signal })
    stop.abort()
    expect(response.headers.get('cache-control')).toBe(control)
  })
})

test('a creation says where what it made can be found', async () => {
  const made = await post('/v1/sessions', { title: 'x' })
  const location = made.headers.get('location') ?? ''
  expect((await get(location)).json.session).toEqual(made.json)
})

test('HEAD is GET without its body, errors too', async () => {
  for (const path of ['/v1/health', '/v1/sessions', `/v1/sessions/${UNKNOWN}`, '/v1/nothing', '/docs']) {
    const [head, whole] = [await ask(surface.url, 'HEAD', path, undefined, ANN), await get(path)]
    expect([head.status, head.headers.get('content-type'), head.text]).toEqual([whole.status, whole.headers.get('content-type'), ''])
  }
})

describe('another origin', () => {
  const cross = { origin: ORIGIN }
  test.each([
    ['401', () => ask(surface.url, 'GET', '/v1/config', undefined, cross), 401],
    ['404', () => get('/v1/nothing', cross), 404],
    ['405', () => ask(surface.url, 'PUT', '/v1/health', undefined, cross), 405],
    ['413', () => post('/v1/sessions', `{"title":"${'x'.repeat(BODY_MAX)}"}`, cross), 413],
    ['415', () => post('/v1/sessions', 'x', { ...cross, 'content-type': 'text/plain' }), 415],
    ['500', () => get('/fail/throw', cross), 500],
    ['503', () => get('/fail/busy', cross), 503],
    ['200', () => get('/v1/config', cross), 200],
    ['a stream', () => get(`/v1/sessions/${UNKNOWN}/events`, cross), 404],
  ])('that is configured may read %s', async (_what, asked, status) => {
    const { status: found, headers } = await asked()
    expect([found, headers.get('access-control-allow-origin'), headers.get('vary'), headers.get('access-control-allow-credentials')]).toEqual([
      status,
      ORIGIN,
      'Origin',
      null,
    ])
    expect(headers.get('access-control-expose-headers')).toContain('X-Request-Id')
  })

  test('that is configured may read streams', async () => {
    const stop = new AbortController()
    const response = await fetch(`${surface.url}/v1/events`, { headers: { ...ANN, ...cross }, signal: stop.signal })
    stop.abort()
    expect(response.headers.get('access-control-allow-origin')).toBe(ORIGIN)
    expect(response.headers.get('access-control-expose-headers')).toContain('Convoke-Log-Id')
  })

  test('may ask in advance, without a key', async () => {
    const asked = { ...cross, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization,last-event-id' }
    const answer = await ask(surface.url, 'OPTIONS', '/v1/sessions', undefined, asked)
    expect([answer.status, answer.text]).toEqual([204, ''])
    expect(answer.headers.get('access-control-allow-origin')).toBe(ORIGIN)
    expect(answer.headers.get('access-control-allow-methods')).toBe('GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS')
    for (const name of ['Authorization', 'X-API-Key', 'Last-Event-ID', 'Idempotency-Key', 'X-Request-Id', 'Content-Type'])
      expect(answer.headers.get('access-control-allow-headers')).toContain(name)
    expect(answer.headers.get('access-control-max-age')).toBe('600')
  })

  test.each(['https://evil.example', 'null', 'https://app.example.evil.example', 'http://app.example', 'https://app.example:444'])(
    '%s learns nothing',
    async (origin) => {
      const answer = await get('/v1/config', { origin })
      expect([answer.status, answer.json.code, answer.headers.get('access-control-allow-origin')]).toEqual([403, 'forbidden_origin', null])
      const asked = await ask(surface.url, 'OPTIONS', '/v1/config', undefined, { origin, 'access-control-request-method': 'GET' })
      expect(asked.headers.get('access-control-allow-origin')).toBeNull()
    },
  )
})

test('two keys in one request are none: nobody can say which one was meant', async () => {
  const { host } = new URL(surface.url)
  const twice = ['host', host, 'authorization', 'Bearer key-of-ann', 'authorization', 'Bearer nobody']
  const status = await new Promise<number | undefined>((resolve, reject) => {
    const sent = request(`${surface.url}/v1/config`, { headers: twice })
    sent.on('error', reject)
    sent.on('response', (response) => {
      response.resume()
      resolve(response.statusCode)
    })
    sent.end()
  })
  expect(status).toBe(401)
})
