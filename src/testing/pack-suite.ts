/** Packing: the part of the conformance suite about what nobody may notice (U4). */
import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import type { Recorded } from '../domain/event.ts'
import type { SessionId, UserId } from '../domain/ids.ts'
import type { LogBatch, Store, Write } from '../log/store.ts'
import type { Upkeep } from '../log/upkeep.ts'
import { sessionId } from '../domain/ids.ts'
import { readAll, type OpenedStore } from './store-kit.ts'
import { ALICE, BOB, create, deltas, erase, finish, fork, freshId, send } from './writes.ts'
import { sweepAll } from './erase-suite.ts'

const newSession = () => sessionId(freshId())
/** Steps of packing that a test waits for. */
const STEPS_MAX = 10_000

/** Packs every run that has ended. */
export async function packAll(store: Upkeep): Promise<void> {
  for (let steps = 0; await store.pack(Infinity); steps++) if (steps > STEPS_MAX) throw new Error('packing does not end')
}

/** The whole feed of an owner behind a cursor, in pages of `limit`. */
async function feedFrom(store: Store, owner: UserId, after: number, limit: number): Promise<readonly LogBatch[]> {
  const batches: LogBatch[] = []
  for (let from = after, more = true; more;) {
    const page = await store.readFeed(owner, from, limit)
    if (page.next < from) throw new Error('the feed goes backwards')
    batches.push(...page.batches)
    from = page.next
    more = page.more
  }
  return batches
}

interface Model {
  readonly feed: (LogBatch & { readonly owner: UserId })[]
  readonly streams: Map<SessionId, { log: readonly Recorded[]; run: string; fence: number; readonly owner: UserId }>
}

/** Runs the part for one engine. */
export function packSuite(name: string, open: () => Promise<OpenedStore>): void {
  describe(`${name} packs without anybody noticing (U4)`, () => {
    let opened: OpenedStore
    const use = async () => (opened = await open()).store
    afterEach(() => opened.destroy())

    test('a run of a thousand tokens reads as before: events, times, pages, feed, from every place', async () => {
      const store = await use()
      const [s, other] = [newSession(), newSession()]
      const [run, beside] = [freshId(), freshId()]
      await store.commit([create(s), create(other), send(s, run), send(other, beside)])
      for (let flush = 0; flush < 100; flush++) {
        await store.commit([
          { ...deltas(s, run, 1, 10), atMs: 1000 + flush },
          { ...deltas(other, beside, 1, 1), atMs: 1000 + flush },
        ])
      }
      await store.commit([{ ...finish(s, run, 1), atMs: 5000 }, finish(other, beside, 1)])
      const [events, feed] = [await readAll(store, s, 100), await feedFrom(store, ALICE.user, 0, 50)]
      expect(await store.pack(1000)).toBe(false)
      await packAll(store)
      for (let life = 0; life < 2; life++) {
        expect(await readAll(opened.store, s, 100)).toEqual(events)
        for (const after of [0, 3, 4, 17, 500, 1002]) expect((await opened.store.read(s, after, 7))?.events).toEqual(events.slice(after, after + 7))
        for (let after = 0; after <= feed.length; after += 7) {
          expect(await feedFrom(opened.store, ALICE.user, after, 3)).toEqual(feed.filter((batch) => batch.feed > after))
        }
        opened = await opened.reopen()
      }
    })

    test('a run that goes on is not touched, and one that is taken up again after reopening is packed to its end', async () => {
      const store = await use()
      const s = newSession()
      const run = freshId()
      await store.commit([create(s), send(s, run)])
      for (let flush = 0; flush < 200; flush++) await store.commit([deltas(s, run, 1, 2)])
      expect(await store.pack(Infinity)).toBe(false)
      await store.commit([finish(s, run, 1)])
      const events = await readAll(store, s, 100)
      const more = await store.pack(Infinity)
      opened = await opened.reopen()
      if (more) expect(await opened.store.pack(Infinity)).toBe(true)
      await packAll(opened.store)
      expect(await readAll(opened.store, s, 100)).toEqual(events)
      const next = freshId()
      await opened.store.commit([send(s, next), deltas(s, next, 2, 3)])
      expect((await opened.store.read(s, events.length, 9))?.events).toHaveLength(5)
    })

    test('any mix of appends, packing, forks, erasures and reads from every cursor equals plain arrays', async () => {
      await use()
      const aStep = fc.record({
        what: fc.constantFrom('create', 'send', 'flush', 'flush', 'flush', 'finish', 'pack', 'pack', 'fork', 'erase', 'sweep'),
        of: fc.nat(),
        count: fc.integer({ min: 1, max: 40 }),
      })
      const looks = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 40 })), { minLength: 4, maxLength: 8 })
      await fc.assert(
        fc.asyncProperty(fc.array(aStep, { minLength: 10, maxLength: 40 }), looks, fc.boolean(), async (steps, reads, isReopened) => {
          const begin = await opened.store.feedHead()
          const model: Model = { feed: [], streams: new Map() }
          for (const step of steps) await take(opened.store, model, step)
          if (isReopened) opened = await opened.reopen()
          for (const [id, { log }] of model.streams) {
            for (const [from, limit] of reads) {
              const after = from % (log.length + 1)
              expect((await opened.store.read(id, after, limit))?.events).toEqual(log.slice(after, after + limit))
            }
          }
          const head = await opened.store.feedHead()
          for (const { user } of [ALICE, BOB]) {
            for (const [from, limit] of reads) {
              const after = begin + (from % (head - begin + 1))
              const expected = model.feed.filter(({ owner, feed }) => owner === user && feed > after).map(({ owner: _owner, ...batch }) => batch)
              expect(await feedFrom(opened.store, user, after, limit)).toEqual(expected)
            }
          }
          for (const id of model.streams.keys()) await end(opened.store, model, id)
        }),
        { numRuns: 15 },
      )
    })
  })
}

async function take(store: Store & Upkeep, model: Model, step: { what: string; of: number; count: number }): Promise<void> {
  const ids = [...model.streams.keys()]
  const id = ids[step.of % Math.max(1, ids.length)]
  const known = id === undefined ? undefined : model.streams.get(id)
  if (step.what === 'pack') {
    for (let steps = step.count; steps > 0 && (await store.pack(Infinity)); steps--);
  } else if (step.what === 'sweep') await store.sweep()
  else if (id === undefined || known === undefined || step.what === 'create') {
    const fresh = newSession()
    await append(store, model, fresh, [create(fresh, 'a title', step.of % 3 === 0 ? BOB : ALICE)])
  } else if (step.what === 'fork') {
    const fresh = newSession()
    const at = 1 + (step.count % known.log.length)
    const asker = known.owner === BOB.user ? BOB : ALICE
    model.streams.set(fresh, { log: known.log.slice(0, at), run: '', fence: 0, owner: known.owner })
    await append(store, model, fresh, [fork(fresh, id, at, {}, asker)])
  } else if (step.what === 'erase') await end(store, model, id)
  else if (known.run === '' && step.what === 'send') {
    const run = freshId()
    const write = { ...send(id, run), asker: known.owner === BOB.user ? BOB : ALICE } as Write
    Object.assign(known, { run, fence: known.fence + 1 })
    await append(store, model, id, [write])
  } else if (known.run !== '' && step.what === 'flush') {
    await append(
      store,
      model,
      id,
      Array.from({ length: step.count }, (_, index) => ({ ...deltas(id, known.run, known.fence, 1 + (index % 3)), atMs: 2000 + index * 3 })),
    )
  } else if (known.run !== '' && step.what === 'finish') {
    const write = finish(id, known.run, known.fence)
    known.run = ''
    await append(store, model, id, [write])
  }
}

async function append(store: Store, model: Model, id: SessionId, writes: readonly Write[]): Promise<void> {
  for (const outcome of await store.commit(writes)) {
    if (outcome.kind !== 'appended') throw new Error(`a write of the mix was ${outcome.kind}`)
    const { stream, from, to, feed, atMs, events, owner } = outcome
    model.feed.push({ stream, from, to, feed, atMs, events, owner })
    const known = model.streams.get(id) ?? { log: [], run: '', fence: 0, owner }
    known.log = [...known.log, ...events.map((event, index) => ({ position: from + index, atMs, event }))]
    model.streams.set(id, known)
  }
}

async function end(store: Store & Upkeep, model: Model, id: SessionId): Promise<void> {
  const known = model.streams.get(id)
  if (known === undefined) return
  if (known.run !== '') await store.commit([finish(id, known.run, known.fence)])
  const [outcome] = await store.commit([erase(id, 'driver')])
  expect(outcome?.kind).toBe('erased')
  model.streams.delete(id)
  model.feed.splice(0, model.feed.length, ...model.feed.filter(({ stream }) => stream !== id))
  if (id.endsWith('0')) await sweepAll(store)
}
