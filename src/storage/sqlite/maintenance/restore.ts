/**
 * Puts the log of a backup into a data folder.
 *
 * R1. Everything is prepared beside the log, checked and on the disk; then one rename makes it the log. A process that dies before it leaves the
 *     old log, after it the new one.
 * R2. What was there before is kept aside, whole, and never removed.
 * R3. The restored log has a new log id, so that cursors of the log that went on without it are recognised, and a higher driver number.
 */
import { createHash } from 'node:crypto'
import { closeSync, copyFileSync, existsSync, linkSync, mkdirSync, openSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { ConvokeError } from '../../../domain/errors.ts'
import { makeFolder } from '../make-folder.ts'
import { formatOf } from '../migrate.ts'
import { copyLog, type LogFacts } from './backup.ts'
import { checkFile, type Finding, type HasOutput } from './check.ts'
import { chunksOf, outputFiles, problemsOf, replaceLog, sync } from './disk.ts'
import { alone, isCurrent, logFile, lookWhole, metaOf, openReadOnly, type LogFolder } from './open.ts'

/** Where a restored log is prepared, below the data folder. */
const STAGING = 'restoring'
/** What may stand in a data folder that counts as empty: the lock, and workspaces that were brought back first. */
const HARMLESS = ['convoke.driver', 'convoke.lock', 'convoke.lock-journal', 'convoke.pid', 'workspaces']

/** How to restore. */
export interface RestoreOptions {
  readonly newLogId: string
  /** Part of the name of the folder where the old log is kept: a time, for example. */
  readonly stamp: string
  /** Replaces a log that is there. */
  readonly force?: boolean
  /** Restores a backup in which something was found, too. */
  readonly damaged?: boolean
  /** Told what is not as it must be in the backup. */
  readonly report?: (finding: Finding) => void
  /** Told before each step. */
  readonly step?: (name: 'copy' | 'check' | 'keep' | 'outputs' | 'replace' | 'tidy') => void
}

/** What was restored. */
export interface RestoreReport extends LogFacts {
  readonly outputs: number
  /** Where the old log is now. */
  readonly kept?: string
}

/**
 * Restores `source` into a data folder that no server has open.
 *
 * @throws {ConvokeError} `store_locked`; `store_newer`; `store_failed` for a folder that is not empty without `force`, and for a backup that is not sound
 */
export async function restore(where: LogFolder, source: string, options: RestoreOptions): Promise<RestoreReport> {
  const path = resolve(source)
  requireBackup(path)
  makeFolder(where.folder)
  return alone(where.folder, async () => {
    requireRoom(where, options.force)
    const staging = join(where.folder, STAGING)
    rmSync(staging, { recursive: true, force: true })
    mkdirSync(staging, { mode: 0o700 })
    const staged = logFile(staging)
    const folders = { from: join(staging, where.outputs), to: join(where.folder, where.outputs), aside: join(where.folder, `before-restore-${options.stamp}`) }
    options.step?.('copy')
    const facts = await copyLog(path, staged)
    const outputs = takeOutputs(staged, folders.from)
    rename(staged, options.newLogId)
    options.step?.('check')
    requireSound(staged, folders, options)
    sync(staged)
    options.step?.('keep')
    const hasOld = keepOld(where.folder, folders.aside)
    options.step?.('outputs')
    placeOutputs(folders)
    options.step?.('replace')
    replaceLog(staged, logFile(where.folder))
    options.step?.('tidy')
    rmSync(staging, { recursive: true, force: true })
    return { ...facts, logId: options.newLogId, outputs, ...(hasOld || existsSync(folders.aside) ? { kept: folders.aside } : {}) }
  })
}

/** Looks at the file before anything is touched. */
function requireBackup(path: string): void {
  if (statSync(path, { throwIfNoEntry: false })?.isFile() !== true) throw new ConvokeError('store_failed', `there is no backup ${path}`)
  const db = openBackup(path)
  try {
    const problem = formatOf(db) === 0 ? 'it holds no log' : problemsOf(db, 'integrity_check')
    if (problem !== undefined) throw new ConvokeError('store_failed', `${path} cannot be restored: ${problem}`)
  } finally {
    db.close()
  }
}

function openBackup(path: string): DatabaseSync {
  try {
    return openReadOnly(path, true)
  } catch (error) {
    if (error instanceof ConvokeError) throw error
    throw new ConvokeError('store_failed', `${path} cannot be restored: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
}

function requireRoom({ folder, outputs }: LogFolder, force: boolean | undefined): void {
  const names = readdirSync(folder)
  // Where a restore was killed, output files may have been brought already.
  const harmless = new Set([...HARMLESS, ...(names.includes(STAGING) ? [STAGING, outputs] : [])])
  const found = names.filter((name) => !harmless.has(name)).toSorted()
  if (force === true || found.length === 0) return
  throw new ConvokeError('store_failed', `${folder} is not empty (${found.slice(0, 3).join(', ')}); --force keeps what is there aside and goes on`)
}

/** Where output files are, will be, and are kept if they differ. */
interface OutputFolders {
  readonly from: string
  readonly to: string
  readonly aside: string
}

/** Writes the output files of a backup to `folder`, and takes them out of the database. Answers how many. */
function takeOutputs(staged: string, folder: string): number {
  const db = new DatabaseSync(staged)
  try {
    db.exec('PRAGMA journal_mode = DELETE; PRAGMA synchronous = OFF')
    if (db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'backup_output'").get() === undefined) return 0
    const parts = db.prepare('SELECT body FROM backup_output WHERE session = ? AND name = ? ORDER BY part')
    let count = 0
    for (const row of db.prepare('SELECT session, name, sha256 FROM backup_output_hash').iterate()) {
      const [session, name] = [String(row['session']), String(row['name'])]
      const damaged = new ConvokeError('store_failed', `the backup cannot be restored: its output file ${session}/${name} is damaged`)
      // A backup comes from anywhere: its names must not lead out of the folder.
      if (session !== basename(session) || name !== basename(name) || session.startsWith('.')) throw damaged
      const target = join(folder, session, name)
      mkdirSync(dirname(target), { recursive: true, mode: 0o700 })
      const fd = openSync(target, 'wx', 0o600)
      for (const part of parts.iterate(session, name)) writeFileSync(fd, part['body'] as Uint8Array)
      closeSync(fd)
      if (hashOf(target) !== row['sha256']) throw damaged
      sync(target)
      count++
    }
    db.exec('DROP TABLE backup_output; DROP TABLE backup_output_hash')
    if (count > 0) db.exec('VACUUM')
    return count
  } finally {
    db.close()
  }
}

/** Moves output files to where they belong. They add to what is there, so that the old log, which may still be the one that counts, loses nothing. */
function placeOutputs({ from, to, aside }: OutputFolders): void {
  for (const { session, name, path } of outputFiles(from)) {
    const target = join(to, session, name)
    if (existsSync(target)) {
      if (hashOf(target) === hashOf(path)) continue
      keep(target, join(aside, basename(to), session, name))
    }
    mkdirSync(dirname(target), { recursive: true, mode: 0o700 })
    renameSync(path, target)
    sync(dirname(target))
  }
}

function hashOf(file: string): string {
  const hash = createHash('sha256')
  for (const chunk of chunksOf(file)) hash.update(chunk)
  return hash.digest('hex')
}

/** @see R3 */
function rename(staged: string, logId: string): void {
  const db = new DatabaseSync(staged)
  try {
    db.exec('PRAGMA synchronous = FULL; BEGIN')
    const set = db.prepare('INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value')
    set.run('log_id', logId)
    set.run('driver', String(Number(metaOf(db, 'driver') ?? 0) + 1))
    db.exec('COMMIT')
  } finally {
    db.close()
  }
}

/** Our own look at what SQLite finds well. An older log is migrated by the server, and can be looked at after that. */
function requireSound(staged: string, { from, to }: OutputFolders, options: RestoreOptions): void {
  const db = openReadOnly(staged, true)
  const canBeChecked = isCurrent(db)
  db.close()
  if (!canBeChecked) return
  const hasOutput: HasOutput = (session, path) => [from, to].some((folder) => existsSync(join(folder, session, basename(path))))
  const { findings } = checkFile(staged, hasOutput, options.report ?? (() => undefined))
  if (findings === 0 || options.damaged === true) return
  throw new ConvokeError('store_failed', `the backup is not sound (findings: ${findings}); --damaged restores it all the same`)
}

/** Puts a second name to the old log where it is kept. Answers whether there was one. @see R2 */
function keepOld(folder: string, aside: string): boolean {
  const file = logFile(folder)
  if (!existsSync(file)) return false
  try {
    lookWhole(file)
    const db = new DatabaseSync(file)
    db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    db.close()
  } catch {
    // It is damaged: what stands beside it is kept as it is, for whoever looks into it.
  }
  for (const end of ['', '-wal', '-shm']) if (existsSync(`${file}${end}`)) keep(`${file}${end}`, join(aside, `${basename(file)}${end}`))
  sync(folder)
  return true
}

function keep(file: string, as: string): void {
  mkdirSync(dirname(as), { recursive: true, mode: 0o700 })
  try {
    linkSync(file, as)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw error
    // A file system without links.
    copyFileSync(file, as)
    sync(as)
  }
  sync(dirname(as))
}
