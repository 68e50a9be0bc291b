import { getEventListeners } from 'node:events'
import { describe, expect, test } from 'vitest'
import { ConvokeClientError } from './errors.ts'
import { createClient } from './client.ts'
import { pause, PAUSE_MS, PAUSE_MS_MAX, pauseMs, request, RETRY_AFTER_MS_MAX, TRIES_MAX, TRIES_MAX_RESTART, type Connection } from './request.ts'

interface Sent {
  readonly url: string
  readonly method: string | undefined
  readonly headers: Record<string, string>
  readonly body: unknown
}

/** A connection whose server gives `answers` in turn, the last one for ever; pauses pass at once. */
function scripted(...answers: readonly (() => Response | Error)[]) {
  const sent: Sent[] = []
  const pauses: number[] = []
  const connection: Connection = {
    url: 'http://server',
    key: 'a-secret',
    async fetch(url, init) {
      const { method, headers, body } = init ?? {}
      sent.push({ url: url as string, method, headers: headers as Record<string, string>, body })
      const answer = (answers[sent.length - 1] ?? answers.at(-1))?.()
      if (answer instanceof Response) return answer
      throw answer ?? new Error('no answer was scripted')
    },
    after(delayMs, fn) {
      pauses.push(delayMs)
      const soon = setImmediate(fn)
      return () => clearImmediate(soon)
    },
  }
  return { connection, sent, pauses }
}

const json =
  (value: unknown, init: ResponseInit = {}) =>
  () =>
    Response.json(value, init)
const status = (code: number, headers: Record<string, string> = {}) => json({ code: `code_${code}`, error: `error ${code}` }, { status: code, headers })
const broken = () => new TypeError('fetch failed')
/** An answer whose body breaks off. */
const cutOff = () => new Response(new ReadableStream({ pull: (controller) => controller.error(new TypeError('terminated')) }))

describe('a request', () => {
  test('carries its method, key and body, and answers JSON', async () => {
    const { connection, sent } = scripted(json({ id: 7 }))
    expect(await request(connection, 'POST', '/v1/things', { a: 1 })).toEqual({ id: 7 })
    expect(sent).toEqual([
      {
        url: 'http://server/v1/things',
        method: 'POST',
        headers: { authorization: 'Bearer a-secret', 'content-type': 'application/json', 'idempotency-key': expect.stringMatching(/^[0-9a-f]{32}$/) },
        body: '{"a":1}',
      },
    ])
  })

  test.each([
    ['GET', undefined, false, false],
    ['DELETE', undefined, true, false],
    ['PATCH', {}, true, true],
  ])('%s with the body %j has a key: %s, a type: %s', async (method, body, hasKey, hasType) => {
    const { connection, sent } = scripted(() => new Response(null, { status: 204 }))
    expect(await request(connection, method, '/', body)).toBeUndefined()
    expect('idempotency-key' in sent[0]!.headers).toBe(hasKey)
    expect('content-type' in sent[0]!.headers).toBe(hasType)
  })

  test('sends no authorization without a key', async () => {
    const { connection, sent } = scripted(json({}))
    await request({ ...connection, key: undefined }, 'GET', '/')
    expect(sent[0]!.headers).toEqual({})
  })
})

describe('a request that fails for now', () => {
  test.each([
    ['nobody answers', broken],
    ['429', status(429)],
    ['502', status(502)],
    ['503', status(503)],
    ['504', status(504)],
    ['the answer breaks off', cutOff],
  ])('is sent again, under the same key, when %s', async (_what, failure) => {
    const { connection, sent, pauses } = scripted(failure, failure, json({ done: true }))
    expect(await request(connection, 'POST', '/', { a: 1 })).toEqual({ done: true })
    expect(sent).toHaveLength(3)
    expect(new Set(sent.map(({ headers, body }) => `${headers['idempotency-key']} ${String(body)}`)).size).toBe(1)
    expect(pauses).toHaveLength(2)
  })

  test('two requests have two keys', async () => {
    const { connection, sent } = scripted(json({}))
    await request(connection, 'POST', '/')
    await request(connection, 'POST', '/')
    expect(sent[0]!.headers['idempotency-key']).not.toBe(sent[1]!.headers['idempotency-key'])
  })

  test('is tried five times, then the last failure is thrown', async () => {
    const { connection, sent, pauses } = scripted(broken)
    const failure = await request(connection, 'GET', '/').catch((error: unknown) => error)
    expect(failure).toBeInstanceOf(ConvokeClientError)
    expect(failure).toMatchObject({ code: 'unreachable', status: 0, message: 'no server answers at http://server', cause: expect.any(TypeError) })
    expect([sent.length, TRIES_MAX, pauses.length]).toEqual([5, 5, 4])
  })

  test.each([
    ['is gone', broken],
    ['breaks its answer off', cutOff],
    ['says that it stops', json({ code: 'shutting_down' }, { status: 503 })],
  ])('is waited for longer than a stop takes when a server that answered before %s', async (_what, failure) => {
    const { connection, sent, pauses } = scripted(json({}), failure)
    await request(connection, 'GET', '/')
    await expect(request(connection, 'POST', '/')).rejects.toThrow(ConvokeClientError)
    expect([sent.length - 1, TRIES_MAX_RESTART]).toEqual([9, 9])
    // The server's default deadline.
    expect(pauses.reduce((sum, ms) => sum + ms, 0)).toBeGreaterThan(10_000)
  })

  test('of a server that is only busy is tried five times', async () => {
    const { connection, sent } = scripted(json({}), status(503))
    await request(connection, 'GET', '/')
    await expect(request(connection, 'GET', '/')).rejects.toMatchObject({ status: 503 })
    expect(sent).toHaveLength(1 + 5)
  })

  test.each([
    ['2', 2000],
    ['0', 0],
    ['0.5', 500],
    ['999999999', RETRY_AFTER_MS_MAX],
  ])('waits as Retry-After: %s says: %i ms', async (retryAfter, ms) => {
    const { connection, pauses } = scripted(status(503, { 'retry-after': retryAfter }), json({}))
    await request(connection, 'GET', '/')
    expect(pauses).toEqual([ms])
  })

  test.each(['-1', 'Fri, 31 Dec 1999 23:59:59 GMT', 'soon'])('waits as usual for Retry-After: %s', async (retryAfter) => {
    const { connection, pauses } = scripted(status(429, { 'retry-after': retryAfter }), json({}))
    await request(connection, 'GET', '/')
    expect(pauses[0]).toBeGreaterThanOrEqual(PAUSE_MS / 2)
    expect(pauses[0]).toBeLessThanOrEqual(PAUSE_MS)
  })

  test('is not sent again after an abort', async () => {
    const stop = new AbortController()
    const { connection, sent } = scripted(() => {
      stop.abort()
      return broken()
    })
    await expect(request({ ...connection, signal: stop.signal }, 'GET', '/')).rejects.toMatchObject({ code: 'unreachable' })
    expect(sent).toHaveLength(1)
  })
})

describe('a request that fails for good', () => {
  test.each([400, 401, 403, 404, 405, 409, 410, 412, 413, 415, 422, 428, 500, 501])('%i is thrown at once', async (code) => {
    const { connection, sent } = scripted(status(code, { 'x-request-id': 'req_1', 'retry-after': '9' }))
    await expect(request(connection, 'POST', '/')).rejects.toMatchObject({
      name: 'ConvokeClientError',
      code: `code_${code}`,
      message: `error ${code}`,
      status: code,
      requestId: 'req_1',
      retryAfterMs: 9000,
    })
    expect(sent).toHaveLength(1)
  })

  test.each([
    ['a page', '<html>no</html>'],
    ['nothing', ''],
    ['null', 'null'],
    ['a number', '7'],
    ['another shape', '{"error":{"message":"no"},"code":3}'],
  ])('an error that is %s still says the status', async (_what, text) => {
    const { connection } = scripted(() => new Response(text, { status: 418 }))
    await expect(request(connection, 'GET', '/')).rejects.toMatchObject({ code: 'bad_answer', status: 418, message: 'the server answered 418' })
  })

  test('a good answer that is not JSON is nobody’s we know', async () => {
    const { connection, sent } = scripted(() => new Response('<html>hello</html>'))
    await expect(request(connection, 'GET', '/')).rejects.toMatchObject({ name: 'ConvokeClientError', code: 'bad_answer', status: 200 })
    expect(sent).toHaveLength(1)
  })
})

describe('a pause', () => {
  test.each([
    [1, 200],
    [2, 400],
    [5, 3200],
    [6, 5000],
    [40, 5000],
  ])('after try %i is between half of and all of %i ms', (tries, full) => {
    for (let count = 0; count < 50; count++) {
      const ms = pauseMs(tries)
      expect(ms).toBeGreaterThanOrEqual(full / 2)
      expect(ms).toBeLessThanOrEqual(full)
    }
    expect(full).toBeLessThanOrEqual(PAUSE_MS_MAX)
  })

  test.each(['before', 'during'])('ends early when the abort comes %s it, and takes its timer back', async (when) => {
    const stop = new AbortController()
    const timers = new Set<() => void>()
    const connection: Connection = {
      url: '',
      after(_delayMs, fn) {
        timers.add(fn)
        return () => void timers.delete(fn)
      },
    }
    if (when === 'before') stop.abort()
    const over = pause(connection, 1e9, stop.signal)
    stop.abort()
    await over
    expect(timers.size).toBe(0)
  })

  test('passes with the system’s timer too, and stops to listen to its signal', async () => {
    const { signal } = new AbortController()
    await pause({ url: '' }, 1, signal)
    expect(getEventListeners(signal, 'abort')).toEqual([])
  })
})

describe('each method asks for', () => {
  const id = 'a/b'
  const at = '/v1/sessions/a%2Fb'
  type Ask = (client: ReturnType<typeof createClient>) => Promise<unknown>
  const cases: readonly [string, Ask, string, string, unknown][] = [
    ['health', (client) => client.health(), 'GET', '/v1/health', undefined],
    ['config', (client) => client.config(), 'GET', '/v1/config', undefined],
    ['models', (client) => client.models(), 'GET', '/v1/models', undefined],
    ['listSessions', (client) => client.listSessions(), 'GET', '/v1/sessions', undefined],
    [
      'a page of them',
      (client) => client.listSessions({ limit: 2, search: 'a b&c', status: 'ALL' }),
      'GET',
      '/v1/sessions?limit=2&search=a+b%26c&status=ALL',
      undefined,
    ],
    ['createSession', (client) => client.createSession({ title: 't' }), 'POST', '/v1/sessions', { title: 't' }],
    ['getSession', (client) => client.getSession(id), 'GET', at, undefined],
    ['updateSession', (client) => client.updateSession(id, { title: 'n' }), 'PATCH', at, { title: 'n' }],
    ['deleteSession', (client) => client.deleteSession(id), 'DELETE', at, undefined],
    ['sendMessage', (client) => client.sendMessage(id, 'hi'), 'POST', `${at}/messages`, { message: { role: 'user', content: 'hi' } }],
    [
      'sendMessage with options',
      (client) => client.sendMessage(id, { role: 'user', content: 'hi' }, { when_busy: 'enqueue' }),
      'POST',
      `${at}/messages`,
      { when_busy: 'enqueue', message: { role: 'user', content: 'hi' } },
    ],
    ['listMessages', (client) => client.listMessages(id, { offset: 0 }), 'GET', `${at}/messages?offset=0`, undefined],
    ['pendingTools', (client) => client.pendingTools(id), 'GET', `${at}/tools/pending`, undefined],
    [
      'decide',
      (client) => client.decide(id, 'r', { c: { action: 'accept' } }),
      'POST',
      `${at}/tools/decisions`,
      { run_id: 'r', decisions: { c: { action: 'accept' } } },
    ],
    ['cancel', (client) => client.cancel(id, 'r'), 'POST', `${at}/cancel`, { run_id: 'r' }],
    ['setModel', (client) => client.setModel(id, 'r', 'p/m'), 'POST', `${at}/model`, { run_id: 'r', model: 'p/m' }],
  ]
  test.each(cases)('%s', async (_name, act, method, path, body) => {
    const { connection, sent } = scripted(json({ models: ['m'] }))
    const answer = await act(createClient({ ...connection, url: 'http://server//' }))
    expect([sent[0]!.method, sent[0]!.url, sent[0]!.body]).toEqual([method, `http://server${path}`, body === undefined ? undefined : JSON.stringify(body)])
    expect(answer).toEqual(path === '/v1/models' ? ['m'] : { models: ['m'] })
  })

  test('the url without slashes at its end is the client’s', () => {
    expect(createClient({ url: 'http://server//' }).url).toBe('http://server')
  })
})
