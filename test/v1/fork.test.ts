/** Forks on the wire: a new session with the history of another up to a turn's end. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { StreamEvent } from '../../src/domain/event.ts'
import { createClient } from '../../src/client/client.ts'
import { messageId } from '../../src/domain/ids.ts'
import * as wire from '../../src/wire/v1/schemas.ts'
import { ask, frames } from '../support/http.ts'
import { startTestServer } from '../support/server.ts'
import { openStream } from '../support/stream.ts'
import { deltas, ending, openSurface, type DrivenRun, type Surface } from '../support/surface.ts'

const KEYS = [
  { user: 'ann', key: 'key-of-ann' },
  { user: 'bob', key: 'key-of-bob' },
  { user: 'ann', key: 'key-that-reads', scopes: ['sessions:read'] as const },
]
let surface: Surface
beforeAll(async () => void (surface = await openSurface({ keys: KEYS })))
afterAll(() => surface.close())

const as = (key: string, more: object = {}) => ({ authorization: `Bearer ${key}`, ...more })
const fork = (session: string, body: unknown, headers: Record<string, string> = as('key-of-ann')) =>
  ask(surface.url, 'POST', `/v1/sessions/${session}/fork`, body, headers)
const get = (path: string) => ask(surface.url, 'GET', `/v1/sessions/${path}`, undefined, as('key-of-ann'))

/** A run of one turn: positions 2 and 3 its start and message, 4 the turn, 5 and 6 text, 7 what was said, 8 the turn's end, 9 the run's. */
async function spoken(): Promise<DrivenRun> {
  const run = await surface.run(await surface.session('ann'), 'ann')
  const turn = { runId: run.id, turn: 1 }
  const said: readonly StreamEvent[] = [
    { type: 'MessageAdded', runId: run.id, messageId: messageId('01900000-0000-7000-8000-00000000000a'), message: { role: 'assistant', content: 'done' } },
    { type: 'TurnCompleted', ...turn, finishReason: 'stop' },
  ]
  await surface.record(run, [{ type: 'TurnStarted', ...turn, attempt: 1, model: 'm' }, ...deltas(run, 2)])
  await surface.record(run, [...said, ending(run)])
  return run
}

describe('a fork', () => {
  test('is a session at its own place, which says where it comes from', async () => {
    const { session } = await spoken()
    const made = await fork(session, { at: 9 })
    expect([made.status, made.headers.get('location')]).toEqual([201, `/v1/sessions/${made.json.id}`])
    expect(wire.Session.parse(made.json)).toMatchObject({
      title: 'a session',
      status: 'ACTIVE',
      run_status: { state: 'idle' },
      message_count: 2,
      origin: { session_id: session, position: 9 },
    })
    const detail = await get(made.json.id)
    expect(detail.json).toMatchObject({ session: made.json, position: 10, run_position: null })
    expect((await get(session)).json.session.origin).toBeNull()
    const list = (await ask(surface.url, 'GET', '/v1/sessions', undefined, as('key-of-ann'))).json.sessions
    expect(list.find(({ id }: wire.Session) => id === made.json.id)).toEqual(made.json)
    expect((await get(`${made.json.id}/messages`)).json).toMatchObject({ total: 2, messages: [{ content: 'go on' }, { content: 'done' }] })
  })

  test('replays the origin’s events under its own name, then its own', async () => {
    const { session } = await spoken()
    const { id } = (await fork(session, { at: 9, title: 'another way' })).json
    const at = (of: string) => `${surface.url}/v1/sessions/${of}/events?after=0&events=all`
    const [mine, theirs] = [
      await frames(at(id), as('key-of-ann'), ({ id: place }) => place === '10'),
      await frames(at(session), as('key-of-ann'), ({ id: place }) => place === '9'),
    ]
    const bare = (read: typeof mine) => read.map(({ id: place, event, data }) => [place, event, data.event, data.timestamp])
    expect(bare(mine.slice(0, 9))).toEqual(bare(theirs))
    expect(mine.every(({ data }) => data.session_id === id)).toBe(true)
    expect(mine[9]).toMatchObject({
      id: '10',
      event: 'session_forked',
      data: {
        event: {
          SessionForked: { origin: { session_id: session, position: 9 }, title: 'another way', cwd: null, agent: 'convoke', model: null, message_count: 2 },
        },
      },
    })
  })

  test('goes its own way: neither sees what the other does afterwards', async () => {
    const { session } = await spoken()
    const { id } = (await fork(session, { at: 9 })).json
    const other = await surface.run(id, 'ann')
    await surface.record(other, [...deltas(other, 1), ending(other)])
    expect((await get(session)).json).toMatchObject({ position: 9, session: { message_count: 2 } })
    expect((await get(id)).json).toMatchObject({ position: 14, session: { message_count: 3 } })
  })

  test('can be made of a running session, behind a turn that has ended', async () => {
    const run = await spoken()
    const busy = await surface.run(run.session, 'ann')
    await surface.record(busy, [{ type: 'TurnStarted', runId: busy.id, turn: 1, attempt: 1, model: 'm' }, ...deltas(busy, 3)])
    const made = await fork(run.session, { at: 9 })
    expect([made.status, made.json.run_status]).toEqual([201, { state: 'idle' }])
    expect((await fork(run.session, { at: 14 })).json.code).toBe('invalid_fork_point')
  })

  test('appears in the feed with its own first event, and is not told of before', async () => {
    const { session } = await spoken()
    const feed = await openStream(surface.url, '/v1/events?events=all', as('key-of-ann'))
    await feed.until(() => true)
    const { id } = (await fork(session, { at: 9 })).json
    await feed.until(({ data }) => data?.session_id === id)
    expect(feed.frames.map(({ event, data }) => [event, data.position])).toEqual([['session_forked', 10]])
    feed.close()
  })

  test.each([
    ['before the first event', 0],
    ['beyond the head', 10],
    ['where the turn begins', 4],
    ['within the turn', 6],
    ['between what was said and the turn’s end', 7],
  ])('%s is refused', async (_where, at) => {
    const { session } = await spoken()
    const answer = await fork(session, { at })
    expect([answer.status, answer.json.code]).toEqual([422, 'invalid_fork_point'])
  })

  test.each([1, 2, 3, 8, 9])('is made at %i', async (at) => {
    const { session } = await spoken()
    expect((await fork(session, { at })).json.origin).toEqual({ session_id: session, position: at })
  })

  test('of a deleted session is refused', async () => {
    const { session } = await spoken()
    await ask(surface.url, 'DELETE', `/v1/sessions/${session}`, undefined, as('key-of-ann'))
    const answer = await fork(session, { at: 9 })
    expect([answer.status, answer.json.code]).toEqual([409, 'session_deleted'])
  })

  test('needs sessions:write, and of another’s session is of none, wherever it would be', async () => {
    const { session } = await spoken()
    expect((await fork(session, { at: 9 }, as('key-that-reads'))).status).toBe(403)
    for (const at of [0, 6, 9, 99]) expect([at, (await fork(session, { at }, as('key-of-bob'))).status]).toEqual([at, 404])
    expect((await fork('01900000-0000-7000-8000-ffffffffffff', { at: 1 })).status).toBe(404)
    expect((await fork('x', { at: 1 })).json.code).toBe('invalid_id')
  })

  test('is made once with a key, also when it is asked for again behind the origin’s deletion', async () => {
    const { session } = await spoken()
    const keyed = as('key-of-ann', { 'idempotency-key': 'fork-once' })
    const answers = await Promise.all(Array.from({ length: 8 }, () => fork(session, { at: 9 }, keyed)))
    expect(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size).toBe(1)
    expect(answers.filter(({ headers }) => headers.get('idempotency-replayed') === 'true')).toHaveLength(7)
    expect((await fork(session, { at: 8 }, keyed)).json.code).toBe('idempotency_key_reused')
    await ask(surface.url, 'DELETE', `/v1/sessions/${session}`, undefined, as('key-of-ann'))
    expect((await fork(session, { at: 9 }, keyed)).json.id).toBe(answers[0]?.json.id)
  })
})

test('the client forks a real server’s session, which answers in its own folder and survives a restart', async () => {
  let server = await startTestServer()
  try {
    const client = createClient({ url: server.url })
    const { id } = await client.createSession({ title: 'first' })
    await client.sendMessage(id, 'hello')
    for await (const _ of client.events(id, { after: 0, untilRunEnd: true }));
    const { position } = await client.getSession(id)
    const made = await client.fork(id, position, { title: 'second' })
    expect(made).toMatchObject({ title: 'second', origin: { session_id: id, position }, message_count: 2 })
    server = await server.restart()
    const again = createClient({ url: server.url })
    await again.sendMessage(made.id, 'and now?')
    const names = []
    for await (const { name, position: place } of again.events(made.id, { after: position, untilRunEnd: true, all: true })) names.push(`${place} ${name}`)
    expect(names[0]).toBe(`${position + 1} session_forked`)
    expect(names.at(-1)).toMatch(/ run_completed$/)
    expect((await again.listMessages(made.id)).messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'user', 'assistant'])
    expect((await again.getSession(id)).position).toBe(position)
  } finally {
    await server.close()
  }
})
