import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { SessionId } from '../../../domain/ids.ts'
import type { Store } from '../../../log/store.ts'
import { sessionId } from '../../../domain/ids.ts'
import { READ_EVENTS_MAX } from '../../../log/store.ts'
import { systemRandom } from '../../../system/random.ts'
import { fillLog } from '../../../testing/filled-log.ts'
import { settle } from '../../../testing/run-kit.ts'
import { create, deltas, freshId, send } from '../../../testing/writes.ts'
import { openSqliteStore } from '../store.ts'
import { backUp } from './backup.ts'
import { checkLog } from './check.ts'
import { exportToFile } from './export-to.ts'
import { restore, type RestoreOptions } from './restore.ts'

const NEW_LOG = '01900000-0000-7000-9000-00000000ffff'
const OPTIONS: RestoreOptions = { newLogId: NEW_LOG, stamp: 'now' }

const open = (folder: string) => openSqliteStore({ folder, random: systemRandom, worker: false })
const at = (folder: string) => ({ folder, outputs: 'outputs' })

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'convoke-backup-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

function write(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
}

interface Filled {
  readonly data: string
  readonly file: string
  readonly store: Store
  readonly ids: readonly SessionId[]
}

/** An open log with output files, and the name of a backup to be. */
async function filled(): Promise<Filled> {
  const folder = newFolder()
  const data = join(folder, 'data')
  const store = await open(data)
  onTestFinished(() => store.close())
  const ids = await fillLog(store)
  write(join(data, 'outputs', ids[0], 'small.log'), 'small')
  write(join(data, 'outputs', ids[0], 'empty.log'), '')
  write(join(data, 'outputs', ids[1], 'large.log'), 'grüße '.repeat(500_000))
  write(join(data, 'workspaces', ids[0], 'notes.txt'), 'not in a backup')
  return { data, file: join(folder, 'saved.convoke'), store, ids }
}

async function wholeLog(store: Store, id: SessionId) {
  const events = []
  for (;;) {
    const page = await store.read(id, events.length, READ_EVENTS_MAX)
    events.push(...(page?.events ?? []))
    if (page === undefined || events.length >= page.head) return { events, state: await store.state(id) }
  }
}

const wholeLogs = (store: Store, ids: readonly SessionId[]) => Promise.all(ids.map((id) => wholeLog(store, id)))

function findings(folder: string): readonly string[] {
  const found: string[] = []
  checkLog(at(folder), ({ text }) => found.push(text))
  return found
}

describe('a backup', () => {
  test('of a log that is open holds all of it, in one file that only its owner reads', async () => {
    const { data, file } = await filled()
    expect(await backUp(at(data), file)).toMatchObject({ sessions: 3, events: 221, feed: 78, outputs: 3, bytes: statSync(file).size })
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(readdirSync(dirname(file)).toSorted()).toEqual(['data', 'saved.convoke'])
  })

  test('shows one moment, whatever is committed while it is made', async () => {
    const { data, file, store, ids } = await filled()
    const run = freshId()
    await store.commit([send(ids[2] as SessionId, run)])
    let isMade = false
    const making = backUp(at(data), file, { pagesPerStep: 5 }).finally(() => (isMade = true))
    let commits = 0
    for (; !isMade; commits++) {
      await store.commit([deltas(ids[2] as SessionId, run, 1, 50), create(sessionId(freshId()))])
      await settle(1)
    }
    const { sessions, events } = await making
    expect(commits).toBeGreaterThan(3)
    // Each commit brings a session and 51 events.
    expect(events).toBe(223 + 51 * (sessions - 3))
    expect(sessions).toBeLessThan(3 + commits)
    const target = join(dirname(file), 'restored')
    expect(await restore(at(target), file, OPTIONS)).toMatchObject({ sessions, events })
    expect(findings(target)).toEqual([])
  })

  test('is not written over a file that exists, unless that is asked for; the old one stays until then', async () => {
    const { data, file } = await filled()
    writeFileSync(file, 'precious')
    await expect(backUp(at(data), file)).rejects.toMatchObject({ code: 'store_failed', message: `${file} exists; --force replaces it` })
    expect(readFileSync(file, 'utf8')).toBe('precious')
    await backUp(at(data), file, { force: true })
    expect(readFileSync(file, 'utf8').slice(0, 15)).toBe('SQLite format 3')
  })

  test('of a log that is damaged is refused, leaves nothing, and does not cost the backup that was there', async () => {
    const { data, file, store } = await filled()
    await backUp(at(data), file)
    const before = readFileSync(file)
    await store.close()
    const log = readFileSync(join(data, 'convoke.db'))
    log.fill(0xff, log.length - 4096)
    writeFileSync(join(data, 'convoke.db'), log)
    await expect(backUp(at(data), file, { force: true })).rejects.toMatchObject({
      code: 'store_failed',
      message: expect.stringContaining('the log cannot be saved'),
    })
    expect(readFileSync(file).equals(before)).toBe(true)
    expect(readdirSync(dirname(file)).toSorted()).toEqual(['data', 'saved.convoke'])
  })

  test('of a folder without a log, or into a folder that is not there, says so', async () => {
    const { data, file } = await filled()
    await expect(backUp(at(`${data}-elsewhere`), file)).rejects.toThrow(`there is no log in ${data}-elsewhere`)
    await expect(backUp(at(data), join(data, 'nowhere', 'x'))).rejects.toThrow(`there is no folder ${join(data, 'nowhere')}`)
  })

  test.each(['convoke.db', 'convoke.db-wal', 'convoke.lock', 'convoke.driver'])('in the place of %s of a log is refused, also with force', async (name) => {
    const { data } = await filled()
    const path = join(data, name)
    await expect(backUp(at(data), path, { force: true })).rejects.toMatchObject({
      code: 'store_failed',
      message: `${path} belongs to the log in ${data}: choose another name`,
    })
    const before = readFileSync(join(data, 'convoke.db'))
    await expect(exportToFile(at(data), '01a1fdd4-cc0a-76eb-ba95-fb42f02a668d', path, { force: true })).rejects.toThrow('belongs to the log')
    expect(readFileSync(join(data, 'convoke.db')).equals(before)).toBe(true)
  })
})

describe('a restore', () => {
  test('brings everything back under a new log id and a higher driver number', async () => {
    const { data, file, store, ids } = await filled()
    const [before, driver] = [await wholeLogs(store, ids), store.driver]
    await backUp(at(data), file)
    const target = join(dirname(file), 'restored')
    expect(await restore(at(target), file, OPTIONS)).toEqual({ logId: NEW_LOG, sessions: 3, events: 221, feed: 78, outputs: 3 })
    expect(findings(target)).toEqual([])
    expect(readdirSync(target).toSorted()).toEqual(['convoke.db', 'convoke.lock', 'outputs'])
    const restored = await open(target)
    expect([restored.logId, restored.driver]).toEqual([NEW_LOG, driver + 2])
    expect(await wholeLogs(restored, ids)).toEqual(before)
    await restored.close()
    for (const name of [`${ids[0]}/small.log`, `${ids[0]}/empty.log`, `${ids[1]}/large.log`]) {
      expect(readFileSync(join(target, 'outputs', name)).equals(readFileSync(join(data, 'outputs', name)))).toBe(true)
    }
  })

  test('can be made of a backup again and again, and of a bare copy of a log', async () => {
    const { data, file, store } = await filled()
    await backUp(at(data), file)
    const before = readFileSync(file)
    for (const name of ['one', 'two']) await restore(at(join(dirname(file), name)), file, OPTIONS)
    expect(readFileSync(file).equals(before)).toBe(true)
    await store.close()
    copyFileSync(join(data, 'convoke.db'), `${file}.bare`)
    expect(await restore(at(join(dirname(file), 'three')), `${file}.bare`, OPTIONS)).toMatchObject({ sessions: 3, outputs: 0 })
  })

  test('into a folder that is in use is refused', async () => {
    const { data, file } = await filled()
    await backUp(at(data), file)
    await expect(restore(at(data), file, { ...OPTIONS, force: true })).rejects.toMatchObject({ code: 'store_locked' })
  })

  test('into a folder with anything but workspaces is refused without --force, and changes nothing', async () => {
    const { data, file } = await filled()
    await backUp(at(data), file)
    const target = newFolder()
    mkdirSync(join(target, 'workspaces'))
    writeFileSync(join(target, 'convoke.driver'), 'another 9')
    write(join(target, 'thesis.txt'), 'mine')
    await expect(restore(at(target), file, OPTIONS)).rejects.toThrow(`${target} is not empty (thesis.txt); --force keeps what is there aside and goes on`)
    rmSync(join(target, 'thesis.txt'))
    await restore(at(target), file, OPTIONS)
    await expect(restore(at(target), file, OPTIONS)).rejects.toThrow('is not empty (convoke.db, outputs)')
  })

  test('with --force keeps the old log and the output files that differ aside, whole', async () => {
    const { data, file, store, ids } = await filled()
    await backUp(at(data), file)
    const later = sessionId(freshId())
    await store.commit([create(later)])
    await store.close()
    write(join(data, 'outputs', ids[0] ?? '', 'small.log'), 'written again')
    write(join(data, 'outputs', ids[0] ?? '', 'newer.log'), 'only in the old log')
    const aside = join(data, 'before-restore-now')
    expect(await restore(at(data), file, { ...OPTIONS, force: true })).toMatchObject({ kept: aside, sessions: 3 })
    const restored = await open(data)
    expect([await restored.head(later), restored.logId]).toEqual([undefined, NEW_LOG])
    await restored.close()
    const old = await open(aside)
    expect(await old.head(later)).toBe(1)
    await old.close()
    const output = (folder: string, name: string) => readFileSync(join(folder, 'outputs', ids[0] ?? '', name), 'utf8')
    expect([output(data, 'small.log'), output(aside, 'small.log'), output(data, 'newer.log')]).toEqual(['small', 'written again', 'only in the old log'])
  })

  test('puts away a log that is too damaged to be opened, with what stands beside it', async () => {
    const { data, file, store } = await filled()
    await backUp(at(data), file)
    await store.close()
    writeFileSync(join(data, 'convoke.db'), 'no database at all')
    writeFileSync(join(data, 'convoke.db-wal'), 'no log either')
    await restore(at(data), file, { ...OPTIONS, force: true })
    expect(findings(data)).toEqual([])
    const aside = join(data, 'before-restore-now')
    expect([readFileSync(join(aside, 'convoke.db'), 'utf8'), readFileSync(join(aside, 'convoke.db-wal'), 'utf8')]).toEqual([
      'no database at all',
      'no log either',
    ])
  })

  test('keeps a log from which acknowledged work is gone as it is, with all its traces', async () => {
    const { data, file, store } = await filled()
    await backUp(at(data), file)
    await store.commit([create(sessionId(freshId()))])
    const killed = join(dirname(file), 'killed')
    cpSync(data, killed, { recursive: true })
    for (const name of ['convoke.pid', 'convoke.lock']) rmSync(join(killed, name), { force: true })
    truncateSync(join(killed, 'convoke.db-wal'), 5000)
    await expect(backUp(at(killed), `${file}.2`)).rejects.toMatchObject({ code: 'store_damaged' })
    await restore(at(killed), file, { ...OPTIONS, force: true })
    expect(findings(killed)).toEqual([])
    const aside = join(killed, 'before-restore-now')
    expect(readdirSync(aside).toSorted()).toEqual(['convoke.db', 'convoke.db-shm', 'convoke.db-wal'])
    expect(statSync(join(aside, 'convoke.db-wal')).size).toBe(5000)
  })

  const STEPS = ['copy', 'check', 'keep', 'outputs', 'replace', 'tidy'] as const
  test.each(STEPS)('that ends before the step "%s" leaves the old log or the new one, and can be made again', async (last) => {
    const { data, file, store, ids } = await filled()
    await backUp(at(data), file)
    const later = sessionId(freshId())
    await store.commit([create(later)])
    const before = await wholeLogs(store, [...ids, later])
    const oldLog = store.logId
    await store.close()
    const step = (name: (typeof STEPS)[number]) => {
      if (name === last) throw new Error('killed here')
    }
    await expect(restore(at(data), file, { ...OPTIONS, force: true, step })).rejects.toThrow('killed here')
    expect(findings(data)).toEqual([])
    const left = await open(data)
    expect(left.logId).toBe(last === 'tidy' ? NEW_LOG : oldLog)
    expect(await wholeLogs(left, [...ids, later])).toEqual(last === 'tidy' ? [...before.slice(0, 3), { events: [], state: undefined }] : before)
    await left.close()
    expect(await restore(at(data), file, { ...OPTIONS, stamp: 'later', force: true })).toMatchObject({ sessions: 3 })
    expect(findings(data)).toEqual([])
    expect(existsSync(join(data, 'restoring'))).toBe(false)
  })

  test.each(STEPS)('into an empty folder that ends before the step "%s" can be made again without --force until it has a log', async (last) => {
    const { data, file } = await filled()
    await backUp(at(data), file)
    const target = newFolder()
    const step = (name: (typeof STEPS)[number]) => {
      if (name === last) throw new Error('killed here')
    }
    await expect(restore(at(target), file, { ...OPTIONS, step })).rejects.toThrow('killed here')
    const again = restore(at(target), file, OPTIONS)
    await (last === 'tidy' ? expect(again).rejects.toThrow('is not empty') : expect(again).resolves.toMatchObject({ sessions: 3, outputs: 3 }))
    expect(findings(target)).toEqual([])
  })

  test.each([
    [
      'a file that is none',
      (file: string) => writeFileSync(file, 'no database at all, but some text that is longer than a header\n'.repeat(20)),
      'cannot be restored: file is not a database',
    ],
    ['an empty database', (file: string) => new DatabaseSync(file).close(), 'it holds no log'],
    ['a file that is not there', () => undefined, 'there is no backup'],
    ['a folder', (file: string) => mkdirSync(file), 'there is no backup'],
  ])('of %s is refused', async (_what, make, message) => {
    const folder = newFolder()
    make(join(folder, 'saved'))
    await expect(restore(at(join(folder, 'data')), join(folder, 'saved'), OPTIONS)).rejects.toThrow(message)
    expect(existsSync(join(folder, 'data', 'convoke.db'))).toBe(false)
  })

  const change = (file: string, sql: string) => {
    const db = new DatabaseSync(file)
    db.exec(sql)
    db.close()
  }

  test('of a backup of a newer version is refused', async () => {
    const { data, file } = await filled()
    await backUp(at(data), file)
    change(file, 'PRAGMA user_version = 99')
    await expect(restore(at(`${data}-2`), file, OPTIONS)).rejects.toMatchObject({ code: 'store_newer' })
  })

  test('of a backup that is not sound is refused with what was found, unless that is asked for', async () => {
    const { data, file, ids } = await filled()
    await backUp(at(data), file)
    change(file, "UPDATE batch SET body = 'x' WHERE feed = 3")
    const found: unknown[] = []
    const options = { ...OPTIONS, report: (finding: unknown) => found.push(finding) }
    await expect(restore(at(`${data}-2`), file, options)).rejects.toThrow('the backup is not sound (findings: 1); --damaged restores it all the same')
    expect(found).toEqual([{ session: ids[2], text: 'position 1 is damaged' }])
    expect(existsSync(join(`${data}-2`, 'outputs'))).toBe(false)
    expect(await restore(at(`${data}-2`), file, { ...options, damaged: true })).toMatchObject({ sessions: 3 })
  })

  test.each([
    ['an output file that is damaged', "UPDATE backup_output SET body = x'00' WHERE name = 'small.log'", 'small.log is damaged'],
    ['an output file that leads elsewhere', "UPDATE backup_output_hash SET session = '../..' WHERE name = 'small.log'", '../../small.log is damaged'],
    ['an output file that leads upwards', "UPDATE backup_output_hash SET session = '..' WHERE name = 'small.log'", '../small.log is damaged'],
  ])('of a backup with %s is refused', async (_what, sql, message) => {
    const { data, file } = await filled()
    await backUp(at(data), file)
    change(file, sql)
    await expect(restore(at(`${data}-2`), file, OPTIONS)).rejects.toThrow(message)
    expect(existsSync(join(`${data}-2`, 'convoke.db'))).toBe(false)
  })
})
