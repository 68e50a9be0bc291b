/** The public `Server` class, as an embedding program uses it. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { Server, type ServerOptions } from '../src/index.ts'
import { ask, frames } from './support/http.ts'

/** A server that is stopped, and whose data is gone, when the test has finished. */
function newServer(options: ServerOptions = {}): Server & { readonly data: string } {
  const data = mkdtempSync(join(tmpdir(), 'convoke-embedded-'))
  const server = new Server({ port: 0, data, log: 'silent', ...options, models: { demoPaceMs: 0, discover: false, ...options.models } })
  onTestFinished(async () => {
    await server.stop()
    rmSync(data, { recursive: true, force: true })
  })
  return Object.assign(server, { data })
}

const status = async (url: string, headers: Record<string, string> = {}) => (await ask(url, 'GET', '/v1/config', undefined, headers)).status
const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
const held = (data: string) => existsSync(join(data, 'convoke.pid'))

describe('an embedded server', () => {
  test('is three lines: make it, start it, ask it', async () => {
    const server = newServer()
    await server.start()
    expect((await ask(server.url, 'POST', '/v1/sessions', { title: 'mine' })).status).toBe(201)
    expect(server.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
  })

  test('has no url before it is started, nor after it was stopped', async () => {
    const server = newServer()
    expect(() => server.url).toThrow('the server is not started')
    await server.start()
    await server.stop()
    expect(() => server.url).toThrow('the server is not started')
  })

  test('looks for no configuration file, but reads the one that it is given', async () => {
    const server = newServer()
    const file = join(server.data, 'mine.json')
    writeFileSync(file, '{"limits": {"bodyBytes": 1024}}')
    const other = newServer({ config: file })
    await other.start()
    expect((await ask(other.url, 'POST', '/v1/sessions', { title: 'x'.repeat(2000) })).status).toBe(413)
  })

  test.each<[string, string, RegExp]>([
    ['127.0.0.1', '127.0.0.1', /^http:\/\/127\.0\.0\.1:/],
    ['localhost', 'localhost', /^http:\/\/localhost:/],
    ['::1', '[::1]', /^http:\/\/\[::1\]:/],
  ])('on %s has a url that names %s', async (host, _name, url) => {
    const server = newServer({ host })
    await server.start()
    expect(server.url).toMatch(url)
    expect(await status(server.url)).toBe(200)
  })
})

describe('starting and stopping', () => {
  test('a second start is refused, and the first goes on', async () => {
    const server = newServer()
    const first = server.start()
    await expect(server.start()).rejects.toThrow('the server is started already')
    await first
    await expect(server.start()).rejects.toThrow('the server is started already')
    expect(await status(server.url)).toBe(200)
  })

  test('a stop before any start, and a second stop, do nothing', async () => {
    const server = newServer()
    await server.stop()
    await server.start()
    const { url } = server
    await Promise.all([server.stop(), server.stop()])
    await server.stop()
    expect(held(server.data)).toBe(false)
    await expect(fetch(url)).rejects.toThrow()
  })

  test('a stop while it starts waits for the start, and leaves nothing open', async () => {
    const server = newServer()
    const starting = server.start()
    await server.stop()
    await starting
    expect(held(server.data)).toBe(false)
    expect(() => server.url).toThrow('the server is not started')
  })

  test('a start may follow a stop, with the same data', async () => {
    const server = newServer()
    await server.start()
    const { id } = (await ask(server.url, 'POST', '/v1/sessions', { title: 'kept' })).json
    await server.stop()
    await server.start()
    expect((await ask(server.url, 'GET', `/v1/sessions/${id}`)).json.session.title).toBe('kept')
  })

  test('a stop tells the streams and ends them', async () => {
    const server = newServer()
    await server.start()
    const { id } = (await ask(server.url, 'POST', '/v1/sessions', { title: 'followed' })).json
    const response = await fetch(`${server.url}/v1/sessions/${id}/events?after=0`)
    const text = response.text()
    await server.stop()
    expect(await text).toMatch(/\nretry: \d+\n[^]*$/)
  })

  test('a taken port rejects with the system’s code and leaves nothing open', async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    onTestFinished(() => void taken.close())
    const { port } = taken.address() as AddressInfo
    const server = newServer({ port })
    await expect(server.start()).rejects.toMatchObject({ code: 'EADDRINUSE', port })
    expect(held(server.data)).toBe(false)
    expect(() => server.url).toThrow('the server is not started')
    taken.close()
    await once(taken, 'close')
    await server.start()
    expect(server.url).toBe(`http://127.0.0.1:${port}`)
  })

  test('a data folder that another server holds rejects, and the holder goes on', async () => {
    const first = newServer()
    await first.start()
    const second = newServer({ data: first.data })
    await expect(second.start()).rejects.toMatchObject({ code: 'store_locked' })
    await second.stop()
    expect(await status(first.url)).toBe(200)
  })

  test('a bad configuration rejects, naming the key, and nothing is made', async () => {
    const data = join(mkdtempSync(join(tmpdir(), 'convoke-embedded-')), 'data')
    onTestFinished(() => rmSync(join(data, '..'), { recursive: true }))
    const server = newServer({ data, shutdownMs: -1 })
    await expect(server.start()).rejects.toMatchObject({ code: 'config_invalid', message: expect.stringContaining('shutdownMs') as unknown })
    expect(existsSync(data)).toBe(false)
  })
})

describe('options that cannot be had are refused at once', () => {
  test.each<[string, ServerOptions, string]>([
    ['a rate limit', { rateLimit: { maxRequests: 1 } }, 'rateLimit is not supported by this version'],
    ['an empty rate limit', { rateLimit: {} }, 'rateLimit is not supported by this version'],
    ['auth without tokens or handler', { auth: { enabled: true } }, 'auth needs tokens or a handler'],
    ['auth without any token', { auth: { enabled: true, tokens: [] } }, 'auth needs tokens or a handler'],
    ['auth with empty tokens', { auth: { enabled: true, tokens: ['', ''] } }, 'auth needs tokens or a handler'],
    ['credentials for every origin', { cors: { origin: '*', credentials: true } }, 'cors cannot allow credentials to every origin'],
    ['credentials for every origin in a list', { cors: { origins: ['https://a', '*'], credentials: true } }, 'cors cannot allow credentials to every origin'],
  ])('%s', (_what, options, message) => {
    expect(() => new Server(options)).toThrow(expect.objectContaining({ code: 'config_invalid', message }))
  })
})

describe('auth', () => {
  const TOKEN = 'a-token'

  test.each<[string, ServerOptions]>([
    ['none', {}],
    ['false', { auth: false }],
    ['disabled', { auth: { enabled: false, tokens: [TOKEN] } }],
  ])('that is %s asks nobody for a key', async (_what, options) => {
    const server = newServer(options)
    await server.start()
    expect([await status(server.url), await status(server.url, bearer('anything'))]).toEqual([200, 200])
  })

  test('false opens an address that others can reach', async () => {
    const server = newServer({ host: '0.0.0.0', auth: false })
    await server.start()
    expect(await status(server.url.replace('0.0.0.0', '127.0.0.1'))).toBe(200)
  })

  test('tokens let in who has one, in either header, as the local user; health is open', async () => {
    const server = newServer({ auth: { enabled: true, tokens: ['', TOKEN, 'another'] } })
    await server.start()
    const { url } = server
    expect(await status(url, bearer(TOKEN))).toBe(200)
    expect(await status(url, bearer('another'))).toBe(200)
    expect(await status(url, { 'x-api-key': TOKEN })).toBe(200)
    for (const headers of [{}, bearer(''), bearer('a-toke'), bearer('a-token2'), { authorization: `Basic ${TOKEN}` }])
      expect(await status(url, headers)).toBe(401)
    expect((await ask(url, 'GET', '/v1/health')).status).toBe(200)
    await ask(url, 'POST', '/v1/sessions', { title: 'shared' }, bearer(TOKEN))
    expect((await ask(url, 'GET', '/v1/sessions', undefined, bearer('another'))).json.total).toBe(1)
  })

  test('a handler is asked for each token that no list has; what it throws or says instead of true is a no', async () => {
    const asked: string[] = []
    const handler = (token: string) => {
      asked.push(token)
      if (token === 'throws') throw new Error('mine')
      if (token === 'rejects') return Promise.reject(new Error('mine'))
      if (token === 'truthy') return 'yes' as unknown as boolean
      return token === 'good' ? Promise.resolve(true) : token === 'sync'
    }
    const server = newServer({ auth: { enabled: true, tokens: [TOKEN], handler } })
    await server.start()
    const tokens = [TOKEN, 'good', 'sync', 'bad', 'throws', 'rejects', 'truthy']
    const answers: number[] = []
    for (const token of tokens) answers.push(await status(server.url, bearer(token)))
    expect(answers).toEqual([200, 200, 200, 401, 401, 401, 401])
    expect(asked).toEqual(tokens.slice(1))
    expect(await status(server.url)).toBe(401)
  })

  test('a handler that answers slowly holds up its own request alone', async () => {
    let decide = (_allowed: boolean) => undefined as void
    let begun = () => undefined as void
    const asked = new Promise<void>((resolve) => (begun = resolve))
    const handler = () => {
      begun()
      return new Promise<boolean>((resolve) => (decide = resolve))
    }
    const server = newServer({ auth: { enabled: true, tokens: [TOKEN], handler } })
    await server.start()
    const slow = status(server.url, bearer('slow'))
    await asked
    expect(await status(server.url, bearer(TOKEN))).toBe(200)
    decide(true)
    expect(await slow).toBe(200)
  })

  test('a handler that never answers is a no after the request’s time', async () => {
    const server = newServer({ auth: { enabled: true, handler: () => new Promise<boolean>(() => undefined) }, limits: { requestMs: 100 } })
    await server.start()
    expect(await status(server.url, bearer('x'))).toBeGreaterThanOrEqual(400)
  })

  test('configured keys and tokens stand side by side, each with its user', async () => {
    const server = newServer({ access: { keys: [{ user: 'ann', key: 'key-of-ann' }] }, auth: { enabled: true, tokens: [TOKEN] } })
    await server.start()
    await ask(server.url, 'POST', '/v1/sessions', { title: 'ann’s' }, bearer('key-of-ann'))
    expect((await ask(server.url, 'GET', '/v1/sessions', undefined, bearer('key-of-ann'))).json.total).toBe(1)
    expect((await ask(server.url, 'GET', '/v1/sessions', undefined, bearer(TOKEN))).json.total).toBe(0)
    expect(await status(server.url)).toBe(401)
  })
})

describe('cors', () => {
  const origin = 'https://app.example'
  const preflight = (url: string, from: string) =>
    ask(url, 'OPTIONS', '/v1/sessions', undefined, { origin: from, 'access-control-request-method': 'POST', 'access-control-request-headers': 'x-mine' })

  test.each<[string, ServerOptions['cors']]>([
    ['as the class says it, with one origin', { origin, methods: ['GET', 'POST'], allowedHeaders: ['x-mine'], credentials: true }],
    ['as the class says it, with a list', { origin: [origin], methods: ['GET', 'POST'], allowedHeaders: ['x-mine'], credentials: true }],
    ['as a configuration says it', { origins: [origin], methods: ['GET', 'POST'], allowedHeaders: ['x-mine'], credentials: true }],
  ])('%s allows that origin and no other', async (_how, cors) => {
    const server = newServer({ cors })
    await server.start()
    const allowed = await preflight(server.url, origin)
    expect(allowed.status).toBe(204)
    const header = (name: string) => allowed.headers.get(`access-control-${name}`)
    expect([header('allow-origin'), header('allow-methods'), header('allow-headers'), header('allow-credentials')]).toEqual([
      origin,
      'GET, POST',
      'x-mine',
      'true',
    ])
    expect((await ask(server.url, 'GET', '/v1/config', undefined, { origin })).headers.get('access-control-allow-origin')).toBe(origin)
    expect((await preflight(server.url, 'https://evil.example')).headers.get('access-control-allow-origin')).toBeNull()
  })

  test('for every origin says so, without credentials', async () => {
    const server = newServer({ cors: { origin: '*' } })
    await server.start()
    const { headers } = await ask(server.url, 'GET', '/v1/config', undefined, { origin })
    expect([headers.get('access-control-allow-origin'), headers.get('access-control-allow-credentials')]).toEqual(['*', null])
  })
})

describe('middleware', () => {
  test('stands in the order in which it was added, the first outermost', async () => {
    const seen: string[] = []
    const layer = (name: string) => async (_context: unknown, next: () => Promise<void>) => {
      seen.push(`${name} in`)
      await next()
      seen.push(`${name} out`)
    }
    const server = newServer().use(layer('a')).use(layer('b'))
    await server.start()
    expect(await status(server.url)).toBe(200)
    expect(seen).toEqual(['a in', 'b in', 'b out', 'a out'])
  })

  test('may be added while the server runs, may answer itself, and may change an answer', async () => {
    const server = newServer()
    await server.start()
    expect(await status(server.url)).toBe(200)
    server.use(async (context, next) => {
      if (context.req.header('x-stop') !== undefined) return context.json({ mine: true }, 418)
      await next()
      context.header('x-mine', 'yes')
      return undefined
    })
    expect(await ask(server.url, 'GET', '/v1/config', undefined, { 'x-stop': '1' })).toMatchObject({ status: 418, json: { mine: true } })
    expect((await ask(server.url, 'GET', '/v1/config')).headers.get('x-mine')).toBe('yes')
  })

  test('that throws is a fault of the server, told to who listens for errors', async () => {
    const errors: unknown[] = []
    const mine = new Error('mine')
    const server = newServer()
      .use(() => {
        throw mine
      })
      .on('error', (error) => void errors.push(error))
    await server.start()
    const answer = await ask(server.url, 'GET', '/v1/config')
    expect(answer.status).toBe(500)
    expect(answer.text).not.toContain('mine')
    expect(errors).toEqual([mine])
  })
})

describe('listeners', () => {
  test('hear of requests and of new sessions', async () => {
    const requests: string[] = []
    const sessions: string[] = []
    const server = newServer()
      .on('request', ({ method, path, status: code }) => void requests.push(`${method} ${path} ${code}`))
      .on('session_created', ({ id }) => void sessions.push(id))
    await server.start()
    const { id } = (await ask(server.url, 'POST', '/v1/sessions', { title: 'x' })).json
    await ask(server.url, 'GET', '/v1/nothing')
    await expect.poll(() => requests).toEqual(['POST /v1/sessions 201', 'GET /v1/nothing 404'])
    expect(sessions).toEqual([id])
  })

  test('that throw hurt nobody: the others hear, the answer is given, and the error is told once', async () => {
    const errors: unknown[] = []
    const heard: string[] = []
    const mine = new Error('mine')
    const server = newServer()
      .on('session_created', () => {
        throw mine
      })
      .on('session_created', ({ id }) => void heard.push(id))
      .on('error', (error) => {
        errors.push(error)
        throw new Error('a listener for errors that throws is told to nobody')
      })
    await server.start()
    const made = await ask(server.url, 'POST', '/v1/sessions', { title: 'x' })
    expect(made.status).toBe(201)
    expect([heard, errors]).toEqual([[made.json.id], [mine]])
  })

  test('hear of a stream when it has ended', async () => {
    const paths: string[] = []
    const server = newServer().on('request', ({ path }) => void paths.push(path))
    await server.start()
    const { id } = (await ask(server.url, 'POST', '/v1/sessions', { title: 'x' })).json
    const path = `/v1/sessions/${id}/events`
    await frames(`${server.url}${path}?after=0&events=all`, {}, () => true)
    await expect.poll(() => paths).toContain(path)
  })
})

test('a middleware may answer with a response that cannot be changed', async () => {
  const server = newServer().use(async (c, next) => (c.req.path === '/old' ? Response.redirect('http://127.0.0.1/new', 302) : next()))
  await server.start()
  const answer = await fetch(`${server.url}/old`, { redirect: 'manual' })
  expect([answer.status, answer.headers.get('location')]).toEqual([302, 'http://127.0.0.1/new'])
  expect(answer.headers.get('x-request-id')).toMatch(/^req_/)
})

test('a reader who leaves while it is asked who it is gives its place back', async () => {
  let letIn: () => void = () => undefined
  let asked: () => void = () => undefined
  let slow = false
  const handler = async () => {
    if (!slow) return true
    asked()
    await new Promise<void>((resolve) => (letIn = resolve))
    return true
  }
  const server = newServer({ auth: { enabled: true, handler }, limits: { streams: 1 } })
  let gone: () => void = () => undefined
  server.on('request', ({ path }) => void (path === '/v1/events' && gone()))
  await server.start()
  const headers = { authorization: 'Bearer any' }
  slow = true
  const stop = new AbortController()
  const arrived = new Promise<void>((resolve) => (asked = resolve))
  const left = new Promise<void>((resolve) => (gone = resolve))
  const first = fetch(`${server.url}/v1/events`, { headers, signal: stop.signal }).catch(() => undefined)
  await arrived
  stop.abort()
  await Promise.all([first, left])
  letIn()
  slow = false
  await expect
    .poll(async () => {
      const answer = await fetch(`${server.url}/v1/events`, { headers })
      await answer.body?.cancel()
      return answer.status
    })
    .toBe(200)
})
