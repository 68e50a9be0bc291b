/** Forks: the part of the conformance suite about logs that begin as another's (L13). */
import fc from 'fast-check'
import { afterEach, describe, expect, test } from 'vitest'
import type { Recorded } from '../domain/event.ts'
import type { SessionId } from '../domain/ids.ts'
import type { Store, Write } from '../log/store.ts'
import type { SessionReads } from '../projection/reads.ts'
import { sessionId } from '../domain/ids.ts'
import { fold } from '../log/apply.ts'
import { summarize, type SessionSummary } from '../projection/session-summary.ts'
import { messageOf } from '../projection/transcript.ts'
import { one, readAll, type OpenedStore } from './store-kit.ts'
import { ALICE, BOB, create, decideWrite, deltas, finish, fork, freshId, send } from './writes.ts'

const newSession = () => sessionId(freshId())

/** A session with runs of one message and three deltas each: 1 + 6 events per run. */
async function grown(store: Store, runs: number): Promise<SessionId> {
  const s = newSession()
  await store.commit([create(s)])
  for (let count = 1; count <= runs; count++) {
    const run = freshId()
    await store.commit([send(s, run, 1, `message ${count}`)])
    await store.commit([deltas(s, run, count, 3), finish(s, run, count)])
  }
  return s
}

/** Runs the part for one engine. */
export function forkSuite(name: string, open: () => Promise<OpenedStore>): void {
  describe(`${name} keeps the store's contract about forks (L13)`, () => {
    let opened: OpenedStore
    const use = async () => (opened = await open()).store
    afterEach(() => opened.destroy())

    test('a fork is the origin up to the position, then its own, also after reopening', async () => {
      const store = await use()
      const origin = await grown(store, 2)
      const f = newSession()
      expect(await one(store, fork(f, origin, 7))).toMatchObject({ kind: 'appended', stream: f, from: 8, to: 8, owner: 'alice' })
      const forked = { origin: { sessionId: origin, position: 7 }, owner: 'alice', title: 'a title', agent: 'convoke', messages: 1, by: 'alice' }
      const before = (await readAll(store, origin)).slice(0, 7)
      expect(await readAll(store, f)).toEqual([...before, { position: 8, atMs: 1000, event: { type: 'SessionForked', ...forked } }])
      opened = await opened.reopen()
      expect((await readAll(opened.store, f)).slice(0, 7)).toEqual(before)
      expect(await one(opened.store, send(f, freshId(), 1, 'on the other way'))).toMatchObject({ from: 9, to: 10 })
      expect((await readAll(opened.store, origin)).length).toBe(13)
      expect((await opened.store.messages(f, { limit: 9, offset: 0 })).items.map(({ message }) => message.content)).toEqual(['message 1', 'on the other way'])
    })

    test('a fork inherits no run, no queue, no fence, and shows no status of the origin', async () => {
      const store = await use()
      const origin = await grown(store, 1)
      await store.commit([send(origin, freshId()), decideWrite(origin, { type: 'UpdateSession', visibility: 'PUBLIC' })])
      const f = newSession()
      await store.commit([fork(f, origin, 7, { atMs: 2000 })])
      expect(await store.state(f)).toEqual({ version: 2, owner: 'alice', status: 'active', agent: 'convoke', fence: 0, queue: [], calls: [] })
      const times = { createdAtMs: 2000, updatedAtMs: 2000 }
      expect(await store.session(f)).toEqual({
        id: f,
        owner: 'alice',
        title: 'a title',
        agent: 'convoke',
        status: 'active',
        visibility: 'PRIVATE',
        ...times,
        run: { state: 'idle' },
        messageCount: 1,
        origin: { sessionId: origin, position: 7 },
      })
      expect(await store.sessionAt(f)).toMatchObject({ head: 8 })
      expect((await store.unfinishedRuns(9)).map(({ stream }) => stream)).toEqual([origin])
    })

    test('the feed holds only what is a fork’s own', async () => {
      const store = await use()
      const origin = await grown(store, 1)
      const before = await store.feedHead()
      const f = newSession()
      await store.commit([fork(f, origin, 5), send(f, freshId())])
      const page = await store.readFeed(ALICE.user, before, 99)
      expect(page.batches.map(({ stream, from, to }) => [stream, from, to])).toEqual([
        [f, 6, 6],
        [f, 7, 8],
      ])
      const all = await store.readFeed(ALICE.user, 0, 99)
      expect(all.batches.map(({ stream }) => stream)).toEqual([origin, origin, origin, origin, f, f])
    })

    test('a fork of what is not there, of another’s, of a deleted session, or beyond the head is refused', async () => {
      const store = await use()
      const origin = await grown(store, 1)
      const refusals: [Write, string][] = [
        [fork(newSession(), newSession(), 1), 'not_found'],
        [fork(newSession(), origin, 1, {}, BOB), 'not_found'],
        [fork(newSession(), origin, 1, {}, { user: ALICE.user, scopes: ['sessions:read'] }), 'forbidden'],
        [fork(origin, origin, 1), 'session_exists'],
        [fork(newSession(), origin, 0), 'invalid_fork_point'],
        [fork(newSession(), origin, 8), 'invalid_fork_point'],
        [fork(newSession(), origin, 1.5), 'invalid_fork_point'],
      ]
      for (const [write, code] of refusals) {
        expect([code, await one(store, write)]).toMatchObject([code, { kind: 'refused', code }])
        if (write.stream !== origin) expect(await store.head(write.stream)).toBeUndefined()
      }
      await store.commit([decideWrite(origin, { type: 'DeleteSession' })])
      expect(await one(store, fork(newSession(), origin, 1))).toMatchObject({ code: 'session_deleted' })
    })

    test('a fork with a key is made once; in a commit it sees what goes before it', async () => {
      const store = await use()
      const origin = newSession()
      const [f, again] = [newSession(), newSession()]
      const keyed = { idempotency: { scope: 's', key: 'k', fingerprint: 'f' } }
      const outcomes = await store.commit([create(origin), send(origin, freshId()), fork(f, origin, 3, keyed), fork(again, origin, 3, keyed)])
      expect(outcomes.slice(2)).toMatchObject([
        { kind: 'appended', stream: f, from: 4, replayed: false },
        { kind: 'appended', stream: f, from: 4, replayed: true },
      ])
      expect(await store.head(again)).toBeUndefined()
      expect((await store.messages(f, { limit: 9, offset: 0 })).total).toBe(1)
      opened = await opened.reopen()
      expect(await one(opened.store, fork(again, origin, 3, keyed))).toMatchObject({ stream: f, replayed: true })
    })

    test('a fork is a session of its own in lists, and is forked on', async () => {
      const store = await use()
      const origin = await grown(store, 1)
      const [f, g] = [newSession(), newSession()]
      await store.commit([fork(f, origin, 7), send(f, freshId(), 1, 'in f'), fork(g, f, 10)])
      expect((await store.sessions({ owner: ALICE.user, limit: 9 })).total).toBe(3)
      expect((await store.messages(g, { limit: 9, offset: 1 })).items.map(({ message }) => message.content)).toEqual(['in f'])
      await store.commit([decideWrite(f, { type: 'DeleteSession' })])
      expect((await readAll(store, g)).map(({ position }) => position)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
    })

    test('a long row of forks is read page by page, from anywhere', async () => {
      const store = await use()
      let last = await grown(store, 1)
      const texts = ['message 1']
      for (let depth = 1; depth <= 60; depth++) {
        const next = newSession()
        const head = (await store.head(last)) ?? 0
        await store.commit([fork(next, last, head), send(next, freshId(), 1, `at ${depth}`)])
        texts.push(`at ${depth}`)
        last = next
      }
      const head = 7 + 3 * 60
      expect((await readAll(store, last, 50)).map(({ position }) => position)).toEqual(Array.from({ length: head }, (_, index) => index + 1))
      const middle = await store.messages(last, { limit: 5, offset: 28 })
      expect([middle.total, middle.items.map(({ message }) => message.content)]).toEqual([61, texts.slice(28, 33)])
      expect((await store.history(last, head, 3)).map(({ message }) => message.content)).toEqual(texts.slice(-3))
      expect((await store.history(last, 100, 3)).map(({ position }) => position)).toEqual([94, 97, 100])
    })

    test('any tree of forks equals plain arrays, read from anywhere, also after reopening', async () => {
      await use()
      const aStep = fc.record({
        what: fc.constantFrom('create', 'fork', 'fork', 'run', 'run'),
        of: fc.nat(),
        at: fc.nat(),
        size: fc.integer({ min: 1, max: 40 }),
      })
      const looks = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 30 })), { minLength: 3, maxLength: 6 })
      await fc.assert(
        fc.asyncProperty(fc.array(aStep, { maxLength: 25 }), looks, fc.boolean(), async (steps, reads, isReopened) => {
          const model = new Map<SessionId, readonly Recorded[]>()
          for (const step of steps) await grow(opened.store, model, step)
          if (isReopened) opened = await opened.reopen()
          for (const [id, log] of model) await compare(opened.store, id, log, reads)
        }),
        { numRuns: 15 },
      )
    })
  })
}

/** One step of a tree, in the store and in the model. */
async function grow(store: Store, model: Map<SessionId, readonly Recorded[]>, step: { what: string; of: number; at: number; size: number }): Promise<void> {
  const ids = [...model.keys()]
  const id = ids[step.of % Math.max(1, ids.length)]
  const log = id === undefined ? [] : (model.get(id) ?? [])
  const append = async (stream: SessionId, before: readonly Recorded[], writes: readonly Write[]) => {
    const recorded = [...before]
    for (const outcome of await store.commit(writes)) {
      if (outcome.kind !== 'appended') throw new Error(`a write of the tree was ${outcome.kind}`)
      expect(outcome.from).toBe(recorded.length + 1)
      outcome.events.forEach((event, index) => recorded.push({ position: outcome.from + index, atMs: outcome.atMs, event }))
    }
    model.set(stream, recorded)
  }
  const fresh = newSession()
  if (step.what === 'create' || id === undefined) return append(fresh, [], [create(fresh)])
  const at = 1 + (step.at % log.length)
  if (step.what === 'fork') return append(fresh, log.slice(0, at), [fork(fresh, id, at)])
  const run = freshId()
  const fence = ((await store.state(id))?.fence ?? 0) + 1
  // Many small batches, so that places move to blocks.
  const writes = Array.from({ length: step.size }, () => deltas(id, run, fence, 1))
  return append(id, log, [send(id, run, 1, `said ${run}`), ...writes, finish(id, run, fence)])
}

async function compare(store: Store & SessionReads, id: SessionId, log: readonly Recorded[], reads: readonly (readonly [number, number])[]): Promise<void> {
  expect(await store.head(id)).toBe(log.length)
  const messages = log.flatMap((recorded) => messageOf(recorded) ?? [])
  for (const [from, limit] of reads) {
    const after = from % (log.length + 2)
    expect((await store.read(id, after, limit))?.events).toEqual(log.slice(after, after + limit))
    const offset = from % (messages.length + 2)
    expect(await store.messages(id, { limit, offset })).toEqual({ items: messages.slice(offset, offset + limit), total: messages.length })
    const upTo = messages.filter(({ position }) => position <= after)
    expect(await store.history(id, after, limit)).toEqual(upTo.slice(Math.max(0, upTo.length - limit)))
    const since = upTo.filter(({ position }) => position > after >> 1)
    expect(await store.history(id, after, limit, after >> 1)).toEqual(since.slice(Math.max(0, since.length - limit)))
  }
  const events = log.map(({ event }) => event)
  expect(await store.state(id)).toEqual(fold(undefined, 0, events))
  expect(await store.session(id)).toEqual(log.reduce<SessionSummary | undefined>((summary, recorded) => summarize(id, summary, recorded), undefined))
}
