import { describe, expect, test } from 'vitest'
import type { SessionId } from '../src/domain/ids.ts'
import type { RecordWrite } from '../src/log/store.ts'
import { runId, sessionId } from '../src/domain/ids.ts'
import { NO_USAGE } from '../src/domain/usage.ts'
import { memoryStore } from '../src/storage/memory/store.ts'
import { Hub } from '../src/stream/hub.ts'
import { manualClock } from '../src/testing/manual-clock.ts'
import { countingRandom } from '../src/testing/run-kit.ts'
import { ALICE, BOB, create, decideWrite, finish, fork, freshId, send } from '../src/testing/writes.ts'
import { Committer } from '../src/command/committer.ts'
import { createPurger } from '../src/command/purge.ts'
import { createCommandService } from '../src/command/service.ts'

function setUp() {
  const store = memoryStore(countingRandom())
  const committer = new Committer(store, new Hub())
  const clock = manualClock()
  const commands = createCommandService(committer, clock)
  const removed: string[] = []
  const disk = { fails: false, stuck: new Set<SessionId>() }
  const files = {
    count: async () => ({ workspace: 1, outputs: 2 }),
    async remove(session: SessionId, keep: ReadonlySet<string> = new Set()) {
      if (disk.fails || disk.stuck.has(session)) throw new Error('the disk is full')
      removed.push([session, ...keep].join(' '))
    },
  }
  const next = () => createPurger({ store, committer, commands, files, clock })
  return { store, committer, commands, clock, removed, disk, next, purger: next() }
}

/** A session with a run per output: each 5 events, the output at position 5 of 1 + 5 n. */
async function withOutputs(store: ReturnType<typeof memoryStore>, names: readonly string[]): Promise<SessionId> {
  const s = sessionId(freshId())
  await store.commit([create(s)])
  for (const [index, name] of names.entries()) {
    const run = freshId()
    const done = { type: 'ToolCompleted', runId: runId(run), toolCallId: 'c', toolName: 'bash', result: '', isError: false } as const
    const events: RecordWrite['events'] = [
      { ...done, outputFile: `/data/outputs/${s}/${name}` },
      { ...done, toolCallId: 'd', outputFile: `/data/outputs/other/foreign.log` },
    ]
    const record: RecordWrite = { kind: 'record', stream: s, runId: runId(run), fence: index + 1, events, atMs: 1 }
    await store.commit([send(s, run), record, finish(s, run, index + 1)])
  }
  return s
}

describe('a purge', () => {
  test('removes the log and then the files, and is done when both are gone', async () => {
    const { store, purger, removed } = setUp()
    const s = await withOutputs(store, ['a.log'])
    expect(await purger.purge(s, ALICE)).toMatchObject({ receipt: { batches: 4, messages: 3, segmentsFreed: 1, files: 3 }, replayed: false })
    expect(removed).toEqual([s])
    expect(await store.leftovers(9)).toEqual([])
  })

  test('leaves the outputs that a fork’s history names, and takes them with the fork', async () => {
    const { store, purger, removed } = setUp()
    const s = await withOutputs(store, ['a.log', 'b.log', 'c.log'])
    const [f, g] = [sessionId(freshId()), sessionId(freshId())]
    await store.commit([fork(f, s, 11), fork(g, s, 6)])
    expect((await purger.purge(s, ALICE)).receipt.files).toBe(1)
    expect(removed.splice(0)).toEqual([`${s} a.log b.log`])
    await purger.purge(f, ALICE)
    expect(removed.splice(0).toSorted()).toEqual([`${s} a.log`, f].toSorted())
    await purger.purge(g, ALICE)
    expect(removed.toSorted()).toEqual([s, g].toSorted())
  })

  test('of another’s session does not look at its files', async () => {
    const { store, purger, removed } = setUp()
    const s = await withOutputs(store, [])
    await expect(purger.purge(s, BOB)).rejects.toMatchObject({ code: 'not_found' })
    expect([removed, await store.head(s)]).toEqual([[], 1])
  })

  test('that a stop meets is finished by the next start, and holds the stop no longer than a step', async () => {
    const { store, purger, removed, next } = setUp()
    const s = await withOutputs(store, ['a.log'])
    const purged = purger.purge(s, ALICE)
    await Promise.all([purged, purger.close()])
    expect(removed).toEqual([])
    expect(await store.head(s)).toBeUndefined()
    await next().tidy()
    expect(removed).toEqual([s])
  })

  test('whose files cannot be removed now is finished later', async () => {
    const { store, purger, removed, disk } = setUp()
    const s = await withOutputs(store, ['a.log'])
    disk.fails = true
    await expect(purger.purge(s, ALICE)).rejects.toThrow('the disk is full')
    expect([await store.head(s), removed]).toEqual([undefined, []])
    disk.fails = false
    await purger.tidy()
    expect([removed, await store.leftovers(9)]).toEqual([[s], []])
  })

  test('is done when its own files are gone, whatever becomes of another’s', async () => {
    const { store, purger, removed, disk } = setUp()
    const stuck = await Promise.all(Array.from({ length: 70 }, () => withOutputs(store, ['a.log'])))
    disk.stuck = new Set(stuck)
    for (const s of stuck) await expect(purger.purge(s, ALICE)).rejects.toThrow('the disk is full')
    const s = await withOutputs(store, ['b.log'])
    await purger.purge(s, ALICE)
    expect(removed).toEqual([s])
    await expect(purger.tidy()).rejects.toThrow('the disk is full')
    disk.stuck = new Set()
    await purger.tidy()
    expect([removed.length, await store.leftovers(99)]).toEqual([71, []])
  })

  test('ends a run that waits for nobody at once, and one in a step when its driver has let it go', async () => {
    const { store, committer, purger } = setUp()
    const [idle, busy] = [sessionId(freshId()), sessionId(freshId())]
    const run = freshId()
    await store.commit([create(idle), send(idle, freshId()), create(busy), send(busy, run)])
    expect((await purger.purge(idle, ALICE)).receipt).toMatchObject({ messages: 1 })
    const step = { type: 'TurnStarted', runId: runId(run), turn: 1, attempt: 1, model: 'm' } as const
    await committer.commit([{ kind: 'record', stream: busy, runId: runId(run), fence: 1, events: [step], atMs: 1 }])
    const outcome = { kind: 'completed', stopReason: 'cancelled' } as const
    const end = { type: 'FinishRun', runId: runId(run), fence: 1, closing: [], outcome, totalTurns: 1, totalUsage: NO_USAGE } as const
    const unwatch = committer.watch(({ events }) => {
      if (events.some(({ type }) => type === 'CancelRequested')) void committer.commit([decideWrite(busy, end, 'driver')])
    })
    await purger.purge(busy, ALICE)
    unwatch()
    expect(await store.state(busy)).toBeUndefined()
  })

  test('of a run whose driver is silent ends it over its head', async () => {
    const { store, clock, purger } = setUp()
    const s = sessionId(freshId())
    const run = freshId()
    await store.commit([create(s), send(s, run)])
    const step = { type: 'TurnStarted', runId: runId(run), turn: 1, attempt: 1, model: 'm' } as const
    await store.commit([{ kind: 'record', stream: s, runId: runId(run), fence: 1, events: [step], atMs: 1 }])
    const purged = purger.purge(s, ALICE)
    await expect.poll(() => clock.pending).toBe(1)
    clock.advance(149)
    expect((await store.state(s))?.run?.cancelling).toBe(true)
    clock.advance(1)
    await purged
    expect([await store.state(s), clock.pending]).toEqual([undefined, 0])
  })

  test('many at once do not do the same twice', async () => {
    const { store, purger, removed } = setUp()
    const sessions = await Promise.all(Array.from({ length: 100 }, () => withOutputs(store, [])))
    await Promise.all(sessions.map((s) => purger.purge(s, ALICE)))
    expect(removed.toSorted()).toEqual(sessions.toSorted())
  })
})

test('a fork that is asked for again with its key is answered as before, also when its origin is gone', async () => {
  const { store, commands, purger } = setUp()
  const s = await withOutputs(store, ['a.log'])
  const [f, again] = [sessionId(freshId()), sessionId(freshId())]
  const key = { scope: 'alice POST fork', key: 'k', fingerprint: 'f' }
  const command = { type: 'ForkSession', origin: s, at: 6 } as const
  const first = await commands.fork(f, command, ALICE, key)
  await purger.purge(s, ALICE)
  expect(await commands.fork(again, command, ALICE, key)).toEqual({ ...first, replayed: true })
  await expect(commands.fork(again, command, ALICE, { ...key, key: 'another' })).rejects.toMatchObject({ code: 'not_found' })
  await expect(commands.fork(again, command, BOB)).rejects.toMatchObject({ code: 'not_found' })
})
