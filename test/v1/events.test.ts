/** The event stream of one session: replay from a position, then live, each event once (P3). */
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { ask } from '../support/http.ts'
import { openStream, type TestStream } from '../support/stream.ts'
import { deltas, ending, openSurface, type DrivenRun, type Surface } from '../support/surface.ts'

const UNKNOWN = '01900000-0000-7000-8000-ffffffffffff'
let surface: Surface
beforeAll(async () => void (surface = await openSurface()))
afterAll(() => surface.close())

const opened: TestStream[] = []
const open = async (session: string, query = '', headers = {}) => {
  const one = await openStream(surface.url, `/v1/sessions/${session}/events${query}`, headers)
  opened.push(one)
  return one
}
const allGone = async () => {
  while (surface.hub.listenerCount > 0 || surface.context.streams.size > 0) await new Promise((resolve) => setImmediate(resolve))
}
afterEach(async () => {
  for (const one of opened.splice(0)) one.close()
  await allGone()
  expect(surface.errors).toEqual([])
})

/** A session of eight events: created, run started, message, five deltas. Its head is 8. */
async function written(): Promise<DrivenRun> {
  const run = await surface.run(await surface.session())
  await surface.record(run, deltas(run, 5))
  return run
}
const ids = ({ frames }: TestStream) => frames.map(({ id }) => Number(id))
const upTo = (last: number, from = 1) => Array.from({ length: last - from + 1 }, (_, index) => from + index)
const is = (id: number) => (block: { readonly id?: string }) => block.id === String(id)

describe('the head of a stream', () => {
  test('says what proxies and browsers must know, and names the log', async () => {
    const run = await written()
    const one = await open(run.session, '', { 'accept-encoding': 'gzip, br', 'x-request-id': 'mine' })
    expect(one.status).toBe(200)
    expect(one.headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache, no-transform',
      'x-accel-buffering': 'no',
      'x-request-id': 'mine',
      'convoke-log-id': surface.context.store.logId,
    })
    expect([one.headers['content-length'], one.headers['content-encoding']]).toEqual([undefined, undefined])
  })

  test('comes at once, with the time to wait before reconnecting and where the log ends', async () => {
    const one = await open(await surface.session())
    expect(await one.until(() => true)).toEqual({ retry: '2000', comment: 'head 1' })
    expect((await (await open((await written()).session, '?after=8')).until(() => true)).comment).toBe('head 8')
  })

  test('is all that HEAD gets: no stream is kept for it', async () => {
    const run = await written()
    const one = await openStream(surface.url, `/v1/sessions/${run.session}/events?after=0`, {}, 'HEAD')
    await one.ended
    expect([one.status, one.headers['content-type'], one.blocks, surface.context.streams.size]).toEqual([200, 'text/event-stream; charset=utf-8', [], 0])
  })
})

describe('a reader begins', () => {
  test.each([
    ['nowhere in particular: what comes from now on', '', {}, 9],
    ['at the beginning', '?after=0', {}, 1],
    ['in the middle', '?after=4', {}, 5],
    ['at the head', '?after=8', {}, 9],
    ['where its last event says', '', { 'last-event-id': '6' }, 7],
    ['where its last event says, whatever the query says', '?after=0', { 'last-event-id': '7' }, 8],
    ['where the query says, when its last event is no position', '?after=5', { 'last-event-id': 'f1.2' }, 6],
    ['from now on, when its last event is no position', '', { 'last-event-id': 'abc' }, 9],
    ['where the query says, when its last event is empty', '?after=3', { 'last-event-id': '' }, 4],
    ['with zeros before its position', '?after=0006', {}, 7],
    ['in this log, which it names', '?after=6&log=LOG', {}, 7],
  ])('%s', async (_what, query, headers, first) => {
    const run = await written()
    const one = await open(run.session, `${query.replace('LOG', surface.context.store.logId)}${query === '' ? '?' : '&'}events=all`, headers)
    await surface.record(run, deltas(run, 1))
    await one.until(is(9))
    expect(ids(one)).toEqual(upTo(9, first))
  })

  test.each([
    ['beyond the head', '?after=9', {}, 9],
    ['far beyond', '?after=99999999999999999999', {}, 1e20],
    ['beyond the head by its last event', '?after=1', { 'last-event-id': '12' }, 12],
    ['in another log', '?after=3&log=another', {}, 3],
  ])('%s: it is told of the gap, in a frame without an id, and gets what comes', async (_what, query, headers, requested) => {
    const run = await written()
    const one = await open(run.session, query, headers)
    await one.until(({ event }) => event === 'gap_detected')
    await surface.record(run, deltas(run, 1))
    await one.until(is(9))
    const gap = { requested_after_id: requested, oldest_available_id: 1, newest_available_id: 8, resume_hint: 'refresh_snapshot_then_resume' }
    expect(one.frames.map(({ id, event }) => [id, event])).toEqual([
      [undefined, 'gap_detected'],
      ['9', 'text_delta'],
    ])
    expect(one.frames[0]?.data).toEqual(gap)
  })

  test.each([
    ['-1', 'invalid_cursor'],
    ['1.5', 'invalid_cursor'],
    ['0x1', 'invalid_cursor'],
    ['', 'invalid_cursor'],
    ['%201', 'invalid_cursor'],
    ['f1.2', 'invalid_cursor'],
    ['9'.repeat(21), 'invalid_cursor'],
    ['9'.repeat(65), 'invalid_request'],
  ])('not after %j: that is answered before the stream', async (after, code) => {
    const answer = await ask(surface.url, 'GET', `/v1/sessions/${(await written()).session}/events?after=${after}`)
    expect([answer.status, answer.json.code]).toEqual([400, code])
  })

  test.each([
    [UNKNOWN, '', 404, 'not_found'],
    ['abc', '', 400, 'invalid_id'],
    ['SESSION', '?events=none', 400, 'invalid_request'],
    ['SESSION', '?until=dawn', 400, 'invalid_request'],
    ['SESSION', `?log=${'x'.repeat(65)}`, 400, 'invalid_request'],
  ])('not on %s%s', async (id, query, status, code) => {
    const place = id.replace('SESSION', (await written()).session)
    const answer = await ask(surface.url, 'GET', `/v1/sessions/${place}/events${query}`)
    expect([answer.status, answer.json.code, answer.headers.get('content-type')]).toEqual([status, code, 'application/problem+json'])
  })
})

describe('the frames', () => {
  test('of the contract are named twice, carry their position twice and their run', async () => {
    const run = await written()
    const one = await open(run.session, '?after=0')
    await one.until(is(8))
    expect(ids(one)).toEqual([2, 4, 5, 6, 7, 8])
    expect(one.frames[1]).toEqual({
      id: '4',
      event: 'text_delta',
      data: {
        id: 4,
        session_id: run.session,
        run_id: run.id,
        timestamp: new Date(surface.clock.nowMs()).toISOString(),
        event: { TextDelta: { run_id: run.id, delta: '1' } },
      },
    })
  })

  test('under events=all have no hole, and those of the contract are the same bytes', async () => {
    const run = await written()
    const [all, contract] = [await open(run.session, '?after=0&events=all'), await open(run.session, '?after=0&events=contract')]
    await Promise.all([all.until(is(8)), contract.until(is(8))])
    expect(ids(all)).toEqual(upTo(8))
    expect(all.frames.filter(({ id }) => ids(contract).includes(Number(id)))).toEqual(contract.frames)
    expect(all.frames.map(({ event }) => event).slice(0, 3)).toEqual(['session_created', 'run_started', 'message_added'])
  })

  test('hold text of any kind in one line', async () => {
    const run = await written()
    const text = 'a\nb\r\nc\u2028d\u2029e\0f\uFEFF😀\n\ndata: x\n\n'
    const one = await open(run.session, '?after=8')
    await surface.record(run, [{ type: 'TextDelta', runId: run.id, delta: text }])
    expect((await one.until(is(9))).data.event.TextDelta.delta).toBe(text)
  })
})

describe('until the end of a run', () => {
  test('a stream closes behind the first end, whatever comes after it', async () => {
    const run = await written()
    const one = await open(run.session, '?after=0&until=run_end')
    await one.until(is(8))
    await surface.record(run, [ending(run)])
    await one.ended
    expect(one.frames.at(-1)).toMatchObject({ id: '9', event: 'run_completed' })
    await surface.run(run.session)
    const again = await open(run.session, '?after=0&until=run_end&events=all')
    await again.ended
    expect(ids(again)).toEqual(upTo(9))
  })

  test('a cursor beyond the head is told of its gap first, then of the end of the next run', async () => {
    const run = await written()
    await surface.record(run, [ending(run)])
    const one = await open(run.session, '?after=99&until=run_end')
    await one.until(({ event }) => event === 'gap_detected')
    const next = await surface.run(run.session)
    await surface.record(next, [ending(next)])
    await one.ended
    expect(one.frames.map(({ event }) => event)).toEqual(['gap_detected', 'run_started', 'run_completed'])
  })

  test('behind the last end nothing is left to wait for: 204, which stops an EventSource', async () => {
    const run = await written()
    await surface.record(run, [ending(run)])
    const answer = await ask(surface.url, 'GET', `/v1/sessions/${run.session}/events?after=9&until=run_end`)
    expect([answer.status, answer.text, answer.headers.get('x-request-id')]).toEqual([204, '', expect.stringMatching(/^req_/)])
  })

  test('a session without a run has nothing to wait for', async () => {
    expect((await ask(surface.url, 'GET', `/v1/sessions/${await surface.session()}/events?until=run_end`)).status).toBe(204)
  })

  test('a reader without a cursor waits for the run that is active', async () => {
    const run = await written()
    const one = await open(run.session, '?until=run_end')
    await one.until(() => true)
    await surface.record(run, [ending(run)])
    await one.ended
    expect(ids(one)).toEqual([9])
  })
})

describe('a stream', () => {
  test('says every 15 s that it lives', async () => {
    const one = await open(await surface.session())
    await one.until(() => true)
    for (let count = 1; count <= 3; count++) {
      surface.clock.advance(14_999)
      surface.clock.advance(1)
      await one.until(() => one.blocks.filter(({ comment }) => comment === 'keepalive').length === count)
    }
    expect(one.blocks).toHaveLength(4)
  })

  test('whose reader vanishes is forgotten, and its run goes on', async () => {
    const run = await written()
    const many = await Promise.all(upTo(20).map(() => open(run.session, '?after=0')))
    await Promise.all(many.map((one) => one.until(is(8))))
    expect(surface.hub.listenerCount).toBe(40)
    for (const one of many) one.close()
    await allGone()
    await surface.record(run, deltas(run, 1))
    expect((await ask(surface.url, 'GET', `/v1/sessions/${run.session}`)).json).toMatchObject({ position: 9, session: { run_status: { run_id: run.id } } })
  })

  test('over the limit is refused, and a place that is given back is taken', async () => {
    const small = await openSurface({ streamsMax: 2 })
    const session = await small.session()
    const path = `/v1/sessions/${session}/events`
    const [first] = await Promise.all([openStream(small.url, path), openStream(small.url, '/v1/events')])
    for (const place of [path, '/v1/events']) {
      const refused = await ask(small.url, 'GET', place)
      expect([refused.status, refused.json.code, refused.headers.get('retry-after')]).toEqual([503, 'too_many_streams', '5'])
    }
    first?.close()
    while (small.context.streams.size > 1) await new Promise((resolve) => setImmediate(resolve))
    expect((await openStream(small.url, path)).status).toBe(200)
    await small.close()
  })

  test('is told when the server stops, and when to come back', async () => {
    const other = await openSurface()
    const one = await openStream(other.url, `/v1/sessions/${await other.session()}/events`)
    await one.until(() => true)
    await Promise.all([one.ended, other.close()])
    expect(one.blocks.slice(1)).toEqual([{ comment: 'the server stops', retry: '1000' }])
  })

  test('read in any pieces, while events are written, equals the log', { timeout: 60_000 }, async () => {
    const property = fc.asyncProperty(
      fc.array(fc.tuple(fc.integer({ min: 1, max: 30 }), fc.nat({ max: 25 })), { minLength: 1, maxLength: 6 }),
      async (steps) => {
        const run = await surface.run(await surface.session())
        let last = 0
        let head = 3
        const seen: number[] = []
        for (const [count, read] of steps) {
          const one = await open(run.session, `?after=${last}&events=all`)
          const writing = (async () => {
            for (let left = count; left > 0; left -= 4) await surface.record(run, deltas(run, Math.min(4, left)))
          })()
          head += count
          const target = Math.min(head, last + 1 + read)
          await one.until(is(target))
          seen.push(...ids(one).filter((id) => id <= target))
          last = target
          one.close()
          await writing
        }
        expect(seen).toEqual(upTo(last))
      },
    )
    await fc.assert(property, { numRuns: 40 })
  })
})
