/** Retention: what is idle for long, or too much, goes for good; what is used stays. */
import { describe, expect, test } from 'vitest'
import type { SessionId } from '../src/domain/ids.ts'
import { sessionId } from '../src/domain/ids.ts'
import { Committer } from '../src/command/committer.ts'
import { createPurger } from '../src/command/purge.ts'
import { IDLE_MS_MIN, PASS_SESSIONS_MAX, retain, type RetentionPolicy } from '../src/command/retention.ts'
import { createCommandService } from '../src/command/service.ts'
import { memoryStore } from '../src/storage/memory/store.ts'
import { Hub } from '../src/stream/hub.ts'
import { manualClock } from '../src/testing/manual-clock.ts'
import { countingRandom, keptLog } from '../src/testing/run-kit.ts'
import { ALICE, create, fork, freshId, send } from '../src/testing/writes.ts'

const DAY_MS = 86_400_000

function setUp() {
  const store = memoryStore(countingRandom())
  const committer = new Committer(store, new Hub())
  const clock = manualClock(1_000 * DAY_MS)
  const telemetry = keptLog()
  const files = { count: async () => ({ workspace: 1, outputs: 1 }), remove: async () => undefined }
  const purger = createPurger({ store, committer, commands: createCommandService(committer, clock), files, clock })
  /** A session that was last used `days` ago. */
  const session = async (days: number, title = 'a title') => {
    const s = sessionId(freshId())
    await store.commit([{ ...create(s, title), atMs: clock.nowMs() - days * DAY_MS }])
    return s
  }
  const pass = (policy: RetentionPolicy) => retain({ store, purger, clock, telemetry }, policy)
  const left = async (ids: readonly SessionId[]) => (await Promise.all(ids.map(async (id) => ((await store.head(id)) === undefined ? [] : [id])))).flat()
  return { store, clock, telemetry, purger, session, pass, left }
}

describe('by age', () => {
  test('what nobody used for the days goes, and is counted in the log', async () => {
    const { telemetry, session, pass, left } = setUp()
    const ids = [await session(31), await session(30), await session(29)]
    expect(await pass({ days: 30 })).toBe(false)
    expect(await left(ids)).toEqual([ids[2]])
    const counts = { sessions: 2, batches: 2, messages: 0, files: 4, bytes: expect.any(Number) }
    expect(telemetry.lines).toEqual([{ level: 'info', message: 'idle sessions were erased', fields: { reason: 'days', ...counts } }])
  })

  test('a session with an unfinished run stays, however old it is', async () => {
    const { store, clock, session, pass, left } = setUp()
    const s = await session(100)
    await store.commit([{ ...send(s, freshId()), atMs: clock.nowMs() - 99 * DAY_MS }])
    await pass({ days: 30 })
    expect(await left([s])).toEqual([s])
  })

  test('one that is used while the pass goes on stays', async () => {
    const { store, clock, purger, session, left } = setUp()
    const s = await session(100)
    await store.commit([{ ...fork(sessionId(freshId()), s, 1), atMs: 1 }])
    await store.commit([{ kind: 'decide', stream: s, command: { type: 'UpdateSession', title: 'again' }, asker: ALICE, atMs: clock.nowMs() }])
    expect(await purger.expire(s, clock.nowMs() - 1)).toBeUndefined()
    expect(await left([s])).toEqual([s])
  })

  test('a pass erases a bounded number, and says that there is more', async () => {
    const { session, pass, left } = setUp()
    const ids = []
    for (let count = 0; count <= PASS_SESSIONS_MAX; count++) ids.push(await session(40))
    expect(await pass({ days: 30 })).toBe(true)
    expect(await left(ids)).toHaveLength(1)
    expect(await pass({ days: 30 })).toBe(false)
    expect(await left(ids)).toEqual([])
  })

  test('without a policy nothing goes', async () => {
    const { telemetry, session, pass, left } = setUp()
    const s = await session(900)
    expect([await pass({}), await left([s]), telemetry.lines]).toEqual([false, [s], []])
  })
})

describe('by size', () => {
  test('the longest idle go, until the log is small enough', async () => {
    const { store, telemetry, session, pass, left } = setUp()
    const ids = []
    for (const days of [1, 4, 2, 3]) ids.push(await session(days, 'x'.repeat(1000)))
    const bytes = await store.usedBytes()
    expect(await pass({ bytesMax: bytes })).toBe(false)
    expect(await left(ids)).toEqual(ids)
    await pass({ bytesMax: Math.floor((bytes * 3) / 4) - 1 })
    expect(await left(ids)).toEqual([ids[0], ids[2]])
    expect(telemetry.lines).toMatchObject([{ fields: { reason: 'bytesMax', sessions: 2 } }])
  })

  test('what was used within a minute stays, and that the log is too large is said', async () => {
    const { store, clock, telemetry, session, pass, left } = setUp()
    const s = await session(0)
    clock.advance(IDLE_MS_MIN - 1)
    expect(await pass({ bytesMax: 1 })).toBe(false)
    expect([await left([s]), telemetry.lines[0]?.level]).toEqual([[s], 'warn'])
    clock.advance(1)
    await pass({ bytesMax: 1 })
    expect([await left([s]), await store.usedBytes()]).toEqual([[], 0])
  })
})
