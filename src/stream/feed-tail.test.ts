import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { StreamEvent } from '../domain/event.ts'
import { runId, sessionId, userId, type SessionId, type UserId } from '../domain/ids.ts'
import { arrayLog } from '../testing/array-log.ts'
import { fakeSink } from '../testing/fake-sink.ts'
import { manualClock } from '../testing/manual-clock.ts'
import { decodeFeedCursor, encodeFeedCursor, FeedTail, type FeedCursor } from './feed-tail.ts'
import { Hub } from './hub.ts'
import { KEEP_ALIVE_MS, READER_BUFFER_BYTES_MAX } from './reading.ts'

const [ANN, BOB] = [userId('ann'), userId('bob')]
const STREAMS = [
  { stream: sessionId('a1'), owner: ANN },
  { stream: sessionId('a2'), owner: ANN },
  { stream: sessionId('b1'), owner: BOB },
] as const
const encoder = new TextEncoder()
const event: StreamEvent = { type: 'TextDelta', runId: runId('r1'), delta: '' }
const settle = async (turns = 30) => {
  for (let left = turns; left > 0; left--) await new Promise<void>((resolve) => setImmediate(resolve))
}

function setUp(delays: readonly number[] = [0], width = 0) {
  const log = arrayLog(delays)
  const hub = new Hub()
  const clock = manualClock()
  const commit = ({ stream, owner }: { readonly stream: SessionId; readonly owner: UserId }, count: number, told = true) => {
    const batch = log.append(
      stream,
      owner,
      Array.from({ length: count }, () => event),
      clock.nowMs(),
    )
    if (told) hub.publish(batch)
  }
  const follow = (after: FeedCursor, owner: UserId = ANN) => {
    const sink = fakeSink()
    new FeedTail({
      store: log,
      hub,
      clock,
      owner,
      after,
      encode: (batch, skip) =>
        encoder.encode(
          batch.events
            .map((_, index) => ({ cursor: encodeFeedCursor({ feed: batch.feed, count: index + 1 }), place: `${batch.stream}:${batch.from + index}` }))
            .slice(skip)
            .map(({ cursor, place }) => `${`${cursor} ${place}`.padEnd(width, '.')}\n`)
            .join(''),
        ),
      sink,
      keepAlive: encoder.encode('ka\n'),
      onError: (error) => {
        throw error
      },
    }).start()
    return sink
  }
  /** What Ann should see, by the plain array. */
  const expected = () =>
    log.feed.filter(({ owner }) => owner === ANN).flatMap((batch) => batch.events.map((_, index) => `${batch.stream}:${batch.from + index}`))
  return { log, hub, clock, commit, follow, expected }
}

const START: FeedCursor = { feed: 0, count: 0 }
const frames = (text: string) =>
  text
    .split('\n')
    .filter((line) => line.startsWith('f'))
    .map((line) => ({ cursor: line.split(' ')[0] ?? '', place: (line.split(' ')[1] ?? '').replace(/\.+$/, '') }))
const places = (text: string) => frames(text).map(({ place }) => place)

describe('a reader of many streams', () => {
  test('gets the streams of its owner, those to come too, and nobody else’s (P11)', async () => {
    const { commit, follow, expected } = setUp()
    commit(STREAMS[0], 2)
    commit(STREAMS[2], 3)
    const sink = follow(START)
    await settle()
    commit(STREAMS[2], 1)
    commit(STREAMS[1], 1)
    await settle()
    expect(places(sink.seen)).toEqual(['a1:1', 'a1:2', 'a2:1'])
    expect(places(sink.seen)).toEqual(expected())
  })

  test('resumes after any frame without loss or repeat', async () => {
    const { commit, follow, expected } = setUp()
    commit(STREAMS[0], 3)
    commit(STREAMS[2], 2)
    commit(STREAMS[1], 4)
    commit(STREAMS[0], 1)
    const first = follow(START)
    await settle()
    const all = frames(first.seen)
    expect(all).toHaveLength(8)
    for (const [index, { cursor }] of all.entries()) {
      const sink = follow(decodeFeedCursor(cursor) ?? START)
      await settle()
      expect(places(sink.seen)).toEqual(expected().slice(index + 1))
    }
  })

  test('finds at once what no hint told it of, when somebody doubts', async () => {
    const { hub, commit, follow } = setUp()
    commit(STREAMS[0], 1)
    const sink = follow({ feed: 1, count: 0 })
    await settle()
    commit(STREAMS[0], 1, false)
    hub.doubt()
    await settle()
    expect(places(sink.seen)).toEqual(['a1:2'])
  })

  test('finds at its next keep-alive what no hint told it of', async () => {
    const { clock, commit, follow } = setUp()
    commit(STREAMS[0], 1)
    const sink = follow({ feed: 1, count: 0 })
    await settle()
    commit(STREAMS[0], 1, false)
    await settle()
    expect(places(sink.seen)).toEqual([])
    clock.advance(KEEP_ALIVE_MS)
    await settle()
    expect(places(sink.seen)).toEqual(['a1:2'])
  })

  test('that does not drain holds bounded memory and loses nothing (P9)', async () => {
    const { commit, follow, expected } = setUp([0], 1000)
    const sink = follow(START)
    await settle()
    sink.block()
    for (let count = 0; count < 1000; count++) commit(count % 2 === 0 ? STREAMS[0] : STREAMS[1], 2)
    await settle(100)
    expect(sink.mostBuffered).toBeLessThanOrEqual(READER_BUFFER_BYTES_MAX + 2 * 1001)
    sink.unblock()
    await settle(800)
    expect(places(sink.seen)).toEqual(expected())
  })

  test('that goes away leaves nothing behind', async () => {
    const { hub, clock, follow } = setUp()
    const sink = follow(START)
    sink.vanish()
    await settle()
    expect([hub.listenerCount, clock.pending]).toEqual([0, 0])
  })
})

describe('a feed cursor', () => {
  test('is read back as it was written', () => {
    fc.assert(
      fc.property(fc.nat({ max: 2 ** 48 }), fc.nat({ max: 4096 }), (feed, count) => {
        expect(decodeFeedCursor(encodeFeedCursor({ feed, count }))).toEqual({ feed, count })
      }),
    )
  })

  test('keeps its form, since clients hold it for months', () => {
    expect(encodeFeedCursor({ feed: 46655, count: 36 })).toBe('fzzz.10')
  })

  test.each(['', 'f', 'f1', '1.1', 'f1.', 'fA.1', 'f1.1 ', 'f-1.0', 'f1.1.1', 'f999999999999999.1'])('%j is none of ours', (text) => {
    expect(decodeFeedCursor(text)).toBeUndefined()
  })
})

const anyAction = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant('commit' as const),
      stream: fc.constantFrom(...STREAMS),
      count: fc.integer({ min: 1, max: 5 }),
      told: fc.boolean(),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('block' as const, 'unblock' as const, 'reconnect' as const, 'keepalive' as const) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('turn' as const), turns: fc.integer({ min: 1, max: 4 }) }) },
)

test('any mix of commits, lost hints, stalls and reconnects equals a plain array (P3, P9)', async () => {
  const property = fc.asyncProperty(
    fc.array(anyAction, { maxLength: 60 }),
    fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 5 }),
    fc.constantFrom(0, 60_000),
    async (actions, delays, width) => {
      const { clock, commit, follow, expected } = setUp(delays, width)
      let seen: readonly string[] = []
      let cursor = START
      let sink = follow(cursor)
      const reconnect = () => {
        sink.vanish()
        const found = frames(sink.seen)
        seen = [...seen, ...found.map(({ place }) => place)]
        cursor = decodeFeedCursor(found.at(-1)?.cursor ?? '') ?? cursor
        sink = follow(cursor)
      }
      for (const action of actions) {
        if (action.do === 'commit') commit(action.stream, action.count, action.told)
        else if (action.do === 'turn') await settle(action.turns)
        else if (action.do === 'keepalive') clock.advance(KEEP_ALIVE_MS)
        else if (action.do === 'reconnect') reconnect()
        else sink[action.do]()
      }
      sink.unblock()
      await settle(10)
      clock.advance(KEEP_ALIVE_MS)
      for (let rounds = 0; rounds < 200 && seen.length + frames(sink.seen).length < expected().length; rounds++) await settle(5)
      await settle(10)
      expect([...seen, ...places(sink.seen)]).toEqual(expected())
      sink.vanish()
    },
  )
  await fc.assert(property, { numRuns: 300 })
})
