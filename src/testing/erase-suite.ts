/** Erasing: the part of the conformance suite about sessions that go for good (L14, U1 to U3). */
import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import type { Recorded } from '../domain/event.ts'
import type { SessionId } from '../domain/ids.ts'
import type { Store } from '../log/store.ts'
import type { Upkeep } from '../log/upkeep.ts'
import { sessionId } from '../domain/ids.ts'
import { one, readAll, type OpenedStore } from './store-kit.ts'
import { ALICE, BOB, create, deltas, erase, finish, fork, freshId, send } from './writes.ts'

const newSession = () => sessionId(freshId())
/** Steps of a sweep that a test waits for. */
const STEPS_MAX = 10_000

/** Sweeps until nothing is left to do. */
export async function sweepAll(store: Upkeep): Promise<void> {
  for (let steps = 0; await store.sweep(); steps++) if (steps > STEPS_MAX) throw new Error('a sweep does not end')
}

/** A session of `runs` runs: 1 + 6 events each; their texts name the session. */
async function grown(store: Store, runs: number): Promise<SessionId> {
  const s = newSession()
  await store.commit([create(s)])
  for (let count = 1; count <= runs; count++) {
    const run = freshId()
    await store.commit([send(s, run, 1, `message ${count} of ${s}`)])
    await store.commit([deltas(s, run, count, 3), finish(s, run, count)])
  }
  return s
}

/** Runs the part for one engine. */
export function eraseSuite(name: string, open: () => Promise<OpenedStore>): void {
  describe(`${name} keeps the store's contract about what is erased (L14)`, () => {
    let opened: OpenedStore
    const use = async () => (opened = await open()).store
    afterEach(() => opened.destroy())

    test('an erased session is unknown to every read, list and feed, also after reopening', async () => {
      const store = await use()
      const [s, other] = [await grown(store, 2), await grown(store, 1)]
      const feed = await store.feedHead()
      expect(await one(store, erase(s, ALICE, { files: { workspace: 2, outputs: 3 } }))).toEqual({
        kind: 'erased',
        stream: s,
        owner: 'alice',
        atMs: 1000,
        receipt: { batches: 7, messages: 2, state: 2, index: expect.any(Number), segmentsFreed: 1, segmentsKept: 0, files: 5 },
        replayed: false,
      })
      for (let life = 0; life < 2; life++) {
        const now = opened.store
        expect([await now.head(s), await now.read(s, 0, 9), await now.state(s), await now.session(s), await now.sessionAt(s)]).toEqual(Array(5).fill(undefined))
        expect(await now.messages(s, { limit: 9, offset: 0 })).toEqual({ items: [], total: 0 })
        expect(await now.history(s, 99, 9)).toEqual([])
        expect(await now.sessions({ owner: ALICE.user, limit: 9 })).toMatchObject({ total: 1, items: [{ id: other }] })
        expect(await now.sessionIds(ALICE.user, undefined, 9)).toEqual([other])
        expect(new Set((await now.readFeed(ALICE.user, 0, 99)).batches.map(({ stream }) => stream))).toEqual(new Set([other]))
        expect(await now.feedHead()).toBe(feed)
        await sweepAll(now)
        opened = await opened.reopen()
      }
    })

    test('feed numbers go on where they were when the last batches are gone', async () => {
      const store = await use()
      const [kept, s] = [await grown(store, 1), await grown(store, 3)]
      const head = await store.feedHead()
      await store.commit([erase(s)])
      await sweepAll(store)
      opened = await opened.reopen()
      expect(await opened.store.feedHead()).toBe(head)
      expect(await opened.store.readFeed(ALICE.user, head, 9)).toEqual({ next: head, more: false, batches: [] })
      expect(await one(opened.store, send(kept, freshId(), 1))).toMatchObject({ kind: 'appended', feed: head + 1 })
      expect((await opened.store.readFeed(ALICE.user, head, 9)).batches).toHaveLength(1)
    })

    test('only its owner erases a session, and none that runs; the server itself by its age', async () => {
      const store = await use()
      const s = await grown(store, 1)
      const code = async (write: Parameters<typeof one>[1]) => {
        const outcome = await one(store, write)
        return outcome.kind === 'refused' ? outcome.code : outcome.kind
      }
      expect(await code(erase(newSession()))).toBe('not_found')
      expect(await code(erase(newSession(), 'driver'))).toBe('not_found')
      expect(await code(erase(s, BOB))).toBe('not_found')
      expect(await code(erase(s, { user: ALICE.user, scopes: ['sessions:read'] }))).toBe('forbidden')
      expect(await code(erase(s, 'driver', { idleSinceMs: 999 }))).toBe('input_pending')
      const run = freshId()
      await store.commit([send(s, run)])
      for (const asker of [ALICE, 'driver'] as const) expect(await code(erase(s, asker))).toBe('session_already_running')
      expect(await store.head(s)).toBe(9)
      await store.commit([finish(s, run, 2)])
      expect(await code(erase(s, 'driver', { idleSinceMs: 1000 }))).toBe('erased')
    })

    test('a key erases once and gives the same receipt again, also after reopening; without one the session is unknown', async () => {
      const store = await use()
      const s = await grown(store, 1)
      const keyed = { idempotency: { scope: 's', key: 'k', fingerprint: 'f' } }
      const [first, twin] = await store.commit([erase(s, ALICE, keyed), erase(s, ALICE, keyed)])
      expect([first, twin]).toMatchObject([{ replayed: false }, { replayed: true }])
      opened = await opened.reopen()
      expect(await one(opened.store, erase(s, ALICE, keyed))).toEqual({ ...first, replayed: true })
      expect(await one(opened.store, erase(s))).toMatchObject({ kind: 'refused', code: 'not_found' })
    })

    test('writes of one commit see it: what comes behind it finds nothing', async () => {
      const store = await use()
      const s = newSession()
      const outcomes = await store.commit([create(s), erase(s), send(s, freshId()), fork(newSession(), s, 1), create(s)])
      expect(outcomes.map((outcome) => (outcome.kind === 'refused' ? outcome.code : outcome.kind))).toEqual([
        'appended',
        'erased',
        'not_found',
        'not_found',
        'appended',
      ])
      expect((await readAll(store, s)).map(({ position }) => position)).toEqual([1])
      expect((await store.sessions({ owner: ALICE.user, limit: 9 })).total).toBe(1)
    })

    test('erasing the origin changes nothing that forks read, and the last fork takes the segment with it (U2)', async () => {
      const store = await use()
      const origin = await grown(store, 3)
      const [f, g] = [newSession(), newSession()]
      // Position 9 stands within a batch: what is behind it there goes too.
      await store.commit([fork(f, origin, 8), fork(g, origin, 6)])
      const before = [await readAll(store, f), await readAll(store, g)]
      const erased = await one(store, erase(origin, ALICE, { files: { workspace: 2, outputs: 3 } }))
      expect(erased).toMatchObject({ receipt: { batches: 5, messages: 2, segmentsFreed: 0, segmentsKept: 1, files: 2 } })
      await sweepAll(store)
      opened = await opened.reopen()
      const again = opened.store
      expect([await readAll(again, f), await readAll(again, g)]).toEqual(before)
      expect((await again.messages(f, { limit: 9, offset: 0 })).items).toHaveLength(1)
      expect(await again.head(origin)).toBeUndefined()
      expect(await one(again, erase(f))).toMatchObject({ receipt: { batches: 3, messages: 0, segmentsFreed: 1, segmentsKept: 1 } })
      await sweepAll(again)
      expect(await readAll(again, g)).toEqual(before[1])
      expect(await one(again, erase(g))).toMatchObject({ receipt: { batches: 4, messages: 1, segmentsFreed: 2, segmentsKept: 0 } })
    })

    test('erasing a fork changes nothing of its origin', async () => {
      const store = await use()
      const origin = await grown(store, 2)
      const before = await readAll(store, origin)
      const f = newSession()
      await store.commit([fork(f, origin, 9)])
      expect(await one(store, erase(f))).toMatchObject({ receipt: { batches: 1, messages: 0, segmentsFreed: 1, segmentsKept: 1 } })
      await sweepAll(store)
      expect(await readAll(store, origin)).toEqual(before)
      expect((await store.messages(origin, { limit: 9, offset: 0 })).total).toBe(2)
    })

    test('files of erased sessions are named until they are said to be gone, with the fork that needs some of them (U3)', async () => {
      const store = await use()
      const origin = await grown(store, 2)
      const [f, g] = [newSession(), newSession()]
      await store.commit([fork(f, origin, 9), fork(g, origin, 7)])
      expect(await store.leftovers(9)).toEqual([])
      await store.commit([erase(origin)])
      const first = { stream: origin, readBy: { stream: f, upTo: 9 } }
      expect(await store.leftovers(9)).toEqual([first])
      opened = await opened.reopen()
      const again = opened.store
      await again.commit([erase(f)])
      const second = { stream: origin, readBy: { stream: g, upTo: 7 } }
      expect(await again.leftovers(9)).toEqual(expect.arrayContaining([{ stream: f }, second]))
      expect(await again.leftovers(1)).toHaveLength(1)
      // Said of what is not so any more: ignored.
      await again.forgetLeftover(first)
      await again.forgetLeftover({ stream: f })
      expect(await again.leftovers(9)).toEqual([second])
      await again.forgetLeftover(second)
      expect(await again.leftovers(9)).toEqual([])
      await again.commit([erase(g)])
      expect(await again.leftovers(9)).toEqual(expect.arrayContaining([{ stream: g }, { stream: origin }]))
    })

    test('a sweep is bounded: a large session takes several steps, and a crash between them loses none (U1)', async () => {
      const store = await use()
      const s = newSession()
      const run = freshId()
      await store.commit([create(s), send(s, run)])
      for (let count = 0; count < 40; count++) await store.commit(Array.from({ length: 50 }, () => deltas(s, run, 1, 1)))
      await store.commit([finish(s, run, 1)])
      expect(await one(store, erase(s))).toMatchObject({ receipt: { batches: 2003 } })
      const more = await store.sweep()
      opened = await opened.reopen()
      if (more) expect(await opened.store.sweep()).toBe(true)
      await sweepAll(opened.store)
      expect(await opened.store.sweep()).toBe(false)
    })

    test('idle sessions are named, the longest idle first, and none that runs (U5)', async () => {
      const store = await use()
      const [old, older, running, fresh] = [newSession(), newSession(), newSession(), newSession()]
      await store.commit([
        { ...create(old), atMs: 200 },
        { ...create(older), atMs: 100 },
        { ...create(running), atMs: 50 },
        { ...send(running, freshId()), atMs: 60 },
        { ...create(fresh), atMs: 301 },
      ])
      expect(await store.idleSessions(300, 9)).toEqual([older, old])
      expect(await store.idleSessions(300, 1)).toEqual([older])
      expect(await store.idleSessions(99, 9)).toEqual([])
      opened = await opened.reopen()
      await opened.store.commit([erase(older, 'driver', { idleSinceMs: 300 }), { ...send(old, freshId()), atMs: 400 }])
      expect(await opened.store.idleSessions(1000, 9)).toEqual([fresh])
    })

    test('what is erased is no room that is used any more, and what is given back ends (U5)', async () => {
      const store = await use()
      const s = newSession()
      const run = freshId()
      await store.commit([create(s), send(s, run)])
      const before = await store.usedBytes()
      for (let count = 0; count < 20; count++) await store.commit(Array.from({ length: 100 }, () => deltas(s, run, 1, 50)))
      await store.commit([finish(s, run, 1)])
      const full = await store.usedBytes()
      expect(full).toBeGreaterThan(before + 1_000_000)
      await store.commit([erase(s)])
      await sweepAll(store)
      expect(await store.usedBytes()).toBeLessThan(before + (full - before) / 10)
      for (let steps = 0; await store.release(); steps++) if (steps > STEPS_MAX) throw new Error('giving back does not end')
      opened = await opened.reopen()
      expect(await opened.store.usedBytes()).toBeLessThan(before + (full - before) / 10)
    })

    test('any mix of sessions, forks and erasures leaves what is left as it was', async () => {
      await use()
      const aStep = fc.record({ what: fc.constantFrom('create', 'fork', 'fork', 'run', 'erase', 'sweep'), of: fc.nat(), at: fc.nat() })
      await fc.assert(
        fc.asyncProperty(fc.array(aStep, { maxLength: 24 }), fc.boolean(), async (steps, isReopened) => {
          const model = new Map<SessionId, readonly Recorded[]>()
          for (const step of steps) await mix(opened.store, model, step)
          if (isReopened) opened = await opened.reopen()
          for (const [id, log] of model) expect([id, await readAll(opened.store, id)]).toEqual([id, log])
          // Whoever is left goes too: then nothing is.
          let freed = 0
          for (const id of model.keys()) {
            const outcome = await one(opened.store, erase(id))
            if (outcome.kind === 'erased') freed += outcome.receipt.segmentsFreed
          }
          expect(freed >= model.size).toBe(true)
          await sweepAll(opened.store)
        }),
        { numRuns: 15 },
      )
    })
  })
}

async function mix(store: Store & Upkeep, model: Map<SessionId, readonly Recorded[]>, step: { what: string; of: number; at: number }): Promise<void> {
  if (step.what === 'sweep') return void (await store.sweep())
  const ids = [...model.keys()]
  const id = ids[step.of % Math.max(1, ids.length)]
  if (step.what === 'create' || id === undefined) {
    const fresh = await grown(store, step.at % 4)
    model.set(fresh, await readAll(store, fresh))
    return
  }
  const log = model.get(id) ?? []
  if (step.what === 'erase') {
    expect(await one(store, erase(id))).toMatchObject({ kind: 'erased' })
    model.delete(id)
  } else if (step.what === 'fork') {
    const fresh = newSession()
    const at = 1 + (step.at % log.length)
    await store.commit([fork(fresh, id, at)])
    const all = await readAll(store, fresh)
    expect(all.slice(0, at)).toEqual(log.slice(0, at))
    model.set(fresh, all)
  } else {
    const run = freshId()
    const fence = ((await store.state(id))?.fence ?? 0) + 1
    await store.commit([send(id, run, 1, `said ${run}`), deltas(id, run, fence, 2), finish(id, run, fence)])
    model.set(id, await readAll(store, id))
  }
}
