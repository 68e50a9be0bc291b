/** What the engine does with its files: odd folders, the write-ahead log, damage, and what it keeps in memory. */
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, truncateSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import type { Store } from '../../log/store.ts'
import { runId, sessionId } from '../../domain/ids.ts'
import { systemRandom } from '../../system/random.ts'
import { create, deltas, finish, freshId, send } from '../../testing/writes.ts'
import { HOT_STREAMS_MAX, HotStreams, type HotStream } from './hot.ts'
import { openSqliteStore } from './store.ts'
import { Writer } from './writer.ts'

let root: string
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'convoke-files-'))
  onTestFinished(() => rmSync(root, { recursive: true, force: true }))
})

const open = (folder: string, worker = false) => openSqliteStore({ folder, random: systemRandom, worker })

/** A session whose run has started. */
async function running(store: Store): Promise<{ stream: ReturnType<typeof sessionId>; run: string }> {
  const stream = sessionId(freshId())
  const run = freshId()
  await store.commit([create(stream), send(stream, run)])
  return { stream, run }
}

describe('a data folder', () => {
  test.each(['with space', 'ümläut 漢字 🦉', 'a#b?c=d&e%20f', `it's "quoted"`, 'file:memory', ':memory:', 'semi;colon', 'line\nbreak', '-dash'])(
    'may be called %j',
    async (name) => {
      const folder = join(root, name)
      const store = await open(folder, true)
      const { stream } = await running(store)
      await store.close()
      const again = await open(folder)
      expect(await again.head(stream)).toBe(3)
      await again.close()
      expect(readdirSync(root)).toEqual([name])
      expect(existsSync(join(folder, 'convoke.db'))).toBe(true)
    },
  )

  test('is made for its user alone, with every folder above it', async () => {
    const folder = join(root, 'a/b/c')
    await (await open(folder)).close()
    expect(statSync(folder).mode & 0o777).toBe(0o700)
  })

  test('that is there already keeps its mode', async () => {
    const folder = join(root, 'shared')
    mkdirSync(folder, { mode: 0o755 })
    await (await open(folder)).close()
    expect(statSync(folder).mode & 0o777).toBe(0o755)
  })

  test('holds only the database once it is closed', async () => {
    const store = await open(root)
    await running(store)
    expect(readdirSync(root)).toContain('convoke.db-wal')
    await store.close()
    expect(readdirSync(root).toSorted()).toEqual(['convoke.db', 'convoke.driver', 'convoke.lock'])
  })
})

describe('the write-ahead log', () => {
  const MIB = 1024 * 1024

  test('stays bounded while much more than its bound is written, and everything is there', async () => {
    const store = await open(root)
    const { stream, run } = await running(store)
    const events = Array.from({ length: 4 }, () => ({ type: 'TextDelta', runId: runId(run), delta: 'x'.repeat(MIB / 4) }) as const)
    let largest = 0
    for (let round = 0; round < 40; round++) {
      const [outcome] = await store.commit([{ kind: 'record', stream, runId: runId(run), fence: 1, events, atMs: 1000 }])
      expect(outcome).toMatchObject({ kind: 'appended' })
      largest = Math.max(largest, statSync(join(root, 'convoke.db-wal')).size)
    }
    expect(largest).toBeGreaterThan(16 * MIB)
    expect(largest).toBeLessThan(24 * MIB)
    expect(await store.head(stream)).toBe(3 + 160)
    await store.close()
  })

  test('that a killed process left is read by the next one', async () => {
    const file = join(root, 'convoke.db')
    const writer = new Writer({ file, newLogId: freshId(), shared: false })
    const stream = sessionId(freshId())
    writer.commit([create(stream)])
    // Neither closed nor copied back: what the disk holds now is what a kill leaves.
    const left = join(root, 'left')
    mkdirSync(left)
    for (const name of ['convoke.db', 'convoke.db-wal']) cpSync(join(root, name), join(left, name))
    writer.close()
    const store = await open(left)
    expect(await store.head(stream)).toBe(1)
    expect(store.driver).toBe(2)
    await store.close()
  })

  test('that was cut off loses whole commits from its end, never a part of one', async () => {
    const file = join(root, 'convoke.db')
    const writer = new Writer({ file, newLogId: freshId(), shared: false })
    const stream = sessionId(freshId())
    const run = freshId()
    const sizes: number[] = []
    for (const writes of [[create(stream)], [send(stream, run)], [deltas(stream, run, 1, 3)], [deltas(stream, run, 1, 2)]]) {
      writer.commit(writes)
      sizes.push(statSync(`${file}-wal`).size)
    }
    const heads = [1, 3, 6, 8]
    for (const [index, size] of sizes.entries()) {
      for (const cut of [size, size - 1, size - 2000]) {
        const left = join(root, `left-${index}-${cut}`)
        mkdirSync(left)
        for (const name of ['convoke.db', 'convoke.db-wal']) cpSync(join(root, name), join(left, name))
        truncateSync(join(left, 'convoke.db-wal'), cut)
        const store = await open(left)
        const head = await store.head(stream)
        expect(head, `cut at ${cut}`).toBe(cut === size ? heads[index] : heads[index - 1])
        if (head !== undefined)
          expect((await store.read(stream, 0, 100))?.events.map(({ position }) => position)).toEqual(Array.from({ length: head }, (_, at) => at + 1))
        await store.close()
      }
    }
    writer.close()
  })
})

describe('damage in the log', () => {
  /** A session of four batches, at 1, 2-3, 4-5 and 6, of which the ones at `firsts` are damaged. */
  async function damaged(...firsts: readonly number[]) {
    const store = await open(root)
    const { stream, run } = await running(store)
    await store.commit([deltas(stream, run, 1, 2)])
    await store.commit([deltas(stream, run, 1, 1)])
    const db = new DatabaseSync(join(root, 'convoke.db'))
    for (const first of firsts) db.prepare('UPDATE batch SET body = ? WHERE first = ?').run('[{"type":', first)
    db.close()
    return { store, stream, run }
  }

  test.each([1, 2, 4, 6])('at %i leaves every other event, every page and the feed readable', async (first) => {
    const { store, stream } = await damaged(first)
    const types = ['SessionCreated', 'RunStarted', 'MessageAdded', 'TextDelta', 'TextDelta', 'TextDelta']
    const places = new Map([
      [1, [1]],
      [2, [2, 3]],
      [4, [4, 5]],
      [6, [6]],
    ]).get(first)
    const expected = types.map((type, index) => (places?.includes(index + 1) === true ? 'Unknown' : type))
    for (let after = 0; after < 6; after++) {
      const page = await store.read(stream, after, 1)
      expect(page?.events.map(({ position, event }) => [position, event.type])).toEqual([[after + 1, expected[after]]])
    }
    const { batches } = await store.readFeed('alice' as Parameters<Store['readFeed']>[0], 0, 100)
    expect(batches.flatMap(({ events }) => events.map(({ type }) => type))).toEqual(expected)
    await store.close()
  })

  test('does not keep the session from being written, nor the folder from being opened again', async () => {
    const { store, stream, run } = await damaged(1, 2, 4, 6)
    expect(await store.commit([deltas(stream, run, 1, 1)])).toMatchObject([{ kind: 'appended', from: 7, to: 7 }])
    await store.close()
    const again = await open(root)
    expect(await again.commit([deltas(stream, run, 1, 1)])).toMatchObject([{ kind: 'appended', from: 8, to: 8 }])
    await again.close()
  })
})

describe('the streams that the writer keeps in memory', () => {
  const stream = (key: number): HotStream => ({
    key,
    head: 0,
    base: 0,
    places: '',
    placeCount: 0,
    state: undefined,
    summary: undefined,
    stored: { state: undefined, summary: undefined, head: 0 },
  })

  test('are the ones that were used last, up to a bound', () => {
    const hot = new HotStreams()
    for (let key = 0; key < HOT_STREAMS_MAX; key++) hot.set(String(key), stream(key))
    hot.trim()
    expect(hot.get('0')?.key).toBe(0)
    hot.set('one more', stream(-1))
    hot.set('and another', stream(-2))
    hot.trim()
    expect([hot.get('0')?.key, hot.get('1'), hot.get('2'), hot.get('3')?.key]).toEqual([0, undefined, undefined, 3])
  })

  test('are forgotten all at once', () => {
    const hot = new HotStreams()
    hot.set('a', stream(1))
    hot.clear()
    expect(hot.get('a')).toBeUndefined()
  })

  test('make no difference: a stream that was dropped is read anew', async () => {
    const store = await open(root)
    const { stream: first, run } = await running(store)
    const others = Array.from({ length: HOT_STREAMS_MAX }, () => create(sessionId(freshId())))
    await store.commit(others.slice(0, HOT_STREAMS_MAX - 1))
    await store.commit([...others.slice(HOT_STREAMS_MAX - 1), create(sessionId(freshId()))])
    expect(await store.commit([deltas(first, run, 1, 2)])).toMatchObject([{ kind: 'appended', from: 4, to: 5 }])
    expect(await store.state(first)).toMatchObject({ owner: 'alice', fence: 1 })
    await store.close()
  })
})

describe('a writer in a thread of its own', () => {
  test('finishes what was accepted before it closes', async () => {
    const store = await open(root, true)
    const { stream, run } = await running(store)
    const accepted = Array.from({ length: 20 }, () => store.commit([deltas(stream, run, 1, 5)]))
    await store.close()
    expect((await Promise.all(accepted)).flat().every(({ kind }) => kind === 'appended')).toBe(true)
    const again = await open(root)
    expect(await again.head(stream)).toBe(103)
    await again.close()
  })

  test('refuses what comes after a close', async () => {
    const store = await open(root, true)
    await store.close()
    await expect(store.commit([create(sessionId(freshId()))])).rejects.toMatchObject({ code: 'store_failed' })
  })
})

test('a file becomes smaller when much of it is free, in steps, between commits', async () => {
  const folder = join(root, 'full')
  const store = await open(folder)
  const { stream, run } = await running(store)
  for (let count = 0; count < 80; count++) await store.commit(Array.from({ length: 100 }, () => deltas(stream, run, 1, 50)))
  await store.commit([finish(stream, run, 1), { kind: 'erase', stream, asker: 'driver', atMs: 1 }])
  while (await store.sweep());
  const size = () => statSync(join(folder, 'convoke.db')).size
  const before = size()
  let steps = 0
  while (await store.release()) {
    expect((await store.commit([create(sessionId(freshId()))]))[0]?.kind).toBe('appended')
    steps++
  }
  await store.close()
  expect([before > 3_000_000, size() < before / 4, steps > 1]).toEqual([true, true, true])
})

test('an erasure does not wait for whoever reads the log for long', async () => {
  const folder = join(root, 'read')
  const store = await open(folder)
  const { stream, run } = await running(store)
  await store.commit([finish(stream, run, 1)])
  const reader = new DatabaseSync(join(folder, 'convoke.db'), { readOnly: true })
  reader.exec('BEGIN')
  expect(reader.prepare('SELECT count(*) AS n FROM stream').get()).toEqual({ n: 1 })
  await store.commit([{ kind: 'erase', stream, asker: 'driver', atMs: 1 }])
  const began = performance.now()
  while (await store.sweep());
  expect(performance.now() - began).toBeLessThan(2500)
  expect(reader.prepare('SELECT count(*) AS n FROM stream').get()).toEqual({ n: 1 })
  reader.close()
  await store.close()
})
