/**
 * One process per data folder.
 *
 * The lock is an exclusive SQLite transaction that stays open as long as the process lives. The kernel frees it when the process
 * dies, however it dies, so no process number is ever guessed at; the file with the number only serves the message.
 */
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { ConvokeError } from '../../domain/errors.ts'

/** Pause between two tries to get the lock, in ms. */
const RETRY_MS = 25
/** SQLite's code for a database that somebody else has locked. */
const SQLITE_BUSY = 5

/** A held lock. */
export interface FolderLock {
  release(): void
}

/**
 * Takes the lock of `folder`, waiting up to `waitMs` for a holder that is dying.
 *
 * @throws {ConvokeError} `store_locked`, naming the folder and the process that holds it.
 */
export async function lockFolder(folder: string, waitMs: number, sleep: (ms: number) => Promise<void>): Promise<FolderLock> {
  const pidFile = join(folder, 'convoke.pid')
  for (let waited = 0; ; waited += RETRY_MS) {
    const db = tryLock(join(folder, 'convoke.lock'))
    if (db !== undefined) {
      try {
        writeFileSync(pidFile, `${process.pid}\n`)
      } catch (error) {
        db.close()
        throw error
      }
      return { release: () => release(db, pidFile) }
    }
    if (waited >= waitMs) throw new ConvokeError('store_locked', `the data folder ${folder} is in use by process ${holder(pidFile)}`)
    await sleep(RETRY_MS)
  }
}

function tryLock(file: string): DatabaseSync | undefined {
  const db = new DatabaseSync(file, { timeout: 0 })
  try {
    db.exec('PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE')
    return db
  } catch (error) {
    db.close()
    if ((error as { errcode?: number }).errcode === SQLITE_BUSY) return undefined
    throw error
  }
}

function release(db: DatabaseSync, pidFile: string): void {
  if (!db.isOpen) return
  rmSync(pidFile, { force: true })
  db.exec('ROLLBACK')
  db.close()
}

function holder(pidFile: string): string {
  try {
    return readFileSync(pidFile, 'utf8').trim()
  } catch {
    // The holder has not written it yet, or is just leaving.
    return '(unknown)'
  }
}
