/** Who may ask what, at every route that the document names (P11, and the door of design section 10). */
import { afterAll, describe, expect, test } from 'vitest'
import { ask } from '../support/http.ts'
import { operationsOf, type Document } from '../support/openapi.ts'
import { deltas, openSurface } from '../support/surface.ts'

const UNKNOWN = '01900000-0000-7000-8000-ffffffffffff'
const SCOPES = ['sessions:read', 'sessions:write', 'approvals:decide'] as const
const KEYS = [
  { user: 'ann', key: 'key-of-ann' },
  { user: 'bob', key: 'key-of-bob' },
  { user: 'ann', key: 'key-of-nothing', scopes: [] },
  { user: 'ann', key: 'key-of-old', expiresMs: 1 },
  { user: 'ann', key: 'key-of-admin', scopes: ['admin'] as const },
  ...SCOPES.map((scope) => ({ user: 'ann', key: `only-${scope}`, scopes: [scope] })),
  ...SCOPES.map((scope) => ({ user: 'ann', key: `without-${scope}`, scopes: SCOPES.filter((other) => other !== scope) })),
]
const ORIGIN = 'https://app.example'
const BODY_MAX = 64 * 1024
const surface = await openSurface({ keys: KEYS, cors: { origins: [ORIGIN] }, bodyBytesMax: BODY_MAX })
afterAll(() => surface.close())

const document = (await ask(surface.url, 'GET', '/v1/openapi.json')).json as Document
const operations = operationsOf(document)
const closed = operations.filter((operation) => !operation.public)
const ofSessions = closed.filter(({ path }) => path.includes('{id}'))

/** A body that each route takes, and the scope that it asks for; literals, so that a new route must be thought about. */
const BODIES: Readonly<Record<string, unknown>> = {
  createSession: { title: 'x' },
  forkSession: { at: 1 },
  updateSession: { title: 'x' },
  sendMessage: { message: { role: 'user', content: 'x' } },
  decideToolCall: { run_id: UNKNOWN, action: 'accept' },
  decideToolCalls: { run_id: UNKNOWN, decisions: {} },
  resolveToolCalls: { run_id: UNKNOWN, decisions: {} },
  cancelRun: { run_id: UNKNOWN },
  resumeRun: { run_id: UNKNOWN, action: 'resume' },
  setModel: { run_id: UNKNOWN, model: 'demo/convoke' },
}
const SCOPE_OF: Readonly<Record<string, (typeof SCOPES)[number] | undefined>> = {
  getConfig: undefined,
  listModels: undefined,
  listSessions: 'sessions:read',
  createSession: 'sessions:write',
  getSession: 'sessions:read',
  forkSession: 'sessions:write',
  updateSession: 'sessions:write',
  deleteSession: 'sessions:write',
  sendMessage: 'sessions:write',
  listMessages: 'sessions:read',
  pendingTools: 'sessions:read',
  decideToolCall: 'approvals:decide',
  decideToolCalls: 'approvals:decide',
  resolveToolCalls: 'approvals:decide',
  cancelRun: 'sessions:write',
  resumeRun: 'sessions:write',
  setModel: 'sessions:write',
  sessionEvents: 'sessions:read',
  allEvents: 'sessions:read',
  sessionSocket: 'sessions:read',
}

type Operation = (typeof operations)[number]
/** Asks a route; of streams only the head. */
async function call(operation: Operation, id: string, headers: Record<string, string>, body: unknown = BODIES[operation.operationId]) {
  const path = operation.path.replace('{id}', id).replace('{tool_call_id}', 'c1')
  const streams = operation.operationId === 'sessionEvents' || operation.operationId === 'allEvents'
  if (!streams) return ask(surface.url, operation.method, path, body, headers)
  const stop = new AbortController()
  const response = await fetch(`${surface.url}${path}`, { headers, signal: stop.signal })
  const isStream = response.headers.get('content-type')?.startsWith('text/event-stream') === true
  const text = isStream ? '' : await response.text()
  stop.abort()
  return { status: response.status, headers: response.headers, text, json: text === '' ? undefined : JSON.parse(text) }
}
const key = (name: string) => ({ authorization: `Bearer ${name}` })
const named = (list: readonly Operation[]) => list.map((operation) => [`${operation.method} ${operation.path}`, operation] as const)

test('the tables of this file name every route', () => {
  expect(closed.map(({ operationId }) => operationId).sort()).toEqual(Object.keys(SCOPE_OF).sort())
  expect(closed.flatMap(({ operationId, body }) => (body === undefined ? [] : [operationId])).sort()).toEqual(Object.keys(BODIES).sort())
  expect(operations.filter((operation) => operation.public).map(({ path }) => path)).toEqual(['/v1/health', '/v1/openapi.json', '/docs'])
})

test.each(['/v1/health', '/v1/openapi.json', '/docs'])('%s asks nobody for a key', async (path) => {
  for (const headers of [{}, key('nobody')]) expect((await ask(surface.url, 'GET', path, undefined, headers)).status).toBe(200)
})

describe.each(named(closed))('%s', (_name, operation) => {
  test.each([
    ['no key', {}],
    ['an empty key', { authorization: 'Bearer ' }],
    ['an unknown key', key('nobody')],
    ['a key that has run out', key('key-of-old')],
    ['a part of a key', key('key-of-an')],
    ['another scheme', { authorization: 'Basic key-of-ann' }],
    ['a scheme in lower case', { authorization: 'bearer key-of-ann' }],
    ['an unknown key of its own header', { 'x-api-key': 'nobody' }],
  ])('answers 401 to %s', async (_what, headers) => {
    const answer = await call(operation, UNKNOWN, headers as Record<string, string>)
    expect([answer.status, answer.headers.get('content-type'), answer.headers.get('www-authenticate')]).toEqual([401, 'application/problem+json', 'Bearer'])
    expect(answer.json).toMatchObject({ error: 'Unauthorized', code: 'unauthorized', status: 401, request_id: answer.headers.get('x-request-id') })
  })

  test('asks for the key before it looks at id, query or body', async () => {
    const answer = await call(operation, 'no-id', { 'content-type': 'text/plain' }, operation.body === undefined ? undefined : '{')
    expect(answer.status).toBe(401)
  })

  test.each(['key-of-ann', 'key-of-admin'])('lets %s in, by either header', async (name) => {
    const session = await surface.session('ann')
    for (const headers of [key(name), { 'x-api-key': name }]) {
      const answer = await call(operation, session, headers as Record<string, string>)
      expect([401, 403, 404]).not.toContain(answer.status)
    }
  })

  test('needs its scope, and no other', async () => {
    const session = await surface.session('ann')
    const scope = SCOPE_OF[operation.operationId]
    const forbidden = async (name: string) => (await call(operation, session, key(name))).json?.code === 'forbidden'
    expect(await forbidden('key-of-nothing')).toBe(scope !== undefined)
    for (const other of SCOPES)
      expect([other, await forbidden(`without-${other}`), await forbidden(`only-${other}`)]).toEqual([
        other,
        other === scope,
        scope !== undefined && other !== scope,
      ])
  })

  test.each([
    ['Host', { host: 'evil.example' }, 'forbidden_host'],
    ['Origin', { origin: 'https://evil.example' }, 'forbidden_origin'],
    ['Origin of a file', { origin: 'null' }, 'forbidden_origin'],
  ])('refuses another %s before it asks for a key', async (_what, headers, code) => {
    // `fetch` sets Host itself: the socket tests and the raw ones send another.
    if ('host' in headers) return expect((await rawHost(operation, headers.host)).code).toBe(code)
    expect((await call(operation, UNKNOWN, headers as Record<string, string>)).json).toMatchObject({ status: 403, code })
  })
})

async function rawHost(operation: Operation, host: string) {
  const { request } = await import('node:http')
  return new Promise<{ code: string }>((resolve, reject) => {
    const sent = request(`${surface.url}${operation.path.replace('{id}', UNKNOWN).replace('{tool_call_id}', 'c')}`, {
      method: operation.method,
      headers: { host },
    })
    sent.on('error', reject)
    sent.on('response', (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
      response.on('end', () => resolve(JSON.parse(text)))
    })
    sent.end()
  })
}

describe.each(named(ofSessions))('%s', (_name, operation) => {
  test('answers for another’s session in the very words as for an unknown one, whatever state it is in (P11)', async () => {
    const idle = await surface.session('bob')
    const run = await surface.run(await surface.session('bob'), 'bob')
    await surface.record(run, deltas(run, 3))
    const deleted = await surface.session('bob')
    await ask(surface.url, 'DELETE', `/v1/sessions/${deleted}`, undefined, key('key-of-bob'))
    const words = async (id: string, name: string) => {
      const answer = await call(operation, id, { ...key(name), 'x-request-id': 'same' })
      const headers = [...answer.headers].filter(([header]) => header !== 'date')
      return JSON.stringify([answer.status, headers, answer.text]).replaceAll(id, 'ID')
    }
    for (const name of ['key-of-ann', 'key-of-admin', 'key-of-nothing']) {
      const unknown = await words(UNKNOWN, name)
      expect(unknown).toMatch(/^\[404,/)
      for (const id of [idle, run.session, deleted, run.session.toUpperCase()]) expect((await words(id, name)).replaceAll(id.toLowerCase(), 'ID')).toBe(unknown)
    }
  })

  test('answers 400 to what is no id', async () => {
    for (const id of ['abc', `${UNKNOWN}x`, '%00', '{id}', UNKNOWN.replaceAll('-', '')]) {
      const answer = await call(operation, id, key('key-of-ann'))
      expect([answer.status, answer.json.code]).toEqual([400, 'invalid_id'])
    }
  })
})

describe('lists', () => {
  test('show nobody else’s sessions, by no query', async () => {
    const theirs = await surface.session('bob')
    for (const query of [
      '',
      '?status=all',
      '?search=session&limit=1000',
      `?search=${theirs}`,
      '?status=deleted&limit=1000',
      '?offset=0&limit=1000&status=ALL',
    ]) {
      const { sessions } = (await ask(surface.url, 'GET', `/v1/sessions${query}`, undefined, key('key-of-ann'))).json
      expect(sessions.map(({ id }: { id: string }) => id)).not.toContain(theirs)
    }
  })

  test('go on at another’s cursor as at any place, without a word of theirs', async () => {
    const theirs = [await surface.session('bob'), await surface.session('bob'), await surface.session('bob')]
    const { next_cursor: cursor } = (await ask(surface.url, 'GET', '/v1/sessions?limit=1', undefined, key('key-of-bob'))).json
    const page = await ask(surface.url, 'GET', `/v1/sessions?limit=1000&status=all&cursor=${cursor}`, undefined, key('key-of-ann'))
    expect(page.status).toBe(200)
    for (const id of theirs) expect(page.text).not.toContain(id)
  })
})

test.each(['all', ['bash']])('a key that may not decide approvals may not lift them either: auto_approve %j', async (auto) => {
  const session = (await ask(surface.url, 'POST', '/v1/sessions', { title: 'x' }, { 'x-api-key': 'key-of-ann' })).json.id as string
  const say = (auto_approve: unknown, key: string) =>
    ask(
      surface.url,
      'POST',
      `/v1/sessions/${session}/messages`,
      { message: { role: 'user', content: 'hi' }, overrides: { auto_approve } },
      { 'x-api-key': key },
    )
  expect((await say(auto, 'without-approvals:decide')).json.code).toBe('forbidden')
  expect((await say('none', 'without-approvals:decide')).status).toBe(200)
})
