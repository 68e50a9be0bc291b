/**
 * A backup: one file with everything that the log needs, made beside a running server.
 *
 * U1. It shows one moment: the copy is made within one read transaction, so that commits meanwhile neither disturb it nor are in it.
 * U2. It is itself a database of the same format. Tools' output files are in the table `backup_output`, by session and name; what an event
 *     refers to was on the disk before the event, and is read after the copy.
 * U3. Its name appears when it is whole, checked and on the disk; what had that name before stays until then.
 */
import { createHash } from 'node:crypto'
import { chmodSync, closeSync, openSync, renameSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { backup, DatabaseSync } from 'node:sqlite'
import { ConvokeError } from '../../../domain/errors.ts'
import { FEED_HEAD } from '../meta.ts'
import { bytesOf, chunksOf, outputFiles, problemsOf, removeDatabase, sync } from './disk.ts'
import { metaOf, openReadOnly, requireWholeLog, type LogFolder } from './open.ts'
import { requireTarget } from './target.ts'

/** Pages that one step of the copy takes, by default. */
const PAGES_PER_STEP = 1000

/** The table of a backup that holds output files, in pieces; the last piece has the hash of the whole. */
const OUTPUT_TABLE = `
  CREATE TABLE backup_output (session TEXT NOT NULL, name TEXT NOT NULL, part INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY (session, name, part)) WITHOUT ROWID, STRICT;
  CREATE TABLE backup_output_hash (session TEXT NOT NULL, name TEXT NOT NULL, sha256 TEXT NOT NULL, PRIMARY KEY (session, name)) WITHOUT ROWID, STRICT`

/** What a log holds, in numbers that a copy must have too. */
export interface LogFacts {
  readonly logId: string
  readonly sessions: number
  readonly events: number
  readonly feed: number
}

/** What was saved. */
export interface BackupReport extends LogFacts {
  readonly outputs: number
  readonly bytes: number
}

/**
 * Saves the log of a data folder to `target`.
 *
 * @throws {ConvokeError} `store_failed` if there is no log, if `target` exists and `force` is not set, or if the copy is not sound; `store_damaged`; `store_newer`
 */
export async function backUp(
  where: LogFolder,
  target: string,
  options: { readonly force?: boolean; readonly pagesPerStep?: number } = {},
): Promise<BackupReport> {
  const file = await requireWholeLog(where.folder)
  const path = resolve(target)
  requireTarget(path, options.force)
  // Its own name for each process: two backups at once must not write into one file.
  const writing = join(dirname(path), `.${basename(path)}.${process.pid}.writing`)
  removeDatabase(writing)
  try {
    // Nobody else may read what sessions say.
    closeSync(openSync(writing, 'wx', 0o600))
    const facts = await copyLog(file, writing, options.pagesPerStep)
    const outputs = addOutputs(writing, join(where.folder, where.outputs))
    requireSound(writing, facts)
    sync(writing)
    requireTarget(path, options.force)
    chmodSync(writing, 0o600)
    renameSync(writing, path)
    sync(dirname(path))
    return { ...facts, outputs, bytes: bytesOf(path) }
  } catch (error) {
    removeDatabase(writing)
    if (error instanceof ConvokeError) throw error
    throw new ConvokeError('store_failed', `the log cannot be saved: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
}

/** Copies the database `file` as it is at one moment. Answers what it held then. @see U1 */
export async function copyLog(file: string, target: string, rate = PAGES_PER_STEP): Promise<LogFacts> {
  const db = openReadOnly(file, true)
  try {
    db.exec('BEGIN')
    const facts = factsOf(db)
    await backup(db, target, { rate })
    return facts
  } finally {
    db.close()
  }
}

/** What the log in `db` holds. */
export function factsOf(db: DatabaseSync): LogFacts {
  const { sessions, events } = db.prepare('SELECT count(*) AS sessions, coalesce(sum(head), 0) AS events FROM stream').get() as {
    sessions: number
    events: number
  }
  const { feed } = db.prepare(FEED_HEAD).get() as { feed: number }
  return { logId: metaOf(db, 'log_id') ?? '', sessions, events, feed }
}

/** Adds the output files. Answers how many. @see U2 */
function addOutputs(file: string, folder: string): number {
  const db = new DatabaseSync(file)
  try {
    // One file that can be read from anywhere, also where nothing can be written beside it; it is synced as a whole in the end.
    db.exec(`PRAGMA journal_mode = DELETE; PRAGMA synchronous = OFF; BEGIN; ${OUTPUT_TABLE}`)
    const insert = db.prepare('INSERT INTO backup_output (session, name, part, body) VALUES (?, ?, ?, ?)')
    const insertHash = db.prepare('INSERT INTO backup_output_hash (session, name, sha256) VALUES (?, ?, ?)')
    let count = 0
    for (const { session, name, path } of outputFiles(folder)) {
      const hash = createHash('sha256')
      let part = 0
      for (const chunk of chunksOf(path)) {
        insert.run(session, name, part++, chunk)
        hash.update(chunk)
      }
      insertHash.run(session, name, hash.digest('hex'))
      count++
    }
    db.exec('COMMIT')
    return count
  } finally {
    db.close()
  }
}

function requireSound(file: string, expected: LogFacts): void {
  const db = openReadOnly(file, true)
  try {
    const found = factsOf(db)
    const problem =
      problemsOf(db, 'quick_check') ?? (JSON.stringify(found) === JSON.stringify(expected) ? undefined : 'the copy does not hold what the log holds')
    if (problem !== undefined) throw new ConvokeError('store_failed', `the log cannot be saved, ${problem}; see convoke db check`)
  } finally {
    db.close()
  }
}
