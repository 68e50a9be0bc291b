import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, onTestFinished, test } from 'vitest'
import type { Store } from '../../log/store.ts'
import { messageId, runId, sessionId, userId } from '../../domain/ids.ts'
import { systemRandom } from '../../system/random.ts'
import { create, deltas, freshId, send } from '../../testing/writes.ts'
import { openSqliteStore } from './store.ts'

async function opened() {
  const folder = mkdtempSync(join(tmpdir(), 'convoke-reader-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const open = () => openSqliteStore({ folder, random: systemRandom, worker: false })
  return { folder, open, store: await open() }
}

/** A run that says `count` messages of `chars` characters. */
async function loud(store: Store, count: number, chars: number) {
  const stream = sessionId(freshId())
  const run = freshId()
  await store.commit([create(stream), send(stream, run)])
  for (let index = 0; index < count; index++) {
    const message = { role: 'assistant', content: 'x'.repeat(chars) } as const
    const event = { type: 'MessageAdded', messageId: messageId(freshId()), runId: runId(run), message } as const
    await store.commit([{ kind: 'record', stream, runId: runId(run), fence: 1, events: [event], atMs: 1 }])
  }
  return { stream, run }
}

test('a page ends when it is large, and the next one goes on behind it', async () => {
  const { store } = await opened()
  const { stream } = await loud(store, 10, 100_000)
  const sizes: number[] = []
  for (let after = 0; ;) {
    const page = await store.read(stream, after, 512)
    if (page === undefined || page.events.length === 0) break
    expect(page.events[0]?.position).toBe(after + 1)
    sizes.push(page.events.length)
    after = page.events.at(-1)?.position ?? after
  }
  expect(sizes.reduce((sum, size) => sum + size)).toBe(13)
  // Three messages of 100,000 characters are more than 256 Ki.
  expect(Math.max(...sizes.slice(1))).toBe(3)
  await store.close()
})

test('a page of the feed ends when it is large, too, and loses nothing', async () => {
  const { store } = await opened()
  const { stream } = await loud(store, 10, 100_000)
  const seen: number[] = []
  let most = 0
  for (let after = 0, more = true; more;) {
    const page = await store.readFeed(userId('alice'), after, 256)
    most = Math.max(most, page.batches.length)
    seen.push(...page.batches.filter((batch) => batch.stream === stream).map(({ feed }) => feed))
    expect(page.next).toBeGreaterThan(after)
    ;({ next: after, more } = page)
  }
  expect(seen).toEqual(Array.from({ length: 12 }, (_, index) => index + 1))
  expect(most).toBe(5)
  await store.close()
})

test('a batch that is gone reads as placeholders in its places; a page has no holes (L9)', async () => {
  const { folder, open, store } = await opened()
  const stream = sessionId(freshId())
  const run = freshId()
  await store.commit([create(stream), send(stream, run)])
  for (let count = 0; count < 4; count++) await store.commit([deltas(stream, run, 1, 3)])
  await store.close()
  const db = new DatabaseSync(join(folder, 'convoke.db'))
  db.exec('DELETE FROM batch WHERE first IN (7, 13)')
  db.close()
  const again = await open()
  const page = await again.read(stream, 0, 100)
  expect(page?.events.map(({ position }) => position)).toEqual(Array.from({ length: 15 }, (_, index) => index + 1))
  expect(page?.events.filter(({ event }) => event.type === 'Unknown').map(({ position }) => position)).toEqual([7, 8, 9, 13, 14, 15])
  expect((await again.read(stream, 7, 1))?.events).toMatchObject([{ position: 8, event: { type: 'Unknown' } }])
  await again.close()
})
