/**
 * The conformance suite of `Store` and `SessionReads`: a case for each sentence of their contracts, for every engine, and again
 * after reopening.
 */
import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import type { RunEvent } from '../domain/event.ts'
import type { SessionId, UserId } from '../domain/ids.ts'
import type { Write } from '../log/store.ts'
import { fold } from '../log/apply.ts'
import { eraseSuite } from './erase-suite.ts'
import { forkSuite } from './fork-suite.ts'
import { packSuite } from './pack-suite.ts'
import { one, readAll, type OpenedStore } from './store-kit.ts'
import { ALICE, BOB, create, decideWrite, deltas, finish, freshId, send } from './writes.ts'
import { runId, sessionId, userId } from '../domain/ids.ts'

/** Runs the suite for one engine. */
export function storeSuite(name: string, open: () => Promise<OpenedStore>): void {
  forkSuite(name, open)
  eraseSuite(name, open)
  packSuite(name, open)
  describe(`${name} keeps the store's contract`, () => {
    let opened: OpenedStore
    const use = async () => (opened = await open()).store
    afterEach(() => opened.destroy())

    test('positions start at 1, have no holes, and go on after reopening (L1, L3)', async () => {
      const store = await use()
      const s = sessionId(freshId())
      const run = freshId()
      expect(await one(store, create(s))).toMatchObject({ kind: 'appended', from: 1, to: 1, owner: 'alice', replayed: false })
      expect(await one(store, send(s, run))).toMatchObject({ kind: 'appended', from: 2, to: 3 })
      expect(await one(store, deltas(s, run, 1, 5))).toMatchObject({ kind: 'appended', from: 4, to: 8 })
      opened = await opened.reopen()
      expect(await opened.store.head(s)).toBe(8)
      expect((await readAll(opened.store, s)).map(({ position }) => position)).toEqual([1, 2, 3, 4, 5, 6, 7, 8])
      expect(await one(opened.store, deltas(s, run, 1, 1))).toMatchObject({ from: 9, to: 9 })
    })

    test('a later write of a commit sees what an earlier one left, and each stands or falls alone (L2, L5)', async () => {
      const store = await use()
      const s = sessionId(freshId())
      const unknown = sessionId(freshId())
      const run = freshId()
      const outcomes = await store.commit([create(s), send(unknown, freshId()), send(s, run), send(s, freshId()), deltas(s, run, 1, 2)])
      expect(outcomes.map((outcome) => (outcome.kind === 'refused' ? outcome.code : outcome.kind))).toEqual([
        'appended',
        'not_found',
        'appended',
        'session_already_running',
        'appended',
      ])
      expect(await store.head(s)).toBe(5)
      expect(await store.head(unknown)).toBeUndefined()
      expect(await store.state(unknown)).toBeUndefined()
    })

    test('a write under another fence, of another run or after the end is fenced and leaves no trace (L4)', async () => {
      const store = await use()
      const s = sessionId(freshId())
      const run = freshId()
      await store.commit([create(s), send(s, run)])
      const stale = [deltas(s, run, 0, 1), deltas(s, run, 2, 1), deltas(s, freshId(), 1, 1), finish(s, run, 7)]
      for (const write of stale) expect(await one(store, write)).toEqual({ kind: 'fenced' })
      expect(await one(store, finish(s, run, 1))).toMatchObject({ kind: 'appended' })
      expect(await one(store, deltas(s, run, 1, 1))).toEqual({ kind: 'fenced' })
      expect(await store.head(s)).toBe(4)
    })

    test('a key takes effect once, also after reopening; another body is refused; refusals are forgotten (L6)', async () => {
      const store = await use()
      const first = sessionId(freshId())
      const keyed = { idempotency: { scope: 'alice POST /v1/sessions', key: 'k', fingerprint: 'f' } }
      expect(await one(store, send(first, freshId()))).toMatchObject({ kind: 'refused', code: 'not_found' })
      const made = await one(store, create(first, 'one', ALICE, keyed))
      expect(made).toMatchObject({ kind: 'appended', stream: first, replayed: false })
      const again = sessionId(freshId())
      expect(await one(store, create(again, 'one', ALICE, keyed))).toMatchObject({ kind: 'appended', stream: first, replayed: true, events: [] })
      opened = await opened.reopen()
      expect(await one(opened.store, create(again, 'one', ALICE, keyed))).toMatchObject({ stream: first, replayed: true })
      const other = { idempotency: { ...keyed.idempotency, fingerprint: 'g' } }
      expect(await one(opened.store, create(again, 'one', ALICE, other))).toMatchObject({ kind: 'refused', code: 'idempotency_key_reused' })
      expect(await opened.store.head(again)).toBeUndefined()
      expect(await opened.store.pruneIdempotency(2000)).toBe(1)
      expect(await one(opened.store, create(again, 'one', ALICE, other))).toMatchObject({ kind: 'appended', stream: again, replayed: false })
    })

    test('two twins of one key in one commit have one effect', async () => {
      const store = await use()
      const keyed = { idempotency: { scope: 's', key: 'k', fingerprint: 'f' } }
      const first = sessionId(freshId())
      const outcomes = await Promise.all([store.commit([create(first, 't', ALICE, keyed)]), store.commit([create(sessionId(freshId()), 't', ALICE, keyed)])])
      const streams = outcomes.flat().map((outcome) => (outcome.kind === 'appended' ? outcome.stream : undefined))
      expect(new Set(streams)).toEqual(new Set([first]))
      expect((await store.sessions({ owner: ALICE.user, limit: 10 })).total).toBe(1)
    })

    test('the state is the fold of the log, also after reopening (L7)', async () => {
      const store = await use()
      const s = sessionId(freshId())
      const run = freshId()
      await store.commit([create(s), send(s, run), deltas(s, run, 1, 3)])
      const folded = fold(
        undefined,
        0,
        (await readAll(store, s)).map(({ event }) => event),
      )
      expect(await store.state(s)).toEqual(folded)
      opened = await opened.reopen()
      expect(await opened.store.state(s)).toEqual(folded)
    })

    test('a read answers what is after the cursor, at most the limit, and the head (L8)', async () => {
      const store = await use()
      const s = sessionId(freshId())
      const run = freshId()
      await store.commit([create(s), send(s, run), deltas(s, run, 1, 10)])
      expect(await store.read(s, 5, 3)).toMatchObject({ head: 13, events: [{ position: 6 }, { position: 7 }, { position: 8 }] })
      expect(await store.read(s, 13, 3)).toEqual({ head: 13, events: [] })
      expect(await store.read(s, 99, 3)).toEqual({ head: 13, events: [] })
      expect(await store.read(sessionId(freshId()), 0, 3)).toBeUndefined()
    })

    test('the feed holds each write of each stream of its owner once, in growing order (L10)', async () => {
      const store = await use()
      const [a, b, c] = [sessionId(freshId()), sessionId(freshId()), sessionId(freshId())]
      await store.commit([create(a), create(b, 'other', BOB), create(c)])
      await store.commit([send(a, freshId()), send(c, freshId())])
      const seen: string[] = []
      for (let after = 0, more = true; more;) {
        const page = await store.readFeed(ALICE.user, after, 2)
        for (const batch of page.batches) seen.push(`${batch.stream}:${batch.from}-${batch.to}`)
        expect(page.next).toBeGreaterThanOrEqual(after)
        after = page.next
        more = page.more
      }
      expect(seen).toEqual([`${a}:1-1`, `${c}:1-1`, `${a}:2-3`, `${c}:2-3`])
      expect(await store.feedHead()).toBe(5)
    })

    test('opening raises the driver number, keeps the log id, and lists unfinished runs (L11)', async () => {
      const store = await use()
      const s = sessionId(freshId())
      const run = freshId()
      await store.commit([create(s), send(s, run, store.driver)])
      const before = { logId: store.logId, driver: store.driver }
      opened = await opened.reopen()
      expect(opened.store.logId).toBe(before.logId)
      expect(opened.store.driver).toBe(before.driver + 1)
      expect(await opened.store.unfinishedRuns(10)).toEqual([{ stream: s, runId: run, driver: before.driver, fence: 1, owner: 'alice' }])
      await opened.store.commit([finish(s, run, 1)])
      expect(await opened.store.unfinishedRuns(10)).toEqual([])
    })

    test('unfinished runs are listed in pages, none twice and none left out', async () => {
      const store = await use()
      const streams = Array.from({ length: 7 }, () => sessionId(freshId()))
      await store.commit(streams.flatMap((s) => [create(s), send(s, freshId(), store.driver)]))
      const found: SessionId[] = []
      for (let page = await store.unfinishedRuns(3); page.length > 0; page = await store.unfinishedRuns(3, found.at(-1))) {
        expect(page.length).toBeLessThanOrEqual(3)
        found.push(...page.map(({ stream }) => stream))
      }
      expect(found).toEqual(streams.toSorted())
    })

    test('a record that holds no event is refused alone (L2, L5)', async () => {
      const store = await use()
      const [s, other] = [sessionId(freshId()), sessionId(freshId())]
      const run = freshId()
      await store.commit([create(s), send(s, run)])
      const broken = { type: 'UsageReported', runId: runId(run), turn: 1, model: 'm' } as unknown as RunEvent
      const outcomes = await store.commit([{ kind: 'record', stream: s, runId: runId(run), fence: 1, events: [broken], atMs: 1 }, create(other)])
      expect(outcomes.map((outcome) => (outcome.kind === 'refused' ? outcome.code : outcome.kind))).toEqual(['internal_error', 'appended'])
      expect(await store.head(s)).toBe(3)
      expect(await one(store, deltas(s, run, 1, 1))).toMatchObject({ from: 4 })
    })

    test('lists are of one owner, the last changed first, with true totals and keyset pages', async () => {
      const store = await use()
      const mine = Array.from({ length: 5 }, () => sessionId(freshId()))
      for (const [index, id] of mine.entries()) await store.commit([{ ...create(id, `title ${index} 100%_`), atMs: 1000 + index }])
      await store.commit([create(sessionId(freshId()), 'other', BOB)])
      const page = await store.sessions({ owner: ALICE.user, limit: 2 })
      expect(page.items.map(({ id }) => id)).toEqual([mine[4], mine[3]])
      expect(page.total).toBe(5)
      const last = page.items[1]
      if (last === undefined) throw new Error('a page has rows')
      const next = await store.sessions({ owner: ALICE.user, limit: 2, after: { updatedAtMs: last.updatedAtMs, id: last.id } })
      expect(next.items.map(({ id }) => id)).toEqual([mine[2], mine[1]])
      expect(next.total).toBe(5)
      expect((await store.sessions({ owner: ALICE.user, limit: 10, search: '3 100%_' })).items.map(({ id }) => id)).toEqual([mine[3]])
      expect((await store.sessions({ owner: ALICE.user, limit: 10, search: '100_' })).total).toBe(0)
      await store.commit([decideWrite(mine[0] as SessionId, { type: 'DeleteSession' })])
      expect((await store.sessions({ owner: ALICE.user, limit: 10, status: 'active' })).total).toBe(4)
      expect((await store.sessions({ owner: ALICE.user, limit: 10, status: 'deleted' })).items.map(({ id }) => id)).toEqual([mine[0]])
      expect((await store.sessions({ owner: userId('nobody'), limit: 10 })).total).toBe(0)
    })

    test('a session that was handed over is its new owner’s in every list', async () => {
      const store = await use()
      const s = sessionId(freshId())
      await store.commit([create(s), decideWrite(s, { type: 'AssignSession', to: 'bob' as UserId }, 'driver')])
      expect((await store.sessions({ owner: ALICE.user, limit: 10 })).total).toBe(0)
      expect((await store.sessions({ owner: BOB.user, limit: 10 })).items.map(({ id }) => id)).toEqual([s])
      expect(await store.sessionIds(BOB.user, undefined, 10)).toEqual([s])
      expect((await store.readFeed(BOB.user, 0, 10)).batches).toHaveLength(2)
    })

    test('messages are the transcript, in order, with offsets and a history up to a position', async () => {
      const store = await use()
      const s = sessionId(freshId())
      await store.commit([create(s)])
      for (let turn = 1; turn <= 3; turn++) {
        const run = freshId()
        await store.commit([send(s, run, 1, `message ${turn}`)])
        await store.commit([finish(s, run, turn)])
      }
      const page = await store.messages(s, { limit: 2, offset: 1 })
      expect(page.total).toBe(3)
      expect(page.items.map(({ message }) => message.content)).toEqual(['message 2', 'message 3'])
      expect((await store.history(s, 6, 10)).map(({ message }) => message.content)).toEqual(['message 1', 'message 2'])
      expect((await store.history(s, 99, 1)).map(({ message }) => message.content)).toEqual(['message 3'])
      expect((await store.history(s, 99, 10, 3)).map(({ message }) => message.content)).toEqual(['message 2', 'message 3'])
      expect((await store.session(s))?.messageCount).toBe(3)
    })

    test('a session is read together with its head, and names the place of its run while it lasts', async () => {
      const store = await use()
      const s = sessionId(freshId())
      const run = freshId()
      expect(await store.sessionAt(s)).toBeUndefined()
      await store.commit([create(s), send(s, run)])
      expect(await store.sessionAt(s)).toMatchObject({ head: 3, summary: { id: s, run: { state: 'starting', runId: run, startedAt: 2 } } })
      await store.commit([deltas(s, run, 1, 4), finish(s, run, 1)])
      const after = await store.sessionAt(s)
      expect(after).toMatchObject({ head: await store.head(s), summary: { run: { state: 'idle' } } })
      expect(after?.summary.run.startedAt).toBeUndefined()
    })

    test('after close a commit is refused and nothing is written', async () => {
      const store = await use()
      await store.close()
      await expect(store.commit([create(sessionId(freshId()))])).rejects.toMatchObject({ code: 'store_failed' })
      await store.close()
    })

    test('any mix of fresh and stale writes equals a plain array', async () => {
      const store = await use()
      const anyWrite = fc.record({
        stream: fc.nat(2),
        kind: fc.constantFrom('create', 'send', 'deltas', 'stale', 'finish'),
        count: fc.integer({ min: 1, max: 9 }),
      })
      await fc.assert(
        fc.asyncProperty(fc.array(fc.array(anyWrite, { maxLength: 6 }), { maxLength: 8 }), async (commits) => {
          const streams = [sessionId(freshId()), sessionId(freshId()), sessionId(freshId())]
          const model = new Map(streams.map((stream) => [stream, { head: 0, run: '', fence: 0 }]))
          for (const commit of commits) {
            const planned = commit.map((wish) => {
              const stream = streams[wish.stream] as SessionId
              const known = model.get(stream)
              if (known === undefined) throw new Error('known')
              return plan(stream, known, wish)
            })
            const outcomes = await store.commit(planned.map(({ write }) => write))
            expect(outcomes.map((outcome) => (outcome.kind === 'appended' ? outcome.to - outcome.from + 1 : outcome.kind))).toEqual(
              planned.map(({ expected }) => expected),
            )
          }
          for (const [stream, { head }] of model) {
            const events = head === 0 ? [] : await readAll(store, stream)
            expect(events.map(({ position }) => position)).toEqual(Array.from({ length: head }, (_, index) => index + 1))
            if (head > 0)
              expect(await store.state(stream)).toEqual(
                fold(
                  undefined,
                  0,
                  events.map(({ event }) => event),
                ),
              )
          }
        }),
        { numRuns: 40 },
      )
    })
  })
}

interface Known {
  head: number
  run: string
  fence: number
}

/** A write with what a plain model expects of it: the number of events, or how it is refused. */
function plan(stream: SessionId, known: Known, wish: { kind: string; count: number }): { write: Write; expected: number | 'refused' | 'fenced' } {
  switch (wish.kind) {
    case 'create': {
      const expected = known.head === 0 ? 1 : 'refused'
      if (expected === 1) known.head = 1
      return { write: create(stream), expected }
    }
    case 'send': {
      const run = freshId()
      const accepted = known.head > 0 && known.run === ''
      if (accepted) Object.assign(known, { head: known.head + 2, run, fence: known.fence + 1 })
      return { write: send(stream, run), expected: accepted ? 2 : 'refused' }
    }
    case 'deltas': {
      const accepted = known.run !== ''
      if (accepted) known.head += wish.count
      return { write: deltas(stream, known.run || freshId(), known.fence, wish.count), expected: accepted ? wish.count : 'fenced' }
    }
    case 'stale':
      return { write: deltas(stream, known.run || freshId(), known.fence - 1, wish.count), expected: 'fenced' }
    default: {
      const accepted = known.run !== ''
      const write = finish(stream, known.run || freshId(), known.fence)
      if (accepted) Object.assign(known, { head: known.head + 1, run: '' })
      return { write, expected: accepted ? 1 : 'fenced' }
    }
  }
}
