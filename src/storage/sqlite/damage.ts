/**
 * Damage that SQLite would pass over: parts of a log that are gone or cut off read as a log that ends earlier, which is acknowledged work lost without a word.
 *
 * D1. A write-ahead log from which acknowledged transactions cannot be read any more is refused. What a power cut tears (the one transaction whose fsync was
 *     under way, which nobody was told of) is dropped, as it must be.
 * D2. A database without the write-ahead log that its last process left is refused, and so is a write-ahead log without its database.
 *
 * Not here: damage inside the database's own pages, which has no checksums. What can be seen of it reads as `Unknown` (L9), or ends the writing.
 */
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { ConvokeError } from '../../domain/errors.ts'
import { lookAtWal, type WalLook } from './wal.ts'

/** @throws {ConvokeError} `store_damaged`. To be called before the database at `file` is opened: opening and closing it removes the traces. */
export function requireWhole(file: string): void {
  const wal = `${file}-wal`
  const look = lookAtWal(wal, `${file}-shm`)
  if (look === undefined) return
  if ((statSync(file, { throwIfNoEntry: false })?.size ?? 0) === 0) {
    throw damaged(`${file} is missing or empty, and there is a write-ahead log of it`, `remove ${wal} to begin a new log`)
  }
  if (look.headless) throw damaged(`the head of ${wal} cannot be read`, `remove it to go on without what it held`)
  const behind = acknowledgedBehind(look)
  if (behind === undefined) return
  const how = look.soundBytes === 0 ? `remove ${wal}` : `cut ${wal} to ${look.soundBytes} bytes and remove ${file}-shm`
  throw damaged(`${wal} is damaged behind byte ${look.soundBytes}: ${behind}`, `${how} to go on without them`)
}

/** What was acknowledged and cannot be read, in words. */
function acknowledgedBehind({ framesKnown, framesSound, transactionsBehind }: WalLook): string | undefined {
  if (framesKnown !== undefined && framesKnown > framesSound) return `${framesKnown - framesSound} committed pages cannot be read`
  // The last of them may be the one that was under way; those before it were on the disk before it began.
  return transactionsBehind > 1 ? `${transactionsBehind - 1} or more transactions cannot be read` : undefined
}

function damaged(what: string, way: string): ConvokeError {
  return new ConvokeError('store_damaged', `${what}; restore the data folder from a backup, or ${way}`)
}

/** Remembers beside the database that a process has it open, and so that it has a write-ahead log. @see D2 */
export class OpenMark {
  readonly #file: string
  readonly #mark: string
  readonly #hadWal: boolean

  /** To be made before the database is opened. */
  constructor(file: string) {
    this.#file = file
    this.#mark = `${file.replace(/\.db$/, '')}.open`
    this.#hadWal = existsSync(`${file}-wal`)
  }

  /** @throws {ConvokeError} `store_damaged` where the log was left open, and its newest part is gone */
  requireWal(logId: string): void {
    if (this.#hadWal || !existsSync(this.#mark) || readFileSync(this.#mark, 'utf8') !== this.#text(logId)) return
    throw damaged(
      `${this.#file}-wal is missing: the server did not stop in good order, and its newest events stood there`,
      `remove ${this.#mark} to go on without them`,
    )
  }

  /** The log is open, and its write-ahead log is there. */
  set(logId: string): void {
    writeFileSync(this.#mark, this.#text(logId))
  }

  /** Everything stands in the database. */
  clear(): void {
    rmSync(this.#mark, { force: true })
  }

  /** A copy or a rebuilt database is another file: whoever made it has taken care of the rest. */
  #text(logId: string): string {
    return `${logId} ${statSync(this.#file).ino}\n`
  }
}
