import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterEach, describe, expect, test } from 'vitest'
import { sessionId } from '../../domain/ids.ts'
import { systemRandom } from '../../system/random.ts'
import { sharedSuite } from '../../testing/shared-suite.ts'
import type { OpenedStore } from '../../testing/store-kit.ts'
import { storeSuite } from '../../testing/store-suite.ts'
import { create, deltas, freshId, send } from '../../testing/writes.ts'
import { openSqliteStore } from './store.ts'

async function open(folder: string, worker: boolean): Promise<OpenedStore> {
  const store = await openSqliteStore({ folder, random: systemRandom, worker })
  return {
    store,
    async reopen() {
      await store.close()
      return open(folder, worker)
    },
    async destroy() {
      await store.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

const newFolder = () => mkdtempSync(join(tmpdir(), 'convoke-store-'))

storeSuite('the SQLite engine on one thread', () => open(newFolder(), false))
storeSuite('the SQLite engine with its writer in a worker', () => open(newFolder(), true))

sharedSuite('the SQLite engine', async () => {
  const folder = newFolder()
  const one = await openSqliteStore({ folder, random: systemRandom, shared: true })
  const two = await openSqliteStore({ folder, random: systemRandom, shared: true })
  return {
    one,
    two,
    async destroy() {
      await one.close()
      await two.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
})

describe('the SQLite engine', () => {
  let opened: OpenedStore | undefined
  afterEach(async () => {
    await opened?.destroy()
    opened = undefined
  })

  test('a folder that is open is refused, naming the folder and the process', async () => {
    const folder = newFolder()
    opened = await open(folder, false)
    await expect(openSqliteStore({ folder, random: systemRandom })).rejects.toMatchObject({
      code: 'store_locked',
      message: expect.stringContaining(`${folder} is in use by process ${process.pid}`),
    })
  })

  test('a folder that a newer version wrote is refused, and left as it is', async () => {
    const folder = newFolder()
    await (await open(folder, false)).store.close()
    const db = new DatabaseSync(join(folder, 'convoke.db'))
    db.exec('PRAGMA user_version = 99')
    db.close()
    await expect(openSqliteStore({ folder, random: systemRandom })).rejects.toMatchObject({ code: 'store_newer' })
    rmSync(folder, { recursive: true })
  })

  test('a damaged batch reads as placeholders in its places; its neighbours read as ever', async () => {
    const folder = newFolder()
    opened = await open(folder, false)
    const s = sessionId(freshId())
    const run = freshId()
    await opened.store.commit([create(s), send(s, run)])
    await opened.store.commit([deltas(s, run, 1, 2)])
    await opened.store.commit([deltas(s, run, 1, 1)])
    const db = new DatabaseSync(join(folder, 'convoke.db'))
    db.exec("UPDATE batch SET body = '{\"broken' WHERE first = 4")
    db.close()
    const page = await opened.store.read(s, 0, 100)
    expect(page?.events.map(({ event }) => event.type)).toEqual(['SessionCreated', 'RunStarted', 'MessageAdded', 'Unknown', 'Unknown', 'TextDelta'])
  })

  test('a write that the disk refuses is unknown, changes nothing, and the next one goes on', async () => {
    const folder = newFolder()
    opened = await open(folder, false)
    const s = sessionId(freshId())
    await opened.store.commit([create(s)])
    const db = new DatabaseSync(join(folder, 'convoke.db'))
    db.exec("CREATE TRIGGER refuse BEFORE INSERT ON batch BEGIN SELECT raise(ABORT, 'disk'); END")
    await expect(opened.store.commit([send(s, freshId())])).rejects.toMatchObject({ code: 'store_unknown' })
    db.exec('DROP TRIGGER refuse')
    db.close()
    expect(await opened.store.head(s)).toBe(1)
    const [outcome] = await opened.store.commit([send(s, freshId())])
    expect(outcome).toMatchObject({ kind: 'appended', from: 2, to: 3 })
  })
})
