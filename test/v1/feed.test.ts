/** The stream over all sessions of a caller: named frames, opaque cursors, nobody else's sessions (P3, P11). */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { ask } from '../support/http.ts'
import { openStream, type TestStream } from '../support/stream.ts'
import { deltas, openSurface, type Surface } from '../support/surface.ts'

const KEYS = [
  { user: 'ann', key: 'key-of-ann' },
  { user: 'bob', key: 'key-of-bob' },
  { user: 'ann', key: 'key-that-writes', scopes: ['sessions:write'] as const },
]
let surface: Surface
beforeAll(async () => void (surface = await openSurface({ keys: KEYS })))
afterAll(() => surface.close())

const opened: TestStream[] = []
const open = async (query = '', headers = {}, user = 'ann') => {
  const one = await openStream(surface.url, `/v1/events${query}`, { authorization: `Bearer key-of-${user}`, ...headers })
  opened.push(one)
  await one.until(() => true)
  return one
}
afterEach(() => {
  for (const one of opened.splice(0)) one.close()
  expect(surface.errors).toEqual([])
})
const places = (frames: TestStream['frames']) => frames.map(({ data }) => `${data.session_id}:${data.position}`)
/** Reads until the stream has shown `place`. */
const upTo = (one: TestStream, session: string, position: number) => one.until(({ data }) => data?.session_id === session && data.position === position)

describe('the stream over all sessions', () => {
  test('has the head of every stream; its comment is a cursor', async () => {
    const one = await open('', { 'x-request-id': 'mine' })
    expect(one.headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'convoke-log-id': surface.context.store.logId,
      'x-request-id': 'mine',
    })
    expect(one.blocks[0]).toEqual({ retry: '2000', comment: expect.stringMatching(/^head f[0-9a-z]+\.0$/) })
    const again = await open(`?after=${one.blocks[0]?.comment?.slice('head '.length)}&events=all`)
    const session = await surface.session('ann')
    await upTo(again, session, 1)
    expect(places(again.frames)).toEqual([`${session}:1`])
  })

  test('names session and position in each frame, and its id is no position', async () => {
    const one = await open('?events=all')
    const run = await surface.run(await surface.session('ann'), 'ann')
    await upTo(one, run.session, 3)
    expect(one.frames[1]).toEqual({
      id: expect.stringMatching(/^f[0-9a-z]+\.[0-9a-z]+$/),
      event: 'run_started',
      data: expect.objectContaining({ id: 2, position: 2, session_id: run.session, run_id: run.id, event: { RunStarted: { run_id: run.id } } }),
    })
  })

  test('shows sessions that begin later, and never another’s', async () => {
    const [ann, bob] = [await open('?events=all'), await open('?events=all', {}, 'bob')]
    const theirs = await surface.run(await surface.session('bob'), 'bob')
    const first = await surface.session('ann')
    await surface.record(theirs, deltas(theirs, 3))
    const second = await surface.session('ann')
    await upTo(ann, second, 1)
    await upTo(bob, theirs.session, 6)
    expect(places(ann.frames)).toEqual([`${first}:1`, `${second}:1`])
    expect(places(bob.frames)).toEqual([1, 2, 3, 4, 5, 6].map((position) => `${theirs.session}:${position}`))
    // From the beginning it is the same: the other's events are not in the replay either.
    const replay = await open('?after=0&events=all', {}, 'bob')
    await upTo(replay, theirs.session, 6)
    expect(new Set(replay.frames.map(({ data }) => data.session_id))).toEqual(new Set([theirs.session]))
  })

  test('resumes after any frame, also in the middle of what was written together', async () => {
    const start = (await open()).blocks[0]?.comment?.slice('head '.length) ?? ''
    const [one, two] = [await surface.run(await surface.session('ann'), 'ann'), await surface.run(await surface.session('ann'), 'ann')]
    const other = await surface.run(await surface.session('bob'), 'bob')
    await surface.record(one, deltas(one, 4))
    await surface.record(other, deltas(other, 2))
    await surface.record(two, deltas(two, 3))
    await surface.record(one, deltas(one, 2))
    const whole = await open(`?after=${start}&events=all`)
    await upTo(whole, one.session, 9)
    const frames = [...whole.frames]
    expect(frames).toHaveLength(15)
    for (const [index, frame] of frames.entries()) {
      const asked = index % 2 === 0 ? await open(`?events=all&after=${frame.id}`) : await open('?events=all&after=f0.0', { 'last-event-id': frame.id ?? '' })
      if (index < frames.length - 1) await upTo(asked, one.session, 9)
      expect(places(asked.frames)).toEqual(places(frames.slice(index + 1)))
      asked.close()
    }
  })

  test('after a cursor that it never gave skips nothing', async () => {
    const session = await surface.session('ann')
    const one = await open('?after=f0.1&events=all')
    await upTo(one, session, 1)
    const whole = await open('?after=0&events=all')
    await upTo(whole, session, 1)
    expect(places(one.frames)).toEqual(places(whole.frames))
  })

  test('sends only the contract’s events by default', async () => {
    const one = await open()
    const run = await surface.run(await surface.session('ann'), 'ann')
    await surface.record(run, deltas(run, 1))
    await upTo(one, run.session, 4)
    expect(one.frames.map(({ event }) => event)).toEqual(['run_started', 'text_delta'])
  })

  test.each([
    ['beyond the head', '?after=fzzzz.0', 'fzzzz.0'],
    ['beyond all numbers', '?after=fzzzzzzzzzzz.zzzzzz', 'fzzzzzzzzzzz.zzzzzz'],
    ['in another log', '?after=f1.0&log=another', 'f1.0'],
  ])('%s says so in a frame without an id, then is live', async (_what, query, requested) => {
    const one = await open(query)
    await one.until(({ event }) => event === 'gap_detected')
    const run = await surface.run(await surface.session('ann'), 'ann')
    await upTo(one, run.session, 2)
    expect(one.frames.map(({ event }) => event)).toEqual(['gap_detected', 'run_started'])
    expect(one.frames[0]).toEqual({
      event: 'gap_detected',
      data: {
        requested_after_id: requested,
        oldest_available_id: '0',
        newest_available_id: one.blocks[0]?.comment?.slice('head '.length),
        resume_hint: 'refresh_snapshot_then_resume',
      },
    })
  })

  test.each(['1', '-1', 'f', 'f1', 'f1.', 'f1.1.1', 'F1.1', 'f1.1%20', 'f1.1%0A'])('answers 400 to the cursor %s', async (cursor) => {
    const answer = await ask(surface.url, 'GET', `/v1/events?after=${cursor}`, undefined, { authorization: 'Bearer key-of-ann' })
    expect([answer.status, answer.json.code]).toEqual([400, 'invalid_cursor'])
  })

  test('needs a key, and the scope to read', async () => {
    expect((await ask(surface.url, 'GET', '/v1/events')).status).toBe(401)
    expect((await ask(surface.url, 'GET', '/v1/events', undefined, { 'x-api-key': 'key-that-writes' })).json.code).toBe('forbidden')
  })

  test('lives through silence, and leaves nothing behind', async () => {
    const one = await open()
    surface.clock.advance(15_000)
    await one.until(({ comment }) => comment === 'keepalive')
    for (const stream of opened) stream.close()
    while (surface.hub.listenerCount > 0 || surface.context.streams.size > 0) await new Promise((resolve) => setImmediate(resolve))
    expect(surface.clock.pending).toBe(0)
  })
})
