import { DatabaseSync } from 'node:sqlite'
import { ConvokeError } from '../../domain/errors.ts'
import { leaveMark, requireNewest, requireWhole } from './damage.ts'
import { keepFormat } from './maintenance/keep-format.ts'
import { refold } from './maintenance/refold.ts'
import { pragma, setValue, valueOf } from './meta.ts'
import { migrate } from './migrate.ts'

/** Memory for pages, in KiB. */
const CACHE_KIB = 16 * 1024
/** How long a statement waits for another process, in ms. */
export const BUSY_MS = 5000
/** SQLite's number for files whose free pages can be given back in steps (sqlite.org/pragma.html#pragma_auto_vacuum). */
export const INCREMENTAL = 2

/** Where the log is, and whether other processes write it too. */
export interface WriterOptions {
  readonly file: string
  /** Name of the log, if the file is new. */
  readonly newLogId: string
  readonly shared: boolean
}

/** A log that is open for writing. */
export interface OpenLog {
  readonly db: DatabaseSync
  readonly logId: string
  readonly driver: number
}

/** Opens a log, or begins one: looks for damage, migrates, and raises the driver number. @throws {ConvokeError} a `store_*` code */
export function openForWriting({ file, newLogId, shared }: WriterOptions): OpenLog {
  // Beside another process that writes, the log is never whole for two looks at it.
  if (!shared) requireWhole(file)
  const db = new DatabaseSync(file, { timeout: BUSY_MS })
  // Only a file without tables takes this; an older one gets it when it is rewritten (`db compact`).
  if (pragma(db, 'page_count') === 0) db.exec(`PRAGMA auto_vacuum = ${INCREMENTAL}`)
  // locking_mode stays NORMAL: readers of this process have their own connections.
  db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -${CACHE_KIB}`)
  // What is removed is overwritten: an erased session must not be found in the free pages of the file.
  db.exec('PRAGMA secure_delete = ON')
  // The file shrinks when the WAL begins anew, so that its size says how much of it is in use. @see Writer.checkpoint
  db.exec('PRAGMA journal_size_limit = 0')
  requireDurable(db)
  if (!shared) keepFormat(db, file)
  migrate(db)
  if (!shared) requireNewest(file, valueOf(db, 'log_id') ?? newLogId, Number(valueOf(db, 'driver') ?? 0))
  refold(db)
  const opened = { db, ...begin(db, newLogId) }
  if (!shared) leaveMark(file, opened.logId, opened.driver)
  return opened
}

/** One transaction: two processes that open a shared log must not get the same number. */
function begin(db: DatabaseSync, newLogId: string): { readonly logId: string; readonly driver: number } {
  db.exec('BEGIN IMMEDIATE')
  const logId = valueOf(db, 'log_id') ?? newLogId
  const driver = Number(valueOf(db, 'driver') ?? 0) + 1
  setValue(db, 'log_id', logId)
  setValue(db, 'driver', String(driver))
  db.exec('COMMIT')
  return { logId, driver }
}

/** Some file systems cannot keep a write-ahead log, and SQLite then goes on without one and without a word. @throws {ConvokeError} `store_failed` */
function requireDurable(db: DatabaseSync): void {
  const { journal_mode: mode } = db.prepare('PRAGMA journal_mode').get() as { journal_mode: string }
  const { synchronous } = db.prepare('PRAGMA synchronous').get() as { synchronous: number }
  // 2 is FULL: an fsync of the WAL in each commit (sqlite.org/pragma.html).
  if (mode !== 'wal' || synchronous !== 2)
    throw new ConvokeError('store_failed', `the log cannot be kept durably here: journal ${mode}, synchronous ${synchronous}`)
}
