import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, onTestFinished, test } from 'vitest'
import { systemRandom } from '../../../system/random.ts'
import { fillLog } from '../../../testing/filled-log.ts'
import { openSqliteStore } from '../store.ts'
import { checkLog } from './check.ts'
import { compact } from './compact.ts'

/** 24 h: how long a key counts. The key of the filled log was used at 1000. */
const DAY_MS = 86_400_000

const open = (folder: string) => openSqliteStore({ folder, random: systemRandom, worker: false })

/** A log with a mebibyte of nothing in it. */
async function filled(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'convoke-compact-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const store = await open(folder)
  await fillLog(store)
  await store.close()
  const db = new DatabaseSync(join(folder, 'convoke.db'))
  db.exec('CREATE TABLE gone (body BLOB) STRICT; INSERT INTO gone VALUES (zeroblob(1048576)); DROP TABLE gone')
  db.close()
  return folder
}

describe('a log that is compacted', () => {
  test('is smaller, sound, and holds what it held, under the same log id', async () => {
    const folder = await filled()
    const file = join(folder, 'convoke.db')
    const before = await open(folder)
    const logId = before.logId
    await before.close()
    const bytes = statSync(file).size
    const report = await compact(folder, 1000)
    expect(report).toEqual({ pruned: 0, bytesBefore: bytes, bytesAfter: statSync(file).size })
    expect(report.bytesBefore - report.bytesAfter).toBeGreaterThan(1_000_000)
    const findings: string[] = []
    expect(checkLog({ folder, outputs: 'outputs' }, ({ text }) => findings.push(text))).toMatchObject({ sessions: 3, events: 221, idempotency: 1 })
    expect(findings).toEqual([])
    const after = await open(folder)
    expect(after.logId).toBe(logId)
    await after.close()
  })

  test('that an older version made can give its free pages back afterwards', async () => {
    const folder = await filled()
    const mode = (sql = '') => {
      const db = new DatabaseSync(join(folder, 'convoke.db'))
      db.exec(sql)
      const { auto_vacuum: found } = db.prepare('PRAGMA auto_vacuum').get() as { auto_vacuum: number }
      db.close()
      return found
    }
    expect(mode('PRAGMA auto_vacuum = 0; VACUUM')).toBe(0)
    await compact(folder, 1000)
    expect(mode()).toBe(2)
  })

  test('forgets idempotency keys that no longer count, and no others', async () => {
    const folder = await filled()
    expect(await compact(folder, 1000 + DAY_MS)).toMatchObject({ pruned: 0 })
    expect(await compact(folder, 1001 + DAY_MS)).toMatchObject({ pruned: 1 })
  })

  test('takes in what a process that was killed left beside it', async () => {
    const folder = await filled()
    const db = new DatabaseSync(join(folder, 'convoke.db'))
    db.exec('PRAGMA wal_autocheckpoint = 0; UPDATE session_count SET n = 4')
    const [log, beside] = ['convoke.db', 'convoke.db-wal'].map((name) => readFileSync(join(folder, name)))
    db.close()
    writeFileSync(join(folder, 'convoke.db'), log ?? '')
    writeFileSync(join(folder, 'convoke.db-wal'), beside ?? '')
    writeFileSync(join(folder, 'convoke.db.compacting'), 'what an earlier try left')
    await compact(folder, 1000)
    expect(readdirSync(folder).toSorted()).toEqual(['convoke.db', 'convoke.driver', 'convoke.lock'])
    const read = new DatabaseSync(join(folder, 'convoke.db'), { readOnly: true })
    expect(read.prepare('SELECT n FROM session_count').get()).toEqual({ n: 4 })
    read.close()
  })
})

describe('a log that cannot be compacted', () => {
  test('is refused while it is open', async () => {
    const folder = await filled()
    const store = await open(folder)
    await expect(compact(folder, 0)).rejects.toMatchObject({ code: 'store_locked' })
    await store.close()
  })

  test('is left as it is when it is damaged', async () => {
    const folder = await filled()
    const file = join(folder, 'convoke.db')
    const db = new DatabaseSync(file)
    const { rootpage } = db.prepare("SELECT rootpage FROM sqlite_schema WHERE name = 'batch'").get() as { rootpage: number }
    db.close()
    const bytes = readFileSync(file)
    bytes.fill(0xff, (rootpage - 1) * 4096, rootpage * 4096)
    writeFileSync(file, bytes)
    await expect(compact(folder, 0)).rejects.toThrow('malformed')
    expect(readFileSync(file).equals(bytes)).toBe(true)
    expect(readdirSync(folder).filter((name) => name.includes('compacting'))).toEqual([])
  })

  test('is refused when acknowledged work is gone from it, and left with its traces', async () => {
    const folder = await filled()
    // A later opening stood in a write-ahead log that is gone.
    const [logId = ''] = readFileSync(join(folder, 'convoke.driver'), 'utf8').split(' ')
    writeFileSync(join(folder, 'convoke.driver'), `${logId} 99`)
    const files = readdirSync(folder)
    await expect(compact(folder, 0)).rejects.toMatchObject({ code: 'store_damaged' })
    expect(readdirSync(folder)).toEqual(files)
    await expect(compact(folder, 0)).rejects.toMatchObject({ code: 'store_damaged' })
  })

  test('is refused when there is none, or a newer one', async () => {
    await expect(compact('/nowhere', 0)).rejects.toThrow('there is no log in /nowhere')
    const folder = await filled()
    const db = new DatabaseSync(join(folder, 'convoke.db'))
    db.exec('PRAGMA user_version = 99')
    db.close()
    await expect(compact(folder, 0)).rejects.toMatchObject({ code: 'store_newer' })
  })
})
