/** A session that is purged is gone: from every route, stream, folder and byte. */
import { existsSync, mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { createClient } from '../../src/client/client.ts'
import * as wire from '../../src/wire/v1/schemas.ts'
import { ask } from '../support/http.ts'
import { startTestServer } from '../support/server.ts'
import { openSocket } from '../support/socket.ts'
import { openStream } from '../support/stream.ts'
import { deltas, ending, openSurface, type Surface } from '../support/surface.ts'

const KEYS = [
  { user: 'ann', key: 'key-of-ann' },
  { user: 'bob', key: 'key-of-bob' },
  { user: 'ann', key: 'key-that-reads', scopes: ['sessions:read'] as const },
]
let surface: Surface
beforeAll(async () => void (surface = await openSurface({ keys: KEYS })))
afterAll(() => surface.close())

const as = (key: string, more: object = {}) => ({ authorization: `Bearer ${key}`, ...more })
const purge = (session: string, headers: Record<string, string> = as('key-of-ann')) =>
  ask(surface.url, 'DELETE', `/v1/sessions/${session}?purge=true`, undefined, headers)
const get = (path: string) => ask(surface.url, 'GET', `/v1/sessions/${path}`, undefined, as('key-of-ann'))

/** A session whose run has ended: 1 + 2 + 3 + 1 events in four batches. */
async function spoken(): Promise<string> {
  const run = await surface.run(await surface.session('ann'), 'ann')
  await surface.record(run, deltas(run, 3))
  await surface.record(run, [ending(run)])
  return run.session
}

describe('a purge', () => {
  test('answers what is gone, and then the session is unknown on every route', async () => {
    const session = await spoken()
    const answer = await purge(session)
    expect([answer.status, wire.Receipt.parse(answer.json)]).toEqual([
      200,
      { session_id: session, rows: { batches: 4, messages: 1, state: 2 }, indexes: 0, segments: { freed: 1, kept: 0 }, files: 0 },
    ])
    for (const path of ['', '/messages', '/events', '/tools/pending']) expect((await get(`${session}${path}`)).status).toBe(404)
    for (const path of ['', '?purge=true'])
      expect((await ask(surface.url, 'DELETE', `/v1/sessions/${session}${path}`, undefined, as('key-of-ann'))).status).toBe(404)
    const list = await ask(surface.url, 'GET', '/v1/sessions?status=ALL&limit=1000', undefined, as('key-of-ann'))
    expect(list.text).not.toContain(session)
  })

  test('takes a deleted session, too', async () => {
    const session = await spoken()
    await ask(surface.url, 'DELETE', `/v1/sessions/${session}`, undefined, as('key-of-ann'))
    expect((await purge(session)).status).toBe(200)
    expect((await get(session)).status).toBe(404)
  })

  test('needs sessions:write, and of another’s session is one of none', async () => {
    const session = await spoken()
    expect((await purge(session, as('key-that-reads'))).status).toBe(403)
    expect((await purge(session, as('key-of-bob'))).status).toBe(404)
    expect((await purge('x')).json.code).toBe('invalid_id')
    expect((await get(session)).status).toBe(200)
  })

  test('is said to be none by any value but true', async () => {
    const session = await spoken()
    const say = (value: string) => ask(surface.url, 'DELETE', `/v1/sessions/${session}?purge=${value}`, undefined, as('key-of-ann'))
    expect((await say('yes')).json.code).toBe('invalid_request')
    expect((await say('false')).status).toBe(204)
    expect((await get(session)).json.session.status).toBe('DELETED')
  })

  test('with a key gives its receipt again; the key of a deletion is another’s', async () => {
    const session = await spoken()
    const keyed = as('key-of-ann', { 'idempotency-key': `purge-${session}` })
    const answers = await Promise.all(Array.from({ length: 6 }, () => purge(session, keyed)))
    expect(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size).toBe(1)
    expect(answers.filter(({ headers }) => headers.get('idempotency-replayed') === 'true')).toHaveLength(5)
    const plain = await ask(surface.url, 'DELETE', `/v1/sessions/${session}`, undefined, keyed)
    expect([plain.status, plain.json.code]).toEqual([409, 'idempotency_key_reused'])
    expect((await purge(session)).status).toBe(404)
  })

  test('ends a run that nobody ends, after the time that its driver has for that', async () => {
    const run = await surface.run(await surface.session('ann'), 'ann')
    await surface.record(run, [{ type: 'TurnStarted', runId: run.id, turn: 1, attempt: 1, model: 'm' }])
    let done = false
    const answer = purge(run.session).finally(() => (done = true))
    await expect
      .poll(() => {
        surface.clock.advance(150)
        return done
      })
      .toBe(true)
    expect((await answer).status).toBe(200)
    expect(await surface.context.store.state(run.session)).toBeUndefined()
  })

  test('ends the streams and sockets of the session, and no others', async () => {
    const [session, other] = [await spoken(), await spoken()]
    const one = await openStream(surface.url, `/v1/sessions/${session}/events?after=0`, as('key-of-ann'))
    const two = await openStream(surface.url, `/v1/sessions/${other}/events?after=0`, as('key-of-ann'))
    const feed = await openStream(surface.url, '/v1/events?after=0&events=all', as('key-of-ann'))
    const socket = await openSocket(surface.url, `/v1/sessions/${session}/ws`, as('key-of-ann'))
    await Promise.all([one, two, feed].map((stream) => stream.until(({ data }) => data !== undefined)))
    await purge(session)
    await one.ended
    await socket.closed
    const again = await ask(surface.url, 'GET', `/v1/sessions/${session}/events?after=1`, undefined, as('key-of-ann'))
    expect(again.status).toBe(404)
    const run = await surface.run(other as never, 'ann')
    await Promise.all([two, feed].map((stream) => stream.until(({ data }) => data?.run_id === run.id)))
    const late = await openStream(surface.url, '/v1/events?after=0&events=all', as('key-of-ann'))
    await late.until(({ data }) => data?.run_id === run.id)
    expect(late.frames.some(({ data }) => data.session_id === session)).toBe(false)
    for (const stream of [two, feed, late]) stream.close()
  })
})

describe('on a disk', () => {
  /** Files below a folder, with their content. */
  const filesBelow = (folder: string): readonly string[] =>
    readdirSync(folder, { recursive: true, withFileTypes: true }).flatMap((entry) => (entry.isFile() ? [join(entry.parentPath, entry.name)] : []))

  test('nothing that was said can be found in any file afterwards, not even under a running server', async () => {
    const server = await startTestServer()
    onTestFinished(() => server.close())
    const client = createClient({ url: server.url })
    const { id } = await client.createSession({ title: 'title-that-is-secret' })
    await client.sendMessage(id, 'words-that-are-secret '.repeat(50))
    for await (const _ of client.events(id, { after: 0, untilRunEnd: true }));
    const holding = () =>
      filesBelow(server.data).filter((file) => readFileSync(file).includes('that-is-secret') || readFileSync(file).includes('words-that-are'))
    expect(holding()).not.toEqual([])
    const workspace = join(server.data, 'workspaces', id)
    mkdirSync(workspace, { recursive: true })
    writeFileSync(join(workspace, 'words-that-are.txt'), 'words-that-are-secret')
    expect(await client.purgeSession(id)).toMatchObject({ session_id: id, files: 1, segments: { freed: 1, kept: 0 } })
    expect(holding()).toEqual([])
    expect(existsSync(workspace)).toBe(false)
  })

  test('a fork keeps its history and the outputs that it names; the last one takes them along', async () => {
    const server = await startTestServer()
    onTestFinished(() => server.close())
    const client = createClient({ url: server.url })
    const { id } = await client.createSession({ title: 'origin' })
    const position = async () => (await client.getSession(id)).position
    const outputs = join(server.data, 'outputs', id)
    const runs = [0]
    for (const command of ['seq 1 20000', 'seq 1 30000']) {
      await client.sendMessage(id, `run: ${command}`, { overrides: { auto_approve: 'all' } })
      for await (const _ of client.events(id, { after: runs.at(-1) ?? 0, untilRunEnd: true }));
      runs.push(await position())
    }
    expect(readdirSync(outputs)).toHaveLength(2)
    const fork = await client.fork(id, runs[1] ?? 0)
    const before = await client.listMessages(fork.id)
    const receipt = await client.purgeSession(id)
    expect(receipt.segments).toEqual({ freed: 0, kept: 1 })
    expect(await client.listMessages(fork.id)).toEqual(before)
    expect(readdirSync(outputs)).toHaveLength(1)
    expect(before.messages.some(({ content }) => JSON.stringify(content).includes(readdirSync(outputs)[0] ?? '?'))).toBe(true)
    expect((await client.purgeSession(fork.id)).segments).toEqual({ freed: 2, kept: 0 })
    expect(existsSync(outputs)).toBe(false)
  })
})
