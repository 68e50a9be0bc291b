import { describe, expect, test } from 'vitest'
import type { SessionCommand } from '../domain/command.ts'
import type { Asker } from '../domain/decision.ts'
import type { SessionId } from '../domain/ids.ts'
import type { SessionState } from '../domain/session.ts'
import type { RecordWrite, Store, Write, WriteOutcome } from '../log/store.ts'
import type { LiveBatch } from '../stream/hub.ts'
import { ConvokeError } from '../domain/errors.ts'
import { messageId, runId, sessionId, userId } from '../domain/ids.ts'
import { USER_SCOPES } from '../domain/principal.ts'
import { applyWrite } from '../log/apply.ts'
import { Hub } from '../stream/hub.ts'
import { arrayLog, type ArrayLog } from '../testing/array-log.ts'
import { Committer } from './committer.ts'

const ALICE = { user: userId('alice'), scopes: USER_SCOPES }
const S1 = sessionId('s1')
const S2 = sessionId('s2')
const R1 = runId('r1')

type Batch = Omit<LiveBatch, 'encoded'>

/** A log of arrays that commits when its `gate` opens, or fails with what `failure` holds. */
class HandStore {
  readonly log: ArrayLog = arrayLog()
  readonly #states = new Map<SessionId, SessionState | undefined>()
  gate: Promise<void> = Promise.resolve()
  failure: Error | undefined
  /** What the next commit answers in place of its own outcomes. */
  scripted: readonly WriteOutcome[] | undefined

  readonly store: Store = {
    ...this.log,
    commit: async (writes) => {
      await this.gate
      if (this.failure !== undefined) throw this.failure
      return this.scripted ?? writes.map((write) => this.#apply(write))
    },
    unfinishedRuns: async () => [],
    pruneIdempotency: async () => 0,
    close: async () => undefined,
  }

  /** Closes the gate. The returned function opens it. */
  hold(): () => void {
    let open: () => void = () => undefined
    this.gate = new Promise((resolve) => (open = resolve))
    return open
  }

  #apply(write: Write): WriteOutcome {
    if (write.kind === 'erase') throw new Error('nothing is erased here')
    const state = this.#states.get(write.stream)
    const head = this.log.feed.findLast((batch) => batch.stream === write.stream)?.to ?? 0
    const applied = applyWrite(state, head, write)
    if (applied.kind !== 'apply') return applied
    this.#states.set(write.stream, applied.state)
    const { events, reply } = applied
    const owner = applied.state?.owner ?? userId('nobody')
    const written = { kind: 'appended', reply, replayed: false } as const
    if (events.length === 0) return { ...written, stream: write.stream, from: head + 1, to: head, feed: 0, events, atMs: write.atMs, owner }
    return { ...written, ...this.log.append(write.stream, owner, events, write.atMs) }
  }
}

const decided = (stream: SessionId, command: SessionCommand, asker: Asker = ALICE): Write => ({ kind: 'decide', stream, command, asker, atMs: 1234 })
const create = (stream: SessionId) => decided(stream, { type: 'CreateSession', title: 't', agent: 'coder' })
const send = (stream: SessionId) =>
  decided(stream, {
    type: 'SendMessage',
    messageId: messageId('m'),
    newRunId: R1,
    driver: 1,
    message: { role: 'user', content: 'hi' },
    options: {},
    whenBusy: 'reject',
  })
const deltas = (stream: SessionId, fence = 1): RecordWrite => ({
  kind: 'record',
  stream,
  runId: R1,
  fence,
  events: ['a', 'b'].map((delta) => ({ type: 'TextDelta', runId: R1, delta })),
  atMs: 1235,
})

function setUp() {
  const hand = new HandStore()
  const hub = new Hub()
  const committer = new Committer(hand.store, hub)
  const heard: string[] = []
  const name = (who: string) => (batch: Batch) => void heard.push(`${who} ${batch.stream} ${batch.from}-${batch.to}`)
  return { hand, hub, committer, heard, name }
}

describe('a commit', () => {
  test('is published only when it stands in the log, and answered only when it was published (P2)', async () => {
    const { hand, hub, committer, heard, name } = setUp()
    const open = hand.hold()
    const headsSeen: Promise<number | undefined>[] = []
    hub.subscribe(S1, name('reader'))
    committer.watch(name('watcher'))
    committer.watch(() => headsSeen.push(hand.log.head(S1)))
    const committed = committer.commit([create(S1)]).then(() => heard.push('answered'))
    await new Promise((resolve) => setImmediate(resolve))
    expect(heard).toEqual([])
    open()
    await committed
    expect(heard).toEqual(['reader s1 1-1', 'watcher s1 1-1', 'answered'])
    expect(await Promise.all(headsSeen)).toEqual([1])
  })

  test('hands on what was written: where it stands, when, whose it is', async () => {
    const { hub, committer } = setUp()
    const batches: Batch[] = []
    committer.watch((batch) => batches.push(batch))
    const seen: LiveBatch[] = []
    hub.subscribe(S1, (batch) => seen.push(batch))
    const outcomes = await committer.commit([create(S1), send(S1)])
    expect(outcomes).toMatchObject([
      { kind: 'appended', from: 1, to: 1 },
      { kind: 'appended', from: 2, to: 3 },
    ])
    expect(batches).toEqual([
      { stream: 's1', owner: 'alice', from: 1, to: 1, feed: 1, atMs: 1234, events: [{ type: 'SessionCreated', owner: 'alice', title: 't', agent: 'coder' }] },
      { stream: 's1', owner: 'alice', from: 2, to: 3, feed: 2, atMs: 1234, events: batches[1]?.events },
    ])
    expect(batches[1]?.events.map((event) => event.type)).toEqual(['RunStarted', 'MessageAdded'])
    expect(seen.map(({ encoded: _encoded, ...batch }) => batch)).toEqual(batches)
  })

  test('publishes each write in its order, to the readers of its stream and of its owner, then to those who watch', async () => {
    const { hub, committer, heard, name } = setUp()
    hub.subscribe(S2, name('reader of s2'))
    hub.subscribeOwner(ALICE.user, name('reader of all'))
    committer.watch(name('watcher'))
    await committer.commit([create(S1), create(S2), send(S1)])
    expect(heard).toEqual([
      'reader of all s1 1-1',
      'watcher s1 1-1',
      'reader of s2 s2 1-1',
      'reader of all s2 1-1',
      'watcher s2 1-1',
      'reader of all s1 2-3',
      'watcher s1 2-3',
    ])
  })

  test('is published after the one before it, also when both were asked for at once', async () => {
    const { hand, committer, heard, name } = setUp()
    committer.watch(name('watcher'))
    const open = hand.hold()
    const all = [committer.commit([create(S1)]), committer.commit([send(S1)]), committer.commit([deltas(S1)])]
    open()
    await Promise.all(all)
    expect(heard).toEqual(['watcher s1 1-1', 'watcher s1 2-3', 'watcher s1 4-5'])
  })

  test('of a session that changes hands is the new owner’s to see', async () => {
    const { hub, committer, heard, name } = setUp()
    await committer.commit([create(S1)])
    hub.subscribeOwner(ALICE.user, name('alice'))
    hub.subscribeOwner(userId('bob'), name('bob'))
    await committer.commit([decided(S1, { type: 'AssignSession', to: userId('bob') }, 'driver')])
    expect(heard).toEqual(['bob s1 2-2'])
  })
})

describe('nothing is published', () => {
  test('of a write that was refused, fenced, or changed nothing; its neighbours are', async () => {
    const { committer, heard, name } = setUp()
    committer.watch(name('watcher'))
    const outcomes = await committer.commit([
      send(S2),
      create(S1),
      send(S1),
      deltas(S1, 9),
      decided(S1, { type: 'ForceCancel', runId: R1 }, 'driver'),
      deltas(S1),
    ])
    expect(outcomes.map(({ kind }) => kind)).toEqual(['refused', 'appended', 'appended', 'fenced', 'appended', 'appended'])
    expect(heard).toEqual(['watcher s1 1-1', 'watcher s1 2-3', 'watcher s1 4-5'])
  })

  test('of a repeat, even if an engine hands its events back', async () => {
    const { hand, hub, committer, heard, name } = setUp()
    const [first] = await committer.commit([create(S1)])
    if (first?.kind !== 'appended') throw new Error('the session was not created')
    hub.subscribe(S1, name('reader'))
    committer.watch(name('watcher'))
    hand.scripted = [{ ...first, replayed: true }]
    expect(await committer.commit([create(S1)])).toMatchObject([{ replayed: true }])
    expect(heard).toEqual([])
  })

  test('of a commit that failed: the error is the store’s, readers are told to look, and the next commit is published as ever', async () => {
    const { hand, hub, committer, heard, name } = setUp()
    let doubts = 0
    hub.onDoubt(() => doubts++)
    committer.watch(name('watcher'))
    const failure = new ConvokeError('store_unknown', 'the disk is gone')
    hand.failure = failure
    expect(doubts).toBe(0)
    await expect(committer.commit([create(S1)])).rejects.toBe(failure)
    expect([heard, doubts]).toEqual([[], 1])
    hand.failure = undefined
    await committer.commit([create(S1)])
    expect(heard).toEqual(['watcher s1 1-1'])
  })
})

describe('who watches', () => {
  test('hears every commit until the watching ends', async () => {
    const { committer, heard, name } = setUp()
    const stop = committer.watch(name('first'))
    committer.watch(name('second'))
    await committer.commit([create(S1)])
    stop()
    stop()
    await committer.commit([create(S2)])
    expect(heard).toEqual(['first s1 1-1', 'second s1 1-1', 'second s2 1-1'])
  })

  test('may stop while it is told, and takes no one’s place', async () => {
    const { committer, heard, name } = setUp()
    const stop = committer.watch((batch) => {
      name('once')(batch)
      stop()
    })
    committer.watch(name('always'))
    await committer.commit([create(S1), create(S2)])
    expect(heard).toEqual(['once s1 1-1', 'always s1 1-1', 'always s2 1-1'])
  })
})
