/** The conformance suite of a store that several processes share: what `store-suite.ts` says of one opening, said of two at once (L12). */
import { afterEach, describe, expect, test } from 'vitest'
import type { Store, Write, WriteOutcome } from '../log/store.ts'
import type { SessionReads } from '../projection/reads.ts'
import { runId, sessionId } from '../domain/ids.ts'
import { ALICE, create, decideWrite, deltas, finish, freshId, send } from './writes.ts'

/** Two openings of one log. */
export interface SharedStores {
  readonly one: Store & SessionReads
  readonly two: Store & SessionReads
  destroy(): Promise<void>
}

async function outcomeOf(store: Store, write: Write): Promise<WriteOutcome> {
  const [outcome] = await store.commit([write])
  if (outcome === undefined) throw new Error('a write has an outcome')
  return outcome
}

/** Runs the suite for one engine. */
export function sharedSuite(name: string, open: () => Promise<SharedStores>): void {
  describe(`${name}, shared`, () => {
    let stores: SharedStores
    const use = async () => (stores = await open())
    afterEach(() => stores.destroy())

    test('each opening has a driver number of its own, and the log has one name', async () => {
      const { one, two } = await use()
      expect([two.driver > one.driver, two.logId]).toEqual([true, one.logId])
    })

    test('positions and feed numbers go on across both, and each reads what the other wrote', async () => {
      const { one, two } = await use()
      const s = sessionId(freshId())
      const run = freshId()
      const outcomes = [
        await outcomeOf(one, create(s)),
        await outcomeOf(two, send(s, run)),
        await outcomeOf(one, deltas(s, run, 1, 2)),
        await outcomeOf(two, deltas(s, run, 1, 1)),
      ]
      expect(outcomes.map((outcome) => (outcome.kind === 'appended' ? [outcome.from, outcome.to, outcome.feed] : outcome.kind))).toEqual([
        [1, 1, 1],
        [2, 3, 2],
        [4, 5, 3],
        [6, 6, 4],
      ])
      for (const store of [one, two]) {
        expect((await store.read(s, 0, 100))?.events.map(({ position }) => position)).toEqual([1, 2, 3, 4, 5, 6])
        expect((await store.readFeed(ALICE.user, 0, 100)).batches.map(({ feed }) => feed)).toEqual([1, 2, 3, 4])
        expect((await store.session(s))?.run.runId).toBe(run)
      }
    })

    test('a fence that one raised refuses the other’s late writes, and its end of the run (P4)', async () => {
      const { one, two } = await use()
      const s = sessionId(freshId())
      const run = freshId()
      await one.commit([create(s), send(s, run, one.driver)])
      expect(await outcomeOf(one, deltas(s, run, 1, 1))).toMatchObject({ kind: 'appended' })
      const claim = { type: 'ClaimRun', runId: runId(run), fence: 1, driver: two.driver } as const
      expect(await outcomeOf(two, decideWrite(s, claim, 'driver'))).toMatchObject({ kind: 'appended' })
      expect(await outcomeOf(one, deltas(s, run, 1, 1))).toEqual({ kind: 'fenced' })
      expect(await outcomeOf(one, finish(s, run, 1))).toEqual({ kind: 'fenced' })
      expect(await outcomeOf(two, deltas(s, run, 2, 1))).toMatchObject({ kind: 'appended' })
      expect(await outcomeOf(one, decideWrite(s, { ...claim, driver: one.driver }, 'driver'))).toMatchObject({ kind: 'refused', code: 'run_mismatch' })
    })

    test('a key that one used is known to the other', async () => {
      const { one, two } = await use()
      const s = sessionId(freshId())
      const keyed = { ...create(s), idempotency: { scope: 'a', key: 'k', fingerprint: 'f' } }
      expect(await outcomeOf(one, keyed)).toMatchObject({ kind: 'appended', replayed: false })
      expect(await outcomeOf(two, keyed)).toMatchObject({ kind: 'appended', replayed: true, stream: s })
    })

    test('concurrent writes of both to one session leave no hole and lose none', async () => {
      const { one, two } = await use()
      const s = sessionId(freshId())
      const run = freshId()
      await one.commit([create(s), send(s, run, one.driver)])
      await Promise.all(Array.from({ length: 40 }, (_, index) => outcomeOf(index % 2 === 0 ? one : two, deltas(s, run, 1, 1 + (index % 3)))))
      const events = (await two.read(s, 0, 512))?.events ?? []
      expect(events.map(({ position }) => position)).toEqual(events.map((_, index) => index + 1))
      expect(events).toHaveLength(3 + Array.from({ length: 40 }, (_, index) => 1 + (index % 3)).reduce((sum, count) => sum + count, 0))
    })

    test('a driver is gone when it never said that it lives, or when its time has run out, and not before', async () => {
      const { one, two } = await use()
      const goneAt = async (nowMs: number) => [...((await two.drivers?.gone([one.driver, two.driver, 999], nowMs)) ?? [])]
      expect(await goneAt(1)).toEqual([one.driver, two.driver, 999])
      await one.drivers?.renew(100)
      await two.drivers?.renew(200)
      expect(await goneAt(99)).toEqual([999])
      expect(await goneAt(100)).toEqual([one.driver, 999])
      await one.drivers?.renew(300)
      expect(await goneAt(200)).toEqual([two.driver, 999])
      await one.drivers?.renew(0)
      expect(await goneAt(1)).toEqual([one.driver, 999])
    })
  })
}
