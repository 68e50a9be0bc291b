/** A command with a key takes effect once: under concurrency, and across a restart (P7). */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { StreamEvent } from '../../src/domain/event.ts'
import { ask } from '../support/http.ts'
import { startTestServer } from '../support/server.ts'
import { ending, openSurface, type DrivenRun, type Surface } from '../support/surface.ts'

const KEYS = [
  { user: 'ann', key: 'key-of-ann' },
  { user: 'bob', key: 'key-of-bob' },
]
let surface: Surface
beforeAll(async () => void (surface = await openSurface({ keys: KEYS })))
afterAll(() => surface.close())

let keys = 0
const newKey = () => `key-${keys++}`
const send = (method: string, path: string, body: unknown, key: string, user = 'ann') =>
  ask(surface.url, method, path, body, { authorization: `Bearer key-of-${user}`, 'idempotency-key': key })
const position = async (session: string) => (await ask(surface.url, 'GET', `/v1/sessions/${session}`, undefined, { 'x-api-key': 'key-of-ann' })).json.position

/** A run that waits for an answer to c1. */
async function asking(): Promise<DrivenRun> {
  const run = await surface.run(await surface.session('ann'), 'ann')
  const events: StreamEvent[] = [
    { type: 'ToolCallsProposed', runId: run.id, turn: 1, calls: [{ id: 'c1', name: 'bash', arguments: {}, disposition: 'ask' }] },
    { type: 'ApprovalRequested', runId: run.id, toolCallIds: ['c1'] },
    { type: 'ResumeRequested', runId: run.id },
  ]
  await surface.record(run, events)
  return run
}

/** Every route that changes something, and how many events its first effect writes. */
const WRITES: readonly {
  readonly name: string
  readonly method: string
  readonly path: string
  readonly body?: (run: string) => unknown
  readonly other?: (run: string) => unknown
  readonly events: number
}[] = [
  {
    name: 'a message',
    method: 'POST',
    path: 'messages',
    body: () => ({ message: { role: 'user', content: 'a' }, when_busy: 'enqueue' }),
    other: () => ({ message: { role: 'user', content: 'b' }, when_busy: 'enqueue' }),
    events: 1,
  },
  { name: 'a change', method: 'PATCH', path: '', body: () => ({ title: 'a' }), other: () => ({ title: 'b' }), events: 1 },
  {
    name: 'a decision',
    method: 'POST',
    path: 'tools/c1/decision',
    body: (run_id) => ({ run_id, action: 'reject' }),
    other: (run_id) => ({ run_id, action: 'accept' }),
    events: 1,
  },
  {
    name: 'decisions',
    method: 'POST',
    path: 'tools/decisions',
    body: (run_id) => ({ run_id, decisions: { c1: { action: 'accept' } } }),
    other: (run_id) => ({ run_id, decisions: {} }),
    events: 1,
  },
  {
    name: 'a cancel',
    method: 'POST',
    path: 'cancel',
    body: (run_id) => ({ run_id }),
    other: () => ({ run_id: '01900000-0000-7000-8000-ffffffffffff' }),
    events: 3,
  },
  {
    name: 'a model',
    method: 'POST',
    path: 'model',
    body: (run_id) => ({ run_id, model: 'demo/convoke' }),
    other: (run_id) => ({ run_id, model: 'convoke' }),
    events: 1,
  },
  {
    name: 'an answer to an interrupted run',
    method: 'POST',
    path: 'resume',
    body: (run_id) => ({ run_id, action: 'resume' }),
    other: (run_id) => ({ run_id, action: 'fail' }),
    events: 1,
  },
  { name: 'a deletion', method: 'DELETE', path: '', events: 4 },
]

const placeOf = (run: DrivenRun, path: string) => `/v1/sessions/${run.session}${path === '' ? '' : `/${path}`}`

test.each(WRITES.filter(({ other }) => other !== undefined))('the key of $name with another body is refused, and changes nothing', async (write) => {
  const run = await asking()
  const key = newKey()
  await send(write.method, placeOf(run, write.path), write.body?.(run.id), key)
  const before = await position(run.session)
  const answer = await send(write.method, placeOf(run, write.path), write.other?.(run.id), key)
  expect([answer.status, answer.json.code]).toEqual([409, 'idempotency_key_reused'])
  expect(await position(run.session)).toBe(before)
})

describe.each(WRITES)('the key of $name', ({ method, path, body, events }) => {
  const at = (run: DrivenRun) => placeOf(run, path)

  test('makes twelve requests at once take effect once, all with the same answer', async () => {
    const run = await asking()
    const before = await position(run.session)
    const key = newKey()
    const answers = await Promise.all(Array.from({ length: 12 }, () => send(method, at(run), body?.(run.id), key)))
    expect(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size).toBe(1)
    expect(answers[0]?.status).toBeLessThan(300)
    expect(answers.filter(({ headers }) => headers.get('idempotency-replayed') === 'true')).toHaveLength(11)
    expect(await position(run.session)).toBe(before + events)
  })

  test('means nothing in another session', async () => {
    const [one, two] = [await asking(), await asking()]
    const key = newKey()
    for (const run of [one, two]) {
      const answer = await send(method, at(run), body?.(run.id), key)
      expect([answer.status < 300, answer.headers.get('idempotency-replayed')]).toEqual([true, null])
    }
  })
})

describe('the key of a creation', () => {
  test('makes twenty requests at once open one session', async () => {
    const key = newKey()
    const answers = await Promise.all(Array.from({ length: 20 }, () => send('POST', '/v1/sessions', { title: `only ${key}` }, key)))
    expect(new Set(answers.map(({ json }) => json.id)).size).toBe(1)
    expect(new Set(answers.map(({ headers }) => headers.get('location')))).toEqual(new Set([`/v1/sessions/${answers[0]?.json.id}`]))
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 201))
    const list = await ask(surface.url, 'GET', `/v1/sessions?search=${encodeURIComponent(`only ${key}`)}`, undefined, { 'x-api-key': 'key-of-ann' })
    expect(list.json.total).toBe(1)
  })

  test('belongs to its user', async () => {
    const key = newKey()
    const [ann, bob] = [await send('POST', '/v1/sessions', { title: 'x' }, key), await send('POST', '/v1/sessions', { title: 'x' }, key, 'bob')]
    expect([bob.status, bob.headers.get('idempotency-replayed')]).toEqual([201, null])
    expect(bob.json.id).not.toBe(ann.json.id)
    expect((await send('POST', '/v1/sessions', { title: 'y' }, key, 'bob')).json.code).toBe('idempotency_key_reused')
  })

  test.each([
    ['white space', ' {\n"agent" : "convoke", "title":"t"}'],
    ['the order of fields', '{"agent":"convoke","title":"t"}'],
    ['fields that nobody knows', '{"title":"t","agent":"convoke","new":1}'],
    ['how letters are written', '{"title":"\\u0074","agent":"convoke"}'],
  ])('does not mind %s', async (_what, text) => {
    const key = newKey()
    const first = await send('POST', '/v1/sessions', '{"title":"t","agent":"convoke"}', key)
    const again = await send('POST', '/v1/sessions', text, key)
    expect([again.json.id, again.headers.get('idempotency-replayed')]).toEqual([first.json.id, 'true'])
  })
})

test('a refusal is not remembered: the same request may succeed later', async () => {
  const run = await surface.run(await surface.session('ann'), 'ann')
  const path = `/v1/sessions/${run.session}/messages`
  const key = newKey()
  const body = { message: { role: 'user', content: 'x' } }
  expect((await send('POST', path, body, key)).json.code).toBe('session_already_running')
  await surface.record(run, [ending(run)])
  const [second, third] = [await send('POST', path, body, key), await send('POST', path, body, key)]
  expect([second.status, second.headers.get('idempotency-replayed')]).toEqual([200, null])
  expect([third.json, third.headers.get('idempotency-replayed')]).toEqual([second.json, 'true'])
})

test('the two names of bulk decisions share their keys', async () => {
  const run = await asking()
  const key = newKey()
  const decisions = { run_id: run.id, decisions: { c1: { action: 'accept' } } }
  await send('POST', `/v1/sessions/${run.session}/tools/decisions`, decisions, key)
  const again = await send('POST', `/v1/sessions/${run.session}/tools/resolve`, decisions, key)
  expect([again.status, again.headers.get('idempotency-replayed')]).toEqual([200, 'true'])
  expect((await send('POST', `/v1/sessions/${run.session}/tools/resolve`, { ...decisions, decisions: {} }, key)).json.code).toBe('idempotency_key_reused')
})

test('an id in upper case is the same place', async () => {
  const session = await surface.session('ann')
  const key = newKey()
  const first = await send('PATCH', `/v1/sessions/${session}`, { title: 'x' }, key)
  const again = await send('PATCH', `/v1/sessions/${session.toUpperCase()}`, { title: 'x' }, key)
  expect([first.headers.get('idempotency-replayed'), again.headers.get('idempotency-replayed')]).toEqual([null, 'true'])
})

test.each([
  ['one letter', 'a', 201],
  ['a quoted string', '"8e03978e-40d5-43dd-bc93-6894a57f9324"', 201],
  ['255 letters', 'k'.repeat(255), 201],
  ['256 letters', 'k'.repeat(256), 400],
  ['nothing', '', 400],
  ['a space inside', 'a b', 400],
  ['a letter beyond ASCII', 'é', 400],
])('a key of %s is answered %i', async (_what, key, status) => {
  const answer = await send('POST', '/v1/sessions', { title: 'x' }, key)
  expect([answer.status, answer.json.code]).toEqual([status, status === 201 ? undefined : 'invalid_idempotency_key'])
})

test('a key survives a restart', async () => {
  const server = await startTestServer()
  const create = (url: string) => ask(url, 'POST', '/v1/sessions', { title: 'once' }, { 'idempotency-key': 'create' })
  const first = await create(server.url)
  const say = (url: string) =>
    ask(url, 'POST', `/v1/sessions/${first.json.id}/messages`, { message: { role: 'user', content: 'x' } }, { 'idempotency-key': 'say' })
  const said = await say(server.url)
  const again = await server.restart()
  const [created, repeated] = [await create(again.url), await say(again.url)]
  expect([created.json.id, created.headers.get('idempotency-replayed')]).toEqual([first.json.id, 'true'])
  expect([repeated.json, repeated.headers.get('idempotency-replayed')]).toEqual([said.json, 'true'])
  expect((await ask(again.url, 'POST', '/v1/sessions', { title: 'twice' }, { 'idempotency-key': 'create' })).json.code).toBe('idempotency_key_reused')
  expect((await ask(again.url, 'GET', '/v1/sessions')).json.total).toBe(1)
  await again.close()
})
