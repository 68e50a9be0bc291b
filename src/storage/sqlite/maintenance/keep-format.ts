/** Before a log is migrated it is copied: an older version cannot open the newer format, and nobody should need a backup to go back to it. */
import { constants, copyFileSync, existsSync, renameSync, rmSync } from 'node:fs'
import { dirname } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { ConvokeError } from '../../../domain/errors.ts'
import { formatOf } from '../migrate.ts'
import { MIGRATIONS } from '../schema.ts'
import { sync } from './disk.ts'

/**
 * Keeps the log of an older format as `convoke.db.format-N`, whole and on the disk, unless that name is taken. A log of this format, or a new one, has no copy.
 *
 * @param db The log, open for writing; nobody else may write to it.
 * @throws {ConvokeError} `store_failed` where the copy cannot be made; then nothing is migrated
 */
export function keepFormat(db: DatabaseSync, file: string): void {
  const format = formatOf(db)
  const copy = `${file}.format-${format}`
  if (format === 0 || format === MIGRATIONS.length || existsSync(copy)) return
  const writing = `${copy}.writing`
  try {
    db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    // Where the file system can, nothing is copied until one of them changes.
    copyFileSync(file, writing, constants.COPYFILE_FICLONE)
    sync(writing)
    renameSync(writing, copy)
    sync(dirname(copy))
  } catch (error) {
    rmSync(writing, { force: true, recursive: true })
    const why = error instanceof Error ? error.message : String(error)
    const way = `make room for it, or save the folder in your own way and make an empty file of that name`
    throw new ConvokeError('store_failed', `the log is not migrated, because it cannot be copied to ${copy} before: ${why}; ${way}`, { cause: error })
  }
}
