/** A log whose disk fails under it: it says so once, writes nothing more, and can be closed. */
import { closeSync, mkdtempSync, openSync, rmSync, statSync, writeSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { expect, onTestFinished, test } from 'vitest'
import type { ConvokeError } from '../../domain/errors.ts'
import { sessionId } from '../../domain/ids.ts'
import { systemRandom } from '../../system/random.ts'
import { ALICE, create, freshId } from '../../testing/writes.ts'
import { openSqliteStore } from './store.ts'
import { Writer } from './writer.ts'

const PAGE = 4096

/** Overwrites every page but the first, which holds the schema. */
function damage(file: string): void {
  const handle = openSync(file, 'r+')
  const { size } = statSync(file)
  for (let at = PAGE; at < size; at += PAGE) writeSync(handle, Buffer.alloc(PAGE, 0xee), 0, PAGE, at)
  closeSync(handle)
}

test('a damaged file ends the writing, tells whoever opened the log, and lets go of the folder', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'convoke-lost-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const lost: ConvokeError[] = []
  const open = () => openSqliteStore({ folder, random: systemRandom, onLost: (error) => lost.push(error) })
  const first = await open()
  for (let count = 0; count < 50; count++) await first.commit([create(sessionId(freshId()), 'x'.repeat(500))])
  await first.close()
  const store = await open()
  damage(join(folder, 'convoke.db'))
  await expect(store.commit([create(sessionId(freshId()))])).rejects.toMatchObject({ code: 'store_failed' })
  await expect(store.commit([create(sessionId(freshId()))])).rejects.toMatchObject({ code: 'store_failed' })
  expect(lost.map(({ code }) => code)).toEqual(['store_failed'])
  await store.close().catch(() => undefined)
  // Whatever the file is like: nobody holds it any more.
  const failure: unknown = await open().then(
    (again) => again.close(),
    (error: unknown) => error,
  )
  expect((failure as { code?: string } | undefined)?.code).not.toBe('store_locked')
})

test('a log that cannot be kept durably is not opened', () => {
  // A database in memory has no write-ahead log, as some file systems have none.
  expect(() => new Writer({ file: ':memory:', newLogId: 'id', shared: false })).toThrow('the log cannot be kept durably here: journal memory')
})

test('a log that is closed in good order is not lost', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'convoke-lost-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const lost: ConvokeError[] = []
  const store = await openSqliteStore({ folder, random: systemRandom, onLost: (error) => lost.push(error) })
  await store.commit([create(sessionId(freshId()))])
  await store.close()
  await expect(store.commit([create(sessionId(freshId()))])).rejects.toMatchObject({ code: 'store_failed' })
  expect(lost).toEqual([])
})

test('a log that cannot be opened is no log that was lost: the throw says so, and nobody else is told', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'convoke-lost-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const store = await openSqliteStore({ folder, random: systemRandom })
  await store.close()
  damage(join(folder, 'convoke.db'))
  const lost: ConvokeError[] = []
  const open = () => openSqliteStore({ folder, random: systemRandom, onLost: (error) => lost.push(error) })
  await expect(open()).rejects.toMatchObject({ code: 'store_failed' })
  expect(lost).toEqual([])
})

test('what is only looked after and fails for now ends nothing: commits go on', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'convoke-lost-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const lost: ConvokeError[] = []
  const store = await openSqliteStore({ folder, random: systemRandom, onLost: (error) => lost.push(error) })
  onTestFinished(() => store.close())
  await store.commit([create(sessionId(freshId()), 'keyed', ALICE, { idempotency: { scope: 's', key: 'k', fingerprint: 'f' } })])
  const other = new DatabaseSync(join(folder, 'convoke.db'))
  // As a full disk does: the statement fails, and the log is as it was.
  other.exec("CREATE TRIGGER full BEFORE DELETE ON idempotency BEGIN SELECT RAISE(ABORT, 'no room'); END")
  await expect(store.pruneIdempotency(Number.MAX_SAFE_INTEGER)).rejects.toMatchObject({ code: 'store_unknown' })
  other.exec('DROP TRIGGER full')
  other.close()
  await store.commit([create(sessionId(freshId()))])
  expect(await store.pruneIdempotency(Number.MAX_SAFE_INTEGER)).toBe(1)
  expect(lost).toEqual([])
})
