import { describe, expect, test } from 'vitest'
import type { WriteOutcome } from '../../src/log/store.ts'
import { sessionId } from '../../src/domain/ids.ts'
import { memoryStore } from '../../src/storage/memory/store.ts'
import { systemRandom } from '../../src/system/random.ts'
import { create, erase, freshId, send } from '../../src/testing/writes.ts'
import { SimulatedDisk, type Committed, type DiskManner, type Engine } from '../../src/testing/simulation/disk.ts'
import { Scheduler } from '../../src/testing/simulation/scheduler.ts'
import { seededRandom } from '../../src/testing/simulation/seeded.ts'

const CALM: DiskManner = { commitMs: 5, readMs: 2, failing: 0, unreadable: 0, stalling: 0 }

function disk(manner: Partial<DiskManner> = {}, opened?: () => Promise<Engine>) {
  const random = seededRandom(9)
  const scheduler = new Scheduler(random)
  let store: ReturnType<typeof memoryStore> | undefined
  const committed: Committed[] = []
  const failed: string[] = []
  const made = new SimulatedDisk({
    random,
    manner: { ...CALM, ...manner },
    async open() {
      if (opened !== undefined) return opened()
      await store?.close()
      return (store = store === undefined ? memoryStore(systemRandom) : store.reopen())
    },
    committed: (commit) => committed.push(commit),
    failed: (_by, what) => failed.push(what),
  })
  return { disk: made, scheduler, committed, failed, run: () => scheduler.run(() => false, 10_000) }
}

test('a commit takes its time, and is told when it is durable and not before', async () => {
  const { disk: d, scheduler, committed, run } = disk()
  const log = await d.open(scheduler.scope('p'))
  let outcomes: readonly WriteOutcome[] | undefined
  void log.commit([create(sessionId(freshId()))]).then((answer) => (outcomes = answer))
  expect([outcomes, committed.length]).toEqual([undefined, 0])
  await scheduler.run(() => committed.length === 1, 10_000)
  expect(outcomes).toBeUndefined()
  await run()
  expect(outcomes).toMatchObject([{ kind: 'appended', from: 1 }])
})

test('a process that dies in a commit hears nothing, whether or not it was written', async () => {
  const { disk: d, scheduler, committed, run } = disk()
  const scope = scheduler.scope('p')
  const log = await d.open(scope)
  const s = sessionId(freshId())
  let heard = false
  void log.commit([create(s)]).then(() => (heard = true))
  await scheduler.run(() => committed.length === 1, 10_000)
  scope.kill()
  await run()
  expect([heard, await d.engine.head(s)]).toEqual([false, 1])
})

test('a stale process reaches the log of the one that took over: only the fence stops it', async () => {
  const { disk: d, scheduler, run } = disk()
  const old = await d.open(scheduler.scope('old'))
  const s = sessionId(freshId())
  const young = await d.open(scheduler.scope('young'))
  expect([old.driver, young.driver]).toEqual([1, 2])
  let outcomes: readonly WriteOutcome[] = []
  void young
    .commit([create(s), send(s, freshId())])
    .then(() => old.commit([{ kind: 'record', stream: s, runId: freshId() as never, fence: 1, events: [], atMs: 0 }]))
    .then((answer) => (outcomes = answer))
  await run()
  expect(outcomes).toEqual([{ kind: 'fenced' }])
})

describe('a failing disk', () => {
  test('throws what says that nobody knows, and has written in some of the cases', async () => {
    const { disk: d, scheduler, failed, run } = disk({ failing: 1 })
    const log = await d.open(scheduler.scope('p'))
    const written: boolean[] = []
    for (let left = 20; left > 0; left--) {
      const s = sessionId(freshId())
      const commit = expect(log.commit([create(s)])).rejects.toMatchObject({ code: 'store_unknown' })
      await run()
      await commit
      written.push((await d.engine.head(s)) === 1)
    }
    expect(new Set(written)).toEqual(new Set([true, false]))
    expect(failed).toHaveLength(20)
  })

  test('fails in the middle of upkeep too, and what was to be done is done or not', async () => {
    const { disk: d, scheduler, run } = disk()
    const log = await d.open(scheduler.scope('p'))
    const s = sessionId(freshId())
    void log.commit([create(s)]).then(() => log.commit([erase(s)]))
    await run()
    const [leftover] = await d.engine.leftovers(1)
    if (leftover === undefined) throw new Error('an erased session leaves its files to be removed')
    const { disk: broken, scheduler: other, failed, run: runOther } = disk({ failing: 1 }, async () => d.engine)
    const failing = await broken.open(other.scope('q'))
    const left: number[] = []
    for (let tries = 20; tries > 0; tries--) {
      const forgotten = expect(failing.forgetLeftover(leftover)).rejects.toMatchObject({ code: 'store_unknown' })
      await runOther()
      await forgotten
      left.push((await d.engine.leftovers(1)).length)
    }
    expect(new Set(left)).toEqual(new Set([1, 0]))
    expect(failed).toHaveLength(20)
  })

  test('that cannot be read says so', async () => {
    const { disk: d, scheduler, run } = disk({ unreadable: 1 })
    const log = await d.open(scheduler.scope('p'))
    const read = expect(log.head(sessionId(freshId()))).rejects.toThrow(/simulated/)
    await run()
    await read
  })

  test('that stalls takes its time and loses nothing', async () => {
    const { disk: d, scheduler, run } = disk({ stalling: 1 })
    const log = await d.open(scheduler.scope('p'))
    const s = sessionId(freshId())
    void log.commit([create(s)])
    await run()
    expect(await d.engine.head(s)).toBe(1)
    expect(scheduler.scope('p').monotonicMs()).toBeGreaterThan(20)
  })
})

test('a loop of reads that never lets go does not hold simulated time', async () => {
  const { disk: d, scheduler } = disk({ readMs: 0 })
  const scope = scheduler.scope('p')
  const log = await d.open(scope)
  let over = false
  scope.after(5, () => (over = true))
  const loop = async () => {
    while (!over) await log.feedHead()
  }
  scope.at(1, 'loop', () => void loop())
  expect(await scheduler.run(() => over, 100)).toBe('done')
})

test('a read is answered later, and at once where no time is given', async () => {
  const slow = disk()
  const log = await slow.disk.open(slow.scheduler.scope('p'))
  let head: unknown = 'waits'
  void log.feedHead().then((answer) => (head = answer))
  await Promise.resolve()
  expect(head).toBe('waits')
  await slow.run()
  expect(head).toBe(0)
  const fast = disk({ readMs: 0 })
  expect(await (await fast.disk.open(fast.scheduler.scope('p'))).feedHead()).toBe(0)
})
