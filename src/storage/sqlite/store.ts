/** The SQLite engine: one file in the data folder, a writer beside the loop, a reader on it. */
import { join } from 'node:path'
import type { Random } from '../../domain/ports.ts'
import type { Drivers, Store } from '../../log/store.ts'
import type { Upkeep } from '../../log/upkeep.ts'
import type { SessionReads } from '../../projection/reads.ts'
import { ConvokeError } from '../../domain/errors.ts'
import { directWriter, workerWriter, type WriterLink } from './writer-link.ts'
import { CommitGroup } from './group.ts'
import { lockFolder, type FolderLock } from './lock.ts'
import { makeFolder } from './make-folder.ts'
import { Reader } from './reader.ts'
import { SessionReader } from './session-reader.ts'

/** How to open a data folder. */
export interface SqliteOptions {
  /** Made if it is missing. */
  readonly folder: string
  readonly random: Random
  /** Whether the writer has a thread of its own. Default true; false for simulations. */
  readonly worker?: boolean
  /** How long to wait for another process that holds the folder and is dying, in ms. Default 0. */
  readonly lockWaitMs?: number
  readonly sleep?: (ms: number) => Promise<void>
  /**
   * Whether other processes may have the folder open at the same time: then nobody locks it. Default false.
   * For trying out what happens between several processes; SQLite lets only one of them write at a time.
   */
  readonly shared?: boolean
  /** Told once when nothing can be written any more: the writer's thread died, or the disk failed. Reads go on. */
  readonly onLost?: (error: ConvokeError) => void
}

/**
 * Opens the store of a data folder.
 *
 * @throws {ConvokeError} `store_locked` while another process has it open; `store_newer` for a newer version's data; `store_damaged`; `store_failed`.
 */
export async function openSqliteStore(options: SqliteOptions): Promise<Store & SessionReads & Upkeep> {
  const { folder, shared = false } = options
  try {
    makeFolder(folder)
    const lock = shared ? NO_LOCK : await lockFolder(folder, options.lockWaitMs ?? 0, options.sleep ?? (() => Promise.resolve()))
    return await openLocked(options, lock)
  } catch (error) {
    // Whoever reads this must learn which folder is meant, also of a failure of the system's.
    if (error instanceof ConvokeError && error.code !== 'store_failed') throw error
    throw new ConvokeError('store_failed', `the log in ${folder} cannot be opened: ${error instanceof Error ? error.message : String(error)}`, { cause: error })
  }
}

async function openLocked(options: SqliteOptions, lock: FolderLock): Promise<Store & SessionReads & Upkeep> {
  const { folder, random, shared = false } = options
  const file = join(folder, 'convoke.db')
  try {
    const how = { file, newLogId: random.uuid(), shared }
    const writer = options.worker === false ? directWriter(how) : await workerWriter(how, options.onLost ?? (() => undefined))
    const reader = await openReader(file, writer)
    const sessions = new SessionReader(reader.db)
    const group = new CommitGroup((writes) => writer.commit(writes))
    let closing: Promise<void> | undefined
    const close = async () => {
      await group.idle()
      reader.close()
      try {
        await writer.close()
      } finally {
        lock.release()
      }
    }
    return {
      logId: writer.logId,
      driver: writer.driver,
      ...(shared ? { drivers: driversOf(writer, reader) } : {}),
      async commit(writes) {
        if (closing !== undefined) throw new ConvokeError('store_failed', 'the log is closed')
        return writes.length === 0 ? [] : group.add(writes)
      },
      read: async (stream, after, limit) => reader.read(stream, after, limit),
      head: async (stream) => reader.head(stream),
      state: async (stream) => reader.state(stream),
      readFeed: async (owner, after, limit) => reader.readFeed(owner, after, limit),
      feedHead: async () => reader.feedHead(),
      unfinishedRuns: async (limit, after) => reader.unfinishedRuns(limit, after),
      pruneIdempotency: (beforeMs) => writer.pruneIdempotency(beforeMs),
      sweep: () => writer.sweep(),
      release: () => writer.release(),
      idleSessions: async (sinceMs, limit) => reader.idleSessions(sinceMs, limit),
      usedBytes: async () => reader.usedBytes(),
      pack: (beforeMs) => writer.pack(beforeMs),
      leftovers: async (limit) => reader.leftovers(limit),
      forgetLeftover: ({ stream, readBy }) => writer.forgetLeftover(stream, readBy?.upTo ?? 0),
      session: async (id) => sessions.session(id),
      sessionAt: async (id) => sessions.sessionAt(id),
      sessions: async (query) => sessions.sessions(query),
      messages: async (id, page) => sessions.messages(id, page),
      history: async (id, upTo, limit, after) => sessions.history(id, upTo, limit, after),
      sessionIds: async (owner, after, limit) => sessions.sessionIds(owner, after, limit),
      close: () => (closing ??= close()),
    }
  } catch (error) {
    lock.release()
    throw error
  }
}

const NO_LOCK: FolderLock = { release: () => undefined }

function driversOf(writer: WriterLink, reader: Reader): Drivers {
  return {
    renew: (untilMs) => writer.renewDriver(untilMs),
    gone: async (drivers, nowMs) => new Set(drivers.filter((driver) => reader.driverLivesUntil(driver) <= nowMs)),
  }
}

/** A reader; when it cannot be had the writer is closed too, so that no thread is left. */
async function openReader(file: string, writer: WriterLink): Promise<Reader> {
  try {
    return new Reader(file)
  } catch (error) {
    await writer.close()
    throw error
  }
}
