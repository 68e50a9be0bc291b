/** What a disk or a hand has taken from a log is said at the start, and never passed over. */
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import type { ConvokeError } from '../../domain/errors.ts'
import { sessionId, type SessionId } from '../../domain/ids.ts'
import { systemRandom } from '../../system/random.ts'
import { create, freshId } from '../../testing/writes.ts'
import { openSqliteStore } from './store.ts'
import { lookAtWal } from './wal.ts'

const HEAD = 32
const FRAME = 24 + 4096
const COMMITS = 12

let base: string
let killed: string
let ids: SessionId[]
let ends: number[]
let folder: string

/** A folder as a killed server leaves it: the first commits stand in the database, the others in the write-ahead log. */
beforeAll(async () => {
  base = mkdtempSync(join(tmpdir(), 'convoke-damage-'))
  const data = join(base, 'data')
  killed = join(base, 'killed')
  ids = Array.from({ length: COMMITS }, () => sessionId(freshId()))
  const open = () => openSqliteStore({ folder: data, random: systemRandom, worker: false })
  const before = await open()
  for (const id of ids.slice(0, 4)) await before.commit([create(id)])
  await before.close()
  cpSync(join(data, 'convoke.db'), join(base, 'closed.db'))
  const store = await open()
  ends = []
  for (const id of ids.slice(4)) {
    await store.commit([create(id)])
    ends.push(statSync(join(data, 'convoke.db-wal')).size)
  }
  cpSync(data, killed, { recursive: true })
  await store.close()
})
afterAll(() => rmSync(base, { recursive: true, force: true }))
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'convoke-damage-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  cpSync(killed, folder, { recursive: true })
})

const at = (name: string) => join(folder, name)
const flip = (name: string, offset: number) => {
  const bytes = readFileSync(at(name))
  bytes[offset] = (bytes[offset] ?? 0) ^ 0x10
  writeFileSync(at(name), bytes)
}

/** Which of the sessions are there; or the error. */
async function found(): Promise<readonly boolean[] | ConvokeError> {
  try {
    const store = await openSqliteStore({ folder, random: systemRandom, worker: false })
    try {
      return await Promise.all(ids.map(async (id) => (await store.head(id)) === 1))
    } finally {
      await store.close()
    }
  } catch (error) {
    return error as ConvokeError
  }
}
const firstOnes = (count: number) => ids.map((_, index) => index < count)
const DAMAGED = { code: 'store_damaged' }

test('a folder that a killed server left has all that was acknowledged', async () => {
  expect(lookAtWal(at('convoke.db-wal'), at('convoke.db-shm'))).toMatchObject({ soundBytes: ends.at(-1), headless: false, transactionsBehind: 0 })
  expect(await found()).toEqual(firstOnes(COMMITS))
})

describe.each([true, false])('with the index of the process that died: %s', (withIndex) => {
  beforeEach(() => {
    if (!withIndex) rmSync(at('convoke.db-shm'))
  })

  test('a write-ahead log that is damaged in its middle is refused, and left as it is', async () => {
    for (const offset of [HEAD + 3, HEAD + 5, HEAD + 9, HEAD + 20, HEAD + 500, ends[3] as number, (ends[3] as number) + 2000]) {
      cpSync(killed, folder, { recursive: true })
      if (!withIndex) rmSync(at('convoke.db-shm'), { force: true })
      flip('convoke.db-wal', offset)
      const bytes = readFileSync(at('convoke.db-wal'))
      expect(await found(), `byte ${offset}`).toMatchObject(DAMAGED)
      expect(readFileSync(at('convoke.db-wal')).equals(bytes)).toBe(true)
    }
  })

  test.each([0, 5, 8, 17, 25, 31])('a head that is damaged at byte %i is refused', async (offset) => {
    flip('convoke.db-wal', offset)
    expect(await found()).toMatchObject(DAMAGED)
  })

  test('what is told to be done lets the log be opened, with all that stood before', async () => {
    flip('convoke.db-wal', (ends[3] as number) + 2000)
    const { message } = (await found()) as ConvokeError
    const bytes = Number(/cut \S+ to (\d+) bytes and remove \S+-shm to go on/.exec(message)?.[1])
    expect(bytes).toBe(ends[3])
    truncateSync(at('convoke.db-wal'), bytes)
    rmSync(at('convoke.db-shm'), { force: true })
    expect(await found()).toEqual(firstOnes(8))
  })
})

test('a write-ahead log that was cut off is refused by the index of the process that died', async () => {
  for (const size of [ends[2] as number, (ends[6] as number) + 100, HEAD + 10, HEAD + 1]) {
    cpSync(killed, folder, { recursive: true })
    truncateSync(at('convoke.db-wal'), size)
    expect(await found(), `${size} bytes`).toMatchObject(DAMAGED)
  }
})

test('a last transaction that a power cut tore is dropped: nobody was told of it', async () => {
  rmSync(at('convoke.db-shm'))
  truncateSync(at('convoke.db-wal'), (ends[7] as number) - FRAME - 7)
  expect(await found()).toEqual(firstOnes(COMMITS - 1))
  cpSync(killed, folder, { recursive: true })
  rmSync(at('convoke.db-shm'))
  flip('convoke.db-wal', (ends[6] as number) + 100)
  expect(await found()).toEqual(firstOnes(COMMITS - 1))
})

test('what two power cuts tore, one before the end of the other, is dropped: a log without a fault is never refused', async () => {
  /** Leaves a transaction of which the first page is lost and the end is on the disk, as a disk that writes in its own order does. */
  const powerCut = (bytes: number) => {
    const db = new DatabaseSync(at('convoke.db'))
    db.exec('PRAGMA wal_autocheckpoint = 0; PRAGMA journal_mode = WAL; CREATE TABLE IF NOT EXISTS other (body)')
    const before = lookAtWal(at('convoke.db-wal'), at('none'))?.soundBytes ?? HEAD
    db.exec(`INSERT INTO other VALUES (zeroblob(${bytes}))`)
    const wal = readFileSync(at('convoke.db-wal'))
    cpSync(at('convoke.db'), at('kept'))
    db.close()
    cpSync(at('kept'), at('convoke.db'))
    rmSync(at('convoke.db-shm'), { force: true })
    writeFileSync(at('convoke.db-wal'), wal.fill(0, before, before + FRAME))
  }
  powerCut(100_000)
  powerCut(20_000)
  expect(lookAtWal(at('convoke.db-wal'), at('convoke.db-shm'))).toMatchObject({ transactionsBehind: 0 })
  expect(await found()).toEqual(firstOnes(COMMITS))
})

test('an index of another log, a torn one or a short one says nothing', async () => {
  for (const spoil of [() => flip('convoke.db-shm', 16), () => flip('convoke.db-shm', 33), () => truncateSync(at('convoke.db-shm'), 40)]) {
    cpSync(killed, folder, { recursive: true })
    spoil()
    truncateSync(at('convoke.db-wal'), ends[2] as number)
    expect(await found()).toEqual(firstOnes(7))
  }
})

test('frames of an older write-ahead log behind the end are none of this one', async () => {
  const wal = readFileSync(at('convoke.db-wal'))
  const old = Buffer.from(wal.subarray(HEAD))
  for (let from = 0; from < old.length; from += FRAME) old.writeUInt32BE(7, from + 8)
  writeFileSync(at('convoke.db-wal'), Buffer.concat([wal, old]))
  expect(await found()).toEqual(firstOnes(COMMITS))
})

test.each(['missing', 'empty'])('a database that is %s beside its write-ahead log is refused', async (how) => {
  if (how === 'missing') rmSync(at('convoke.db'))
  else truncateSync(at('convoke.db'), 0)
  expect(await found()).toMatchObject(DAMAGED)
  expect(statSync(at('convoke.db-wal')).size).toBe(ends.at(-1))
})

test('something else in place of the database, beside its write-ahead log, is refused', async () => {
  writeFileSync(at('convoke.db'), 'garbage '.repeat(5000))
  expect(await found()).toMatchObject(DAMAGED)
  expect(readFileSync(at('convoke.db'), 'utf8')).toBe('garbage '.repeat(5000))
})

describe('without its write-ahead log', () => {
  test.each(['missing', 'empty'])('a database that is %s, where a server has had one, is refused, and begun anew when its owner says so', async (how) => {
    for (const end of ['', '-wal', '-shm']) rmSync(at(`convoke.db${end}`))
    if (how === 'empty') writeFileSync(at('convoke.db'), '')
    const refusal = await found()
    expect(refusal).toMatchObject(DAMAGED)
    const [, mark = ''] = / or remove (\S+) to begin a new log$/.exec((refusal as ConvokeError).message) ?? []
    rmSync(mark)
    expect(await found()).toEqual(firstOnes(0))
  })

  test('a database that a killed server left is refused, and opened when its owner says so', async () => {
    rmSync(at('convoke.db-wal'))
    const refusal = await found()
    expect(refusal).toMatchObject(DAMAGED)
    const [, mark = ''] = / or remove (\S+) to go on without what is gone$/.exec((refusal as ConvokeError).message) ?? []
    rmSync(mark)
    expect(await found()).toEqual(firstOnes(4))
  })

  test('an older copy of the database is refused, with its own write-ahead log too', async () => {
    for (const end of ['', '-wal', '-shm']) rmSync(at(`convoke.db${end}`))
    cpSync(join(base, 'closed.db'), at('convoke.db'))
    expect(await found()).toMatchObject(DAMAGED)
  })

  test('a database that was closed in good order is opened, and so is one that was closed without a word', async () => {
    expect(await found()).toEqual(firstOnes(COMMITS))
    expect(existsSync(at('convoke.db-wal'))).toBe(false)
    // SQLite itself copies back and removes the write-ahead log when a process ends in any way but by a kill.
    cpSync(killed, folder, { recursive: true })
    const db = new DatabaseSync(at('convoke.db'))
    db.exec('BEGIN IMMEDIATE; COMMIT')
    db.close()
    expect(existsSync(at('convoke.db-wal'))).toBe(false)
    expect(await found()).toEqual(firstOnes(COMMITS))
  })

  test.each(['another id 9999', '', 'x', '9'])('a mark that says %j is of another log, or of none', async (text) => {
    rmSync(at('convoke.db-wal'))
    writeFileSync(at('convoke.driver'), text)
    expect(await found()).toEqual(firstOnes(4))
  })
})

test('what the system says against opening names the folder', async () => {
  for (const end of ['', '-wal', '-shm']) rmSync(at(`convoke.db${end}`))
  writeFileSync(at('convoke.db'), 'this is no database, and long enough for its head, which has a hundred bytes of well-known shape.'.repeat(50))
  expect(await found()).toMatchObject({ code: 'store_failed', message: `the log in ${folder} cannot be opened: file is not a database` })
  const within = join(at('convoke.db'), 'below')
  await expect(openSqliteStore({ folder: within, random: systemRandom })).rejects.toMatchObject({
    code: 'store_failed',
    message: expect.stringContaining(within),
  })
})
