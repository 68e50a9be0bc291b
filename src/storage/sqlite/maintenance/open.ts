/** How the tools of an operator reach a data folder: read-only beside a running server, or alone in it. */
import { existsSync, rmSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { ConvokeError } from '../../../domain/errors.ts'
import { requireNewest, requireWhole } from '../damage.ts'
import { STATE_VERSION } from '../../../domain/session.ts'
import { lockFolder, type FolderLock } from '../lock.ts'
import { formatOf } from '../migrate.ts'
import { MIGRATIONS } from '../schema.ts'

/** Where a log is. */
export interface LogFolder {
  /** The data folder. */
  readonly folder: string
  /** Name of the folder in it that holds tools' outputs, by session. */
  readonly outputs: string
}

/** The file that holds the log of `folder`. */
export function logFile(folder: string): string {
  return join(folder, 'convoke.db')
}

/** The log in `folder`. @throws {ConvokeError} `store_failed` if there is none: a folder with a typing error must not become a new log */
export function requireLog(folder: string): string {
  const file = logFile(folder)
  if (!existsSync(file)) throw new ConvokeError('store_failed', `there is no log in ${folder}`)
  return file
}

/**
 * The log in `folder`, of which nothing is gone that was acknowledged. Has to be asked before SQLite may touch the file: opening it removes the traces.
 *
 * @throws {ConvokeError} `store_damaged`; `store_failed` if there is none
 */
export async function requireWholeLog(folder: string): Promise<string> {
  const file = requireLog(folder)
  try {
    await alone(folder, () => lookWhole(file))
  } catch (error) {
    // Beside a running server, which has looked itself.
    if (!(error instanceof ConvokeError) || error.code !== 'store_locked') throw error
  }
  return file
}

/** The same for who is alone in the folder. @throws {ConvokeError} `store_damaged`, `store_newer` */
export function lookWhole(file: string): void {
  requireWhole(file)
  const hadWal = existsSync(`${file}-wal`)
  const db = openReadOnly(file, true)
  try {
    requireNewest(file, metaOf(db, 'log_id') ?? '', Number(metaOf(db, 'driver') ?? 0))
  } finally {
    db.close()
    // A reader leaves an empty write-ahead log.
    if (!hadWal) for (const end of ['-wal', '-shm']) rmSync(`${file}${end}`, { force: true })
  }
}

/** Where an output file that an event calls `path` may stand, if the data folder has moved since or the session was restored or forked: first come. */
export function outputPlaces({ folder, outputs }: LogFolder, session: string, path: string): readonly string[] {
  return [path, join(folder, outputs, session, basename(path)), join(folder, outputs, basename(dirname(path)), basename(path))]
}

/** Opens `file` for reading. @throws {ConvokeError} `store_newer`; `store_failed` for an older format, where `anyFormat` is not set */
export function openReadOnly(file: string, anyFormat = false): DatabaseSync {
  const db = new DatabaseSync(file, { readOnly: true, timeout: 5000 })
  try {
    const format = formatOf(db)
    if (!anyFormat && !isCurrent(db)) {
      throw new ConvokeError(
        'store_failed',
        `${file} has format ${format} of an older version, this one works with ${MIGRATIONS.length}: start the server once, which migrates it`,
      )
    }
    return db
  } catch (error) {
    db.close()
    throw error
  }
}

/** Whether the log is of this version: its tables, and what is folded into them. An older one becomes so when a server opens it. */
export function isCurrent(db: DatabaseSync): boolean {
  return formatOf(db) === MIGRATIONS.length && foldVersionOf(db) === STATE_VERSION
}

/** By which version of the fold the rows were written. Logs of the first one do not say. */
export function foldVersionOf(db: DatabaseSync): number {
  return Number(metaOf(db, 'state_version') ?? 1)
}

/** Runs `work` while nobody else can open `folder`. @throws {ConvokeError} `store_locked` while a server has it open */
export async function alone<T>(folder: string, work: () => T | Promise<T>): Promise<T> {
  const lock: FolderLock = await lockFolder(folder, 0, () => Promise.resolve())
  try {
    return await work()
  } finally {
    lock.release()
  }
}

/** A value of `meta`. */
export function metaOf(db: DatabaseSync, name: string): string | undefined {
  return (db.prepare('SELECT value FROM meta WHERE name = ?').get(name) as { value: string } | undefined)?.value
}
