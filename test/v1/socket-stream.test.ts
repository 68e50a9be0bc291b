/** Events over a socket: replay from a position, then live, each once, across reconnects (P3). */
import fc from 'fast-check'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { openSocket, type TestSocket } from '../support/socket.ts'
import { openStream } from '../support/stream.ts'
import { deltas, openSurface, type DrivenRun, type Surface } from '../support/surface.ts'

let surface: Surface
beforeAll(async () => void (surface = await openSurface()))
afterAll(() => surface.close())

const opened: TestSocket[] = []
const open = async (session: string, query = '', headers = {}) => {
  const one = await openSocket(surface.url, `/v1/sessions/${session}/ws${query}`, headers)
  opened.push(one)
  return one
}
afterEach(async () => {
  for (const { socket } of opened) socket.terminate()
  await Promise.all(opened.splice(0).map(({ closed }) => closed))
  while (surface.hub.listenerCount > 0 || surface.context.streams.size > 0) await new Promise((resolve) => setImmediate(resolve))
  expect(surface.errors).toEqual([])
})

/** A session whose head is 8: created, run started, message, five deltas. */
async function written(): Promise<DrivenRun> {
  const run = await surface.run(await surface.session())
  await surface.record(run, deltas(run, 5))
  return run
}
const ids = ({ messages }: TestSocket) => messages.filter(({ type }) => type === 'event').map(({ id }) => id)
const upTo = (last: number, from = 1) => Array.from({ length: last - from + 1 }, (_, index) => from + index)
const is = (position: number) => (message: { readonly id?: number }) => message.id === position

describe('a socket begins', () => {
  test.each([
    ['with what comes from now on', '', {}, 9],
    ['at the beginning', '?after=0', {}, 1],
    ['in the middle', '?after=4', {}, 5],
    ['at the head', '?after=8', {}, 9],
    ['where its last event says, whatever the query says', '?after=0', { 'last-event-id': '6' }, 7],
    ['in this log, which it names', '?after=6&log=LOG', {}, 7],
  ])('%s', async (_what, query, headers, first) => {
    const run = await written()
    const one = await open(run.session, `${query.replace('LOG', surface.context.store.logId)}${query === '' ? '?' : '&'}events=all`, headers)
    await surface.record(run, deltas(run, 1))
    await one.until(is(9))
    expect(ids(one)).toEqual(upTo(9, first))
  })

  test.each([
    ['beyond the head', '?after=12', 12],
    ['in another log', '?after=3&log=another', 3],
  ])('%s: it is told of the gap first, and gets what comes', async (_what, query, requested) => {
    const run = await written()
    const one = await open(run.session, query)
    const gap = { type: 'gap_detected', requested_after_id: requested, oldest_available_id: 1, newest_available_id: 8 }
    expect(await one.until(() => true)).toEqual({ ...gap, resume_hint: 'refresh_snapshot_then_resume' })
    await surface.record(run, deltas(run, 1))
    await one.until(is(9))
    expect(ids(one)).toEqual([9])
  })
})

test('the events are those of the stream, with their name beside them', async () => {
  const run = await written()
  for (const view of ['contract', 'all']) {
    const one = await open(run.session, `?after=0&events=${view}`)
    const stream = await openStream(surface.url, `/v1/sessions/${run.session}/events?after=0&events=${view}`)
    await Promise.all([one.until(is(8)), stream.until(({ id }) => id === '8')])
    expect(one.messages).toEqual(stream.frames.map(({ event, data }) => ({ type: 'event', name: event, ...data })))
    stream.close()
  }
})

test('only the contract’s events come by default', async () => {
  const run = await written()
  const one = await open(run.session, '?after=0')
  await one.until(is(8))
  expect(ids(one)).toEqual([2, 4, 5, 6, 7, 8])
})

test('a resume goes back to any place, and on from there, without a hole or a repeat', async () => {
  const run = await written()
  const one = await open(run.session, '?events=all')
  for (const after of [0, 8, 3, 7]) {
    const before = one.messages.length
    const head = 8 + [0, 8, 3, 7].indexOf(after)
    expect(await one.command({ type: 'resume', after })).toMatchObject({ type: 'ack', position: after })
    await surface.record(run, deltas(run, 1))
    await one.until((message) => one.messages.indexOf(message) >= before && message.id === head + 1)
    const seen = one.messages.slice(before).filter(({ type }) => type === 'event')
    expect(seen.map(({ id }) => id)).toEqual(upTo(head + 1, after + 1))
  }
})

test('read in any pieces across reconnects, while events are written, equals the log', { timeout: 60_000 }, async () => {
  const step = fc.tuple(fc.integer({ min: 1, max: 30 }), fc.nat({ max: 25 }), fc.boolean())
  const property = fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 6 }), async (steps) => {
    const run = await surface.run(await surface.session())
    let last = 0
    let head = 3
    const seen: number[] = []
    for (const [count, read, politely] of steps) {
      const one = await open(run.session, `?after=${last}&events=all`)
      const writing = (async () => {
        for (let left = count; left > 0; left -= 4) await surface.record(run, deltas(run, Math.min(4, left)))
      })()
      head += count
      const target = Math.min(head, last + 1 + read)
      await one.until(is(target))
      seen.push(...ids(one).filter((id) => id <= target))
      last = target
      one.socket[politely ? 'close' : 'terminate']()
      await Promise.all([writing, one.closed])
    }
    expect(seen).toEqual(upTo(last))
  })
  await fc.assert(property, { numRuns: 30 })
})

test('fifty sockets of one session see the same', async () => {
  const run = await written()
  const many = await Promise.all(upTo(50).map((index) => open(run.session, `?after=${index % 9}&events=all`)))
  for (let count = 0; count < 20; count++) await surface.record(run, deltas(run, 3))
  await Promise.all(many.map((one) => one.until(is(68))))
  for (const [index, one] of many.entries()) expect(ids(one)).toEqual(upTo(68, ((index + 1) % 9) + 1))
})
