import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { StreamEvent } from '../domain/event.ts'
import { runId, sessionId, userId } from '../domain/ids.ts'
import { arrayLog } from '../testing/array-log.ts'
import { fakeSink } from '../testing/fake-sink.ts'
import { manualClock } from '../testing/manual-clock.ts'
import type { Codec, EventBatch } from './codec.ts'
import { Hub } from './hub.ts'
import { runEndsAfter, type LogReader } from './log-reader.ts'
import { KEEP_ALIVE_MS, PAGES_AT_ONCE, READER_BUFFER_BYTES_MAX } from './reading.ts'
import { Tail, type TailOptions } from './tail.ts'

const STREAM = sessionId('s1')
const OWNER = userId('u1')
const RUN = runId('r1')
const delta = (text = ''): StreamEvent => ({ type: 'TextDelta', runId: RUN, delta: text })
const end: StreamEvent = {
  type: 'RunCompleted',
  runId: RUN,
  totalTurns: 1,
  totalUsage: { inputTokens: 0, outputTokens: 0, totalTokens: 0 },
  stopReason: 'completed',
}
const encoder = new TextEncoder()
const turn = () => new Promise<void>((resolve) => setImmediate(resolve))
const settle = async (turns = 60) => {
  for (let left = turns; left > 0; left--) await turn()
}

/** One line per event: its position, filled up to `width`. */
function lines(width = 0): Codec & { encodes: number } {
  return {
    name: 'lines',
    encodes: 0,
    encode(batch: EventBatch) {
      this.encodes++
      return encoder.encode(batch.events.map((_, index) => `${String(batch.from + index).padEnd(width, '.')}\n`).join(''))
    },
  }
}

function setUp(delays: readonly number[] = [0], width = 0) {
  const log = arrayLog(delays)
  const hub = new Hub()
  const clock = manualClock()
  const codec = lines(width)
  const errors: unknown[] = []
  const commit = (events: readonly StreamEvent[], told = true) => {
    const batch = log.append(STREAM, OWNER, events, clock.nowMs())
    if (told) hub.publish(batch)
  }
  const follow = (after: number, more: Partial<TailOptions> = {}) => {
    const sink = fakeSink()
    const tail = new Tail({
      store: log,
      hub,
      clock,
      stream: STREAM,
      after,
      codec,
      sink,
      keepAlive: encoder.encode('ka\n'),
      onError: (error) => errors.push(error),
      ...more,
    })
    tail.start()
    return { sink, tail }
  }
  return { log, hub, clock, codec, errors, commit, follow }
}

const positions = (text: string) =>
  text
    .split('\n')
    .filter((line) => /^\d/.test(line))
    .map((line) => Number.parseInt(line, 10))
const upTo = (count: number, from = 1) => Array.from({ length: count - from + 1 }, (_, index) => from + index)

describe('a reader', () => {
  test('gets what stands behind its cursor, then what comes, each once and in order', async () => {
    const { commit, follow } = setUp([2])
    commit([delta(), delta(), delta()])
    const { sink } = follow(1)
    commit([delta(), delta()])
    await settle()
    commit([delta()])
    expect(positions(sink.seen)).toEqual([2, 3, 4, 5, 6])
  })

  test('that has caught up is given live batches without a look into the log', async () => {
    const { log, commit, follow } = setUp()
    commit([delta()])
    const { sink } = follow(0)
    await settle()
    const before = log.reads
    for (let count = 0; count < 20; count++) commit([delta()])
    expect(positions(sink.seen)).toEqual(upTo(21))
    expect(log.reads).toBe(before)
  })

  test('of a stream that is erased ends, at the hint or else at the next keep-alive', async () => {
    for (const told of [true, false]) {
      const { log, hub, clock, commit, follow } = setUp()
      commit([delta(), delta()])
      let erased = false
      const store: LogReader = { ...log, read: async (stream, after, limit) => (erased ? undefined : log.read(stream, after, limit)) }
      const { sink } = follow(0, { store })
      await settle()
      erased = true
      if (told) hub.erased(STREAM, OWNER)
      else clock.advance(15_000)
      await settle()
      expect([positions(sink.seen), sink.ended, hub.listenerCount, clock.pending]).toEqual([[1, 2], true, 0, 0])
    }
  })

  test('of a stream that is erased shows nothing that another reader has left', async () => {
    const { log, commit, follow } = setUp()
    commit(Array.from({ length: 70 }, () => delta()))
    const first = follow(0)
    await settle()
    expect(positions(first.sink.seen)).toEqual(upTo(70))
    log.erase(STREAM)
    const { sink } = follow(0)
    await settle()
    expect([sink.seen, sink.ended]).toEqual(['', true])
  })

  test('finds at once what no hint told it of, when somebody doubts', async () => {
    const { hub, commit, follow } = setUp()
    commit([delta()])
    const { sink } = follow(1)
    await settle()
    commit([delta(), delta()], false)
    hub.doubt()
    await settle()
    expect(positions(sink.seen)).toEqual([2, 3])
  })

  test('finds at its next keep-alive what no hint told it of', async () => {
    const { clock, commit, follow } = setUp()
    commit([delta()])
    const { sink } = follow(1)
    await settle()
    commit([delta(), delta()], false)
    await settle()
    expect(positions(sink.seen)).toEqual([])
    clock.advance(KEEP_ALIVE_MS)
    await settle()
    expect(positions(sink.seen)).toEqual([2, 3])
  })

  test('reads the log when a batch shows that one before it was lost', async () => {
    const { commit, follow } = setUp()
    commit([delta()])
    const { sink } = follow(0)
    await settle()
    commit([delta()], false)
    commit([delta()])
    await settle()
    expect(positions(sink.seen)).toEqual([1, 2, 3])
  })

  test('hears a keep-alive every 15 seconds, however busy its stream is', async () => {
    const { clock, commit, follow } = setUp()
    commit([delta()])
    const { sink } = follow(0)
    await settle()
    for (let count = 0; count < 4; count++) {
      commit([delta()])
      clock.advance(15_000)
    }
    expect(sink.seen.split('ka\n')).toHaveLength(5)
  })

  test('that goes away leaves nothing behind', async () => {
    const { hub, clock, commit, follow } = setUp([3])
    commit([delta()])
    const { sink } = follow(0)
    sink.vanish()
    await settle()
    expect([hub.listenerCount, clock.pending]).toEqual([0, 0])
    const gone = fakeSink()
    gone.vanish()
    follow(0, { sink: gone })
    expect([hub.listenerCount, clock.pending]).toEqual([0, 0])
  })

  test('is cut off when the log cannot be read, so that it comes back', async () => {
    const { log, hub, errors, commit, follow } = setUp()
    commit([delta()])
    log.read = () => Promise.reject(new Error('the disk is gone'))
    const { sink } = follow(0)
    await settle()
    expect([sink.destroyed, errors.length, hub.listenerCount]).toEqual([true, 1, 0])
  })
})

describe('until the end of a run', () => {
  test('a replay stops behind the first end, also in the middle of a batch', async () => {
    const { commit, follow } = setUp()
    commit([delta(), end, delta(), end])
    const { sink } = follow(0, { untilRunEnd: true })
    await settle()
    expect([positions(sink.seen), sink.ended]).toEqual([[1, 2], true])
  })

  test('a live batch is cut behind the first end', async () => {
    const { hub, commit, follow } = setUp()
    commit([delta()])
    const { sink } = follow(1, { untilRunEnd: true })
    await settle()
    commit([delta(), end, delta()])
    expect([positions(sink.seen), sink.ended, hub.listenerCount]).toEqual([[2, 3], true, 0])
  })

  test.each([
    { after: 0, ahead: true },
    { after: 699, ahead: true },
    { after: 700, ahead: false },
    { after: 1500, ahead: false },
  ])('whether an idle session has an end behind position $after is told: $ahead', async ({ after, ahead }) => {
    const { log, commit } = setUp()
    commit([...Array.from({ length: 699 }, () => delta()), end, ...Array.from({ length: 800 }, () => delta())])
    expect(await runEndsAfter(log, STREAM, after)).toBe(ahead)
    // Large events make for pages that are shorter than they were asked for.
    const short: LogReader = { ...log, read: (stream, from, limit) => log.read(stream, from, Math.min(limit, 3)) }
    expect(await runEndsAfter(short, STREAM, after)).toBe(ahead)
  })
})

describe('a slow reader (P9)', () => {
  test('holds bounded memory, loses nothing, and delays nobody', async () => {
    const width = 1000
    const { commit, follow } = setUp([0], width)
    commit([delta()])
    const slow = follow(0)
    const quick = follow(0)
    await settle()
    slow.sink.block()
    for (let count = 0; count < 2000; count++) commit([delta()])
    expect(positions(quick.sink.seen)).toEqual(upTo(2001))
    await settle()
    expect(slow.sink.mostBuffered).toBeLessThanOrEqual(READER_BUFFER_BYTES_MAX + width + 1)
    slow.sink.unblock()
    await settle(300)
    expect(positions(slow.sink.seen)).toEqual(upTo(2001))
  })

  test('of large events in a replay is given at most one slice beyond its limit', async () => {
    const width = 20_000
    const { commit, follow } = setUp([0], width)
    commit(Array.from({ length: 500 }, () => delta()))
    const sink = fakeSink()
    sink.block()
    follow(0, { sink })
    for (let rounds = 0; rounds < 60; rounds++) {
      await settle(10)
      sink.unblock()
      sink.block()
    }
    sink.unblock()
    await settle()
    expect(positions(sink.seen)).toEqual(upTo(500))
    expect(sink.mostBuffered).toBeLessThanOrEqual(READER_BUFFER_BYTES_MAX + 32 * (width + 1))
  })
})

describe('many readers', () => {
  test('share one encoding of each live batch', async () => {
    const { codec, commit, follow } = setUp()
    commit([delta()])
    const readers = Array.from({ length: 50 }, () => follow(1))
    await settle()
    codec.encodes = 0
    for (let count = 0; count < 10; count++) commit([delta()])
    expect(codec.encodes).toBe(10)
    for (const { sink } of readers) expect(positions(sink.seen)).toEqual(upTo(11, 2))
  })

  test('share what was read and encoded for a replay, wherever they begin', async () => {
    const { log, codec, commit, follow } = setUp()
    for (let count = 0; count < 20; count++) commit(Array.from({ length: 50 }, () => delta()))
    const first = follow(7)
    await settle(200)
    expect(positions(first.sink.seen)).toEqual(upTo(1000, 8))
    const { encodes } = codec
    log.reads = 0
    const others = [0, 7, 31, 32, 500, 990].map((after) => ({ after, sink: follow(after).sink }))
    await settle(400)
    for (const { after, sink } of others) expect(positions(sink.seen)).toEqual(upTo(1000, after + 1))
    // The way to the first border and the log's end are each reader's own.
    expect(log.reads).toBeLessThanOrEqual(others.length * 4)
    expect(codec.encodes - encodes).toBeLessThan(encodes)
  })

  test('take turns with everybody else, also where all that they replay is at hand', async () => {
    const { commit, follow } = setUp()
    commit(Array.from({ length: 1500 }, () => delta()))
    follow(0)
    await settle(200)
    const readers = Array.from({ length: 40 }, () => follow(0))
    let most = 0
    const begun = () => readers.filter(({ sink }) => sink.seen !== '').length
    for (let before = begun(); before < readers.length; before = begun()) {
      await turn()
      most = Math.max(most, begun() - before)
    }
    // In one turn of the loop nobody hears of more than a few pages.
    expect(most).toBeLessThanOrEqual(PAGES_AT_ONCE)
    await settle(800)
    for (const { sink } of readers) expect(positions(sink.seen)).toEqual(upTo(1500))
  })

  test('hold at most a few pages of replay at once', async () => {
    const { log, commit, follow } = setUp([3])
    commit(Array.from({ length: 1500 }, () => delta()))
    const read = log.read.bind(log)
    let open = 0
    let most = 0
    log.read = async (...asked) => {
      most = Math.max(most, ++open)
      try {
        return await read(...asked)
      } finally {
        open--
      }
    }
    const readers = Array.from({ length: 30 }, () => follow(0))
    await settle(800)
    expect(most).toBe(PAGES_AT_ONCE)
    for (const { sink } of readers) expect(positions(sink.seen)).toEqual(upTo(1500))
  })
})

const anyAction = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant('commit' as const), count: fc.integer({ min: 1, max: 40 }), told: fc.boolean() }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('block' as const, 'unblock' as const, 'reconnect' as const, 'keepalive' as const) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('turn' as const), turns: fc.integer({ min: 1, max: 4 }) }) },
)

test('any mix of commits, lost hints, stalls and reconnects equals a plain array (P3, P9)', async () => {
  const property = fc.asyncProperty(
    fc.array(anyAction, { maxLength: 60 }),
    fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 5 }),
    fc.constantFrom(0, 9_000, 40_000),
    async (actions, delays, width) => {
      const { clock, hub, commit, follow } = setUp(delays, width)
      let written = 1
      commit([delta()])
      let seen: readonly number[] = []
      let reader = follow(0)
      const reconnect = () => {
        reader.sink.vanish()
        seen = [...seen, ...positions(reader.sink.seen)]
        reader = follow(seen.at(-1) ?? 0)
      }
      for (const action of actions) {
        if (action.do === 'commit') {
          commit(
            Array.from({ length: action.count }, () => delta()),
            action.told,
          )
          written += action.count
        } else if (action.do === 'turn') await settle(action.turns)
        else if (action.do === 'keepalive') clock.advance(KEEP_ALIVE_MS)
        else if (action.do === 'reconnect') reconnect()
        else reader.sink[action.do]()
      }
      reader.sink.unblock()
      await settle(20)
      clock.advance(KEEP_ALIVE_MS)
      for (let rounds = 0; rounds < 200 && reader.tail.position < written; rounds++) await settle(5)
      expect([...seen, ...positions(reader.sink.seen)]).toEqual(upTo(written))
      reader.sink.vanish()
      expect([hub.listenerCount, clock.pending]).toEqual([0, 0])
    },
  )
  await fc.assert(property, { numRuns: 300 })
})

test('a reader whose sink is still full of what another wrote gives it nothing until that has left (P9)', async () => {
  const { commit, follow } = setUp([0], 2000)
  const first = follow(0)
  first.sink.block()
  for (let count = 0; count < 300; count++) commit([delta()])
  await settle(200)
  const held = first.sink.buffered()
  expect(held).toBeGreaterThan(READER_BUFFER_BYTES_MAX)
  first.tail.close()
  const second = follow(0, { sink: first.sink })
  await settle(200)
  expect(first.sink.buffered()).toBe(held)
  first.sink.unblock()
  await settle(400)
  expect(second.tail.position).toBe(300)
})
