/** Writes a log anew without what was removed from it, and without idempotency keys that are too old to count. */
import { DatabaseSync } from 'node:sqlite'
import { pragma } from '../meta.ts'
import { ConvokeError } from '../../../domain/errors.ts'
import { IDEMPOTENCY_KEEP_MS } from '../../../log/store.ts'
import { factsOf } from './backup.ts'
import { bytesOf, problemsOf, removeDatabase, replaceLog, sync } from './disk.ts'
import { alone, lookWhole, openReadOnly, requireLog } from './open.ts'

/** What became smaller. */
export interface CompactReport {
  readonly pruned: number
  readonly bytesBefore: number
  readonly bytesAfter: number
}

/**
 * Compacts the log of a data folder that no server has open. It is written beside the old one, which it replaces when it is whole and on the disk.
 *
 * @throws {ConvokeError} `store_locked`; `store_newer`; `store_failed` if there is no log, or it cannot be read; `store_damaged`
 */
export async function compact(folder: string, nowMs: number): Promise<CompactReport> {
  const file = requireLog(folder)
  return alone(folder, () => {
    lookWhole(file)
    const bytesBefore = bytesOf(file) + bytesOf(`${file}-wal`)
    const prepared = `${file}.compacting`
    removeDatabase(prepared)
    try {
      const pruned = writeAnew(file, prepared, nowMs - IDEMPOTENCY_KEEP_MS)
      sync(prepared)
      replaceLog(prepared, file)
      return { pruned, bytesBefore, bytesAfter: bytesOf(file) }
    } catch (error) {
      removeDatabase(prepared)
      throw error
    }
  })
}

function writeAnew(file: string, prepared: string, beforeMs: number): number {
  const db = new DatabaseSync(file)
  try {
    const pruned = Number(db.prepare('DELETE FROM idempotency WHERE at_ms < ?').run(beforeMs).changes)
    // Into a file of the same folder: VACUUM in place needs as much again in the folder for temporary files, and in the write-ahead log.
    // A file of an older version learns to give its free pages back in steps.
    if (pragma(db, 'auto_vacuum') === 0) db.exec('PRAGMA auto_vacuum = 2')
    db.prepare('VACUUM INTO ?').run(prepared)
    const copy = openReadOnly(prepared, true)
    const problem =
      problemsOf(copy, 'quick_check') ?? (JSON.stringify(factsOf(copy)) === JSON.stringify(factsOf(db)) ? undefined : 'it does not hold what the log holds')
    copy.close()
    if (problem !== undefined) throw new ConvokeError('store_failed', `the log cannot be compacted: ${problem}; see convoke db check`)
    db.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    return pruned
  } finally {
    db.close()
  }
}
