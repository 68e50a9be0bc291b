import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { StreamEvent } from '../domain/event.ts'
import { runId, sessionId, userId } from '../domain/ids.ts'
import { READ_EVENTS_MAX, type Store } from '../log/store.ts'
import { Hub } from '../stream/hub.ts'
import { arrayLog } from '../testing/array-log.ts'
import { settle } from '../testing/run-kit.ts'
import { Follower } from './follower.ts'

const STREAM = sessionId('s1')
const OWNER = userId('u1')
const delta = (text = ''): StreamEvent => ({ type: 'TextDelta', runId: runId('r1'), delta: text })
const upTo = (to: number, from = 1) => Array.from({ length: to - from + 1 }, (_, index) => from + index)

/** A follower of a log of arrays. `fail` makes its reads throw. */
function setUp(after = 0, delays: readonly number[] = [0]) {
  const log = arrayLog(delays)
  const hub = new Hub()
  let failing: Error | undefined
  const unused = () => Promise.reject(new Error('a follower only reads'))
  const store: Store = {
    ...log,
    async read(stream, from, limit) {
      const page = await log.read(stream, from, limit)
      if (failing !== undefined) throw failing
      return page
    },
    commit: unused,
    unfinishedRuns: unused,
    pruneIdempotency: unused,
    close: unused,
  }
  const follower = new Follower({ store, hub, stream: STREAM, after })
  const seen: number[] = []
  const append = (events: readonly StreamEvent[]) => log.append(STREAM, OWNER, events, 0)
  return {
    log,
    hub,
    follower,
    seen,
    append,
    commit: (count = 1) => hub.publish(append(Array.from({ length: count }, () => delta()))),
    start: () => follower.start(({ position }) => seen.push(position)),
    fail: (error: Error | undefined) => void (failing = error),
  }
}

function watched(promise: Promise<unknown>): { state: string } {
  const watch = { state: 'waits' }
  promise.then(
    () => (watch.state = 'done'),
    (error: unknown) => (watch.state = `failed ${String(error instanceof Error ? error.message : error)}`),
  )
  return watch
}

describe('a follower', () => {
  test('hands over what the log holds before it has started, then what comes', async () => {
    const { seen, commit, start } = setUp()
    commit(3)
    await start()
    expect(seen).toEqual([1, 2, 3])
    commit(2)
    expect(seen).toEqual([1, 2, 3, 4, 5])
  })

  test('begins behind its position', async () => {
    const { seen, commit, start } = setUp(2)
    commit(4)
    await start()
    expect(seen).toEqual([3, 4])
  })

  test('reads a long log in pages, without a hole', async () => {
    const { log, seen, commit, start } = setUp()
    commit(READ_EVENTS_MAX * 2 + 1)
    await start()
    expect(seen).toEqual(upTo(READ_EVENTS_MAX * 2 + 1))
    expect(log.reads).toBe(3)
  })

  test('starts on a stream that does not exist yet', async () => {
    const { seen, commit, start } = setUp()
    await start()
    expect(seen).toEqual([])
    commit()
    expect(seen).toEqual([1])
  })

  test('reads the log when a hint was lost', async () => {
    const { seen, append, commit, start } = setUp()
    await start()
    append([delta(), delta()])
    commit()
    await settle(5)
    expect(seen).toEqual([1, 2, 3])
  })

  test('does not miss a batch that comes between its last page and the end of its reading', async () => {
    const { hub, follower, append } = setUp()
    append([delta()])
    const seen: number[] = []
    await follower.start(({ position }) => {
      seen.push(position)
      // Runs after the page was handed over, and before anybody learns that this was the last one.
      if (position === 1) queueMicrotask(() => hub.publish(append([delta()])))
    })
    await settle(5)
    expect(seen).toEqual([1, 2])
  })

  test('takes a hint that comes twice once', async () => {
    const { hub, seen, append, start } = setUp()
    await start()
    const batch = append([delta()])
    hub.publish(batch)
    hub.publish(batch)
    await settle(5)
    expect(seen).toEqual([1])
  })

  test('sees everything once and in order, however reads are slow and hints are lost', async () => {
    const anyStep = fc.record({ events: fc.integer({ min: 1, max: 4 }), told: fc.boolean(), pause: fc.integer({ min: 0, max: 3 }) })
    await fc.assert(
      fc.asyncProperty(fc.array(anyStep, { maxLength: 25 }), fc.array(fc.nat(3), { minLength: 1, maxLength: 4 }), async (steps, delays) => {
        const { hub, seen, append, start, follower } = setUp(0, delays)
        const started = start()
        for (const { events, told, pause } of steps) {
          const batch = append(Array.from({ length: events }, () => delta()))
          if (told) hub.publish(batch)
          await settle(pause)
        }
        await started
        const head = steps.reduce((sum, { events }) => sum + events, 0)
        await follower.reached(head)
        expect(seen).toEqual(upTo(head))
      }),
      { numRuns: 60 },
    )
  })

  test('has no listener in the hub after it was closed, and sees nothing more', async () => {
    const { hub, follower, seen, commit, start } = setUp()
    await start()
    expect(hub.listenerCount).toBe(2)
    follower.close()
    commit()
    await settle(5)
    expect(hub.listenerCount).toBe(0)
    expect(seen).toEqual([])
  })
})

describe('reached', () => {
  test('answers when the position was seen, also without a hint', async () => {
    const { follower, seen, append, start } = setUp()
    await start()
    append([delta(), delta()])
    await follower.reached(2)
    expect(seen).toEqual([1, 2])
  })

  test('answers at once for what was seen', async () => {
    const { log, follower, commit, start } = setUp()
    commit(2)
    await start()
    const { reads } = log
    await follower.reached(2)
    expect(log.reads).toBe(reads)
  })

  test('does not answer for what was not seen, when the log cannot be read', async () => {
    const { follower, seen, append, start, fail } = setUp()
    await start()
    append([delta()])
    fail(new Error('disk'))
    await expect(follower.reached(1)).rejects.toThrow('disk')
    expect(seen).toEqual([])
  })

  test('does not answer for what was not seen, when the follower was closed', async () => {
    const { follower, append, start } = setUp()
    await start()
    append([delta()])
    follower.close()
    await expect(follower.reached(1)).rejects.toThrow('closed')
  })
})

describe('a position beyond the head of the log', () => {
  /** A follower of a log that shows nothing of what is told of. A loop that lets no timer run is stopped from within. */
  async function ahead() {
    const kit = setUp()
    kit.commit(2)
    await kit.start()
    const { log, fail } = kit
    const [read, before] = [log.read.bind(log), log.reads]
    log.read = (...asked) => {
      if (log.reads > before + 20) fail(new Error('asked over and over'))
      return read(...asked)
    }
    return kit
  }
  const later = (from: number) => ({ stream: STREAM, owner: OWNER, from, to: from, feed: 9, atMs: 0, events: [delta()] })

  test('is looked for once when a hint tells of it, and again with the next hint', async () => {
    const { log, hub, seen, append } = await ahead()
    const before = log.reads
    hub.publish(later(5))
    await settle(10)
    expect([log.reads - before, seen]).toEqual([1, [1, 2]])
    append([delta(), delta(), delta()])
    hub.publish(later(6))
    await settle(10)
    expect(seen).toEqual([1, 2, 3, 4, 5])
    expect(log.reads - before).toBeLessThan(5)
  })

  test.each(['a hint', 'a poll'])('is waited for, and seen when %s comes', async (what) => {
    const { log, hub, follower, seen, append } = await ahead()
    const before = log.reads
    const waiting = watched(follower.reached(3))
    await settle(10)
    expect([waiting.state, log.reads - before]).toEqual(['waits', 1])
    await follower.compare()
    await settle(10)
    expect([waiting.state, log.reads - before]).toEqual(['waits', 2])
    const batch = append([delta()])
    if (what === 'a hint') hub.publish(batch)
    else await follower.compare()
    await settle(3)
    expect([waiting.state, seen]).toEqual(['done', [1, 2, 3]])
  })

  test('is not waited for when the follower was closed', async () => {
    const { follower } = await ahead()
    const waiting = watched(follower.reached(3))
    await settle(5)
    follower.close()
    await settle(3)
    expect(waiting.state).toBe('failed closed')
  })
})

describe('start', () => {
  test('fails when the log cannot be read', async () => {
    const { commit, start, fail } = setUp()
    commit()
    fail(new Error('disk'))
    await expect(start()).rejects.toThrow('disk')
  })
})

describe('compare', () => {
  test('reads what no hint has told of, and wakes who waits for it', async () => {
    const { follower, seen, append, start } = setUp()
    await start()
    await follower.changed()
    const waiting = watched(follower.changed())
    append([delta(), delta()])
    await follower.compare()
    await settle(3)
    expect([seen, waiting.state]).toEqual([[1, 2], 'done'])
  })

  test('reads nothing where nothing is missing', async () => {
    const { log, follower, commit, start } = setUp()
    await start()
    commit(2)
    await follower.changed()
    const { reads } = log
    await follower.compare()
    await settle(3)
    expect(log.reads).toBe(reads)
  })

  test('ends the follower of a session that was erased without a hint', async () => {
    const { log, follower, commit, start } = setUp()
    commit(2)
    await start()
    await follower.changed()
    const waiting = watched(follower.changed())
    log.erase(STREAM)
    await follower.compare()
    await settle(3)
    expect(waiting.state).toBe('failed the session is gone')
  })

  test('does not run ahead of a listener that is still to come', async () => {
    const { follower, seen, append, start } = setUp()
    append([delta(), delta()])
    await follower.compare()
    await start()
    expect(seen).toEqual([1, 2])
  })
})

describe('changed', () => {
  test('answers at once for what was seen before it was asked, then waits for more', async () => {
    const { follower, commit, start } = setUp()
    commit()
    await start()
    await follower.changed()
    const next = watched(follower.changed())
    await settle(3)
    expect(next.state).toBe('waits')
    commit()
    await settle(3)
    expect(next.state).toBe('done')
  })

  test('a wake that nobody waited for is not lost', async () => {
    const { follower, start } = setUp()
    await start()
    await follower.changed()
    follower.wake()
    expect(await follower.changed()).toBeUndefined()
  })

  test.each<[string, (kit: ReturnType<typeof setUp>) => void, string]>([
    ['it was ended', ({ follower }) => follower.end(new Error('over')), 'failed over'],
    ['it was ended twice: the first reason stands', ({ follower }) => (follower.end(new Error('over')), follower.end(new Error('late'))), 'failed over'],
    ['it was closed', ({ follower }) => follower.close(), 'failed closed'],
    [
      'the log cannot be read',
      ({ append, commit, fail }) => {
        append([delta()])
        fail(new Error('disk'))
        commit()
      },
      'failed disk',
    ],
  ])('rejects when %s', async (_why, end, state) => {
    const kit = setUp()
    await kit.start()
    await kit.follower.changed()
    const waiting = watched(kit.follower.changed())
    end(kit)
    await settle(5)
    const later = watched(kit.follower.changed())
    await settle(3)
    expect([waiting.state, later.state]).toEqual([state, state])
  })
})

test('a listener that throws ends its own following, and hurts nobody who commits', async () => {
  const { follower, hub, commit } = setUp()
  let others = 0
  await follower.start(() => {
    throw new Error('a bug in an own agent')
  })
  hub.subscribe(STREAM, () => others++)
  commit()
  expect(others).toBe(1)
  await expect(follower.changed()).rejects.toThrow('a bug in an own agent')
})

test.each(['a hint', 'nobody'])('a session that is erased ends its follower: told by %s, it does not ask for it over and over', async (by) => {
  const { log, hub, follower, commit, start, fail } = setUp()
  commit(3)
  await start()
  await follower.changed()
  log.erase(STREAM)
  // A loop that waits for nothing but promises lets no timer run: it is stopped from within.
  const [read, before] = [log.read.bind(log), log.reads]
  log.read = (...asked) => {
    if (log.reads > before + 20) fail(new Error('asked over and over'))
    return read(...asked)
  }
  if (by === 'a hint') hub.erased(STREAM, OWNER)
  await expect(follower.reached(9)).rejects.toThrow('the session is gone')
  await expect(follower.changed()).rejects.toThrow('the session is gone')
})
