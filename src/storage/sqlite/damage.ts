/**
 * Damage that SQLite would pass over: parts of a log that are gone or cut off read as a log that ends earlier, which is acknowledged work lost without a word.
 *
 * D1. A write-ahead log from which acknowledged transactions cannot be read any more is refused. What a power cut tears (the one transaction whose fsync was
 *     under way, which nobody was told of) is dropped, as it must be.
 * D2. A database without the write-ahead log that its last process left is refused, and so is a write-ahead log without its database. What a checkpoint had
 *     brought into the database before is all that can be missed then: a database that is newer than its last opening looks whole.
 * D3. No database, or an empty one, where a server has had its log is refused: a new log in its place would look like one that never held anything.
 *
 * Not here: damage inside the database's own pages, which has no checksums. What can be seen of it reads as `Unknown` (L9), or ends the writing.
 */
import { closeSync, existsSync, openSync, readFileSync, readSync, statSync, writeFileSync } from 'node:fs'
import { ConvokeError } from '../../domain/errors.ts'
import { lookAtWal, type WalLook } from './wal.ts'

/** How every database begins (sqlite.org/fileformat2.html). */
const MAGIC = Buffer.from('SQLite format 3\0')

/** @throws {ConvokeError} `store_damaged`. To be called before the database at `file` is opened: opening and closing it removes the traces. */
export function requireWhole(file: string): void {
  const wal = `${file}-wal`
  const look = lookAtWal(wal, `${file}-shm`)
  const isGone = (statSync(file, { throwIfNoEntry: false })?.size ?? 0) === 0
  if (look === undefined) {
    if (isGone && hasMark(file)) throw damaged(`${file} is missing or empty, and a server has had its log there`, `remove ${markOf(file)} to begin a new log`)
    return
  }
  if (isGone) {
    throw damaged(`${file} is missing or empty, and there is a write-ahead log of it`, `remove ${wal} to begin a new log`)
  }
  // SQLite takes the pages that stand in the write-ahead log from there, and would go on with the rest of whatever this file is.
  if (!beginsAsDatabase(file)) throw damaged(`${file} is no database, and there is a write-ahead log of one`, `move both away to begin a new log`)
  if (look.headless) throw damaged(`the head of ${wal} cannot be read`, `remove it to go on without what it held`)
  const behind = acknowledgedBehind(look)
  if (behind === undefined) return
  const how = look.soundBytes === 0 ? `remove ${wal}` : `cut ${wal} to ${look.soundBytes} bytes and remove ${file}-shm`
  throw damaged(`${wal} is damaged behind byte ${look.soundBytes}: ${behind}`, `${how} to go on without them`)
}

function beginsAsDatabase(file: string): boolean {
  const fd = openSync(file, 'r')
  try {
    const head = Buffer.alloc(MAGIC.length)
    readSync(fd, head, 0, MAGIC.length, 0)
    return head.equals(MAGIC)
  } finally {
    closeSync(fd)
  }
}

/** What was acknowledged and cannot be read, in words. */
function acknowledgedBehind({ framesKnown, framesSound, transactionsBehind }: WalLook): string | undefined {
  if (framesKnown !== undefined && framesKnown > framesSound) return `${framesKnown - framesSound} committed pages cannot be read`
  return transactionsBehind > 0 ? `${transactionsBehind} or more transactions cannot be read` : undefined
}

function damaged(what: string, way: string): ConvokeError {
  return new ConvokeError('store_damaged', `${what}; restore the data folder from a backup, or ${way}`)
}

/**
 * Beside the log stands the driver number of its last opening. A log whose own number is lower has lost what came after its last checkpoint, with the
 * write-ahead log that held it. @see D2
 *
 * @throws {ConvokeError} `store_damaged`
 */
export function requireNewest(file: string, logId: string, driver: number): void {
  const mark = markOf(file)
  const [id, marked] = readMark(mark)
  // A restored log has an id of its own.
  if (id !== logId || Number(marked) <= driver) return
  throw damaged(`${file} is older than what its last server wrote, and ${file}-wal is missing or another one`, `remove ${mark} to go on without what is gone`)
}

/** Leaves the number of this opening, once the log has it. */
export function leaveMark(file: string, logId: string, driver: number): void {
  writeFileSync(markOf(file), `${logId} ${driver}\n`)
}

/** Whether a server has opened the log at `file` before: then there was one. */
function hasMark(file: string): boolean {
  const [id, marked] = readMark(markOf(file))
  return id !== undefined && Number(marked) > 0
}

function readMark(mark: string): readonly string[] {
  return existsSync(mark) ? readFileSync(mark, 'utf8').trim().split(' ') : []
}

function markOf(file: string): string {
  return `${file.replace(/\.db$/, '')}.driver`
}
