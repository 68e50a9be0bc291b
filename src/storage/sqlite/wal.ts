/**
 * A look at SQLite's write-ahead log without SQLite, which drops without a word what stands behind a damaged frame.
 *
 * The format is that of sqlite.org/walformat.html: a head of 32 bytes, then frames of one page each. Every frame carries the salts of its head and a
 * checksum over all that stands before it; the last frame of a transaction says how many pages the database has then.
 */
import { closeSync, openSync, readFileSync, readSync, statSync } from 'node:fs'

const HEAD_BYTES = 32
const FRAME_HEAD_BYTES = 24
/** The first word of a head, up to its last bit: that says in which order the bytes of a checksum's words stand. */
const MAGIC = 0x377f0682
const PAGE_BYTES_MIN = 512
const PAGE_BYTES_MAX = 65_536
/** Bytes that are read at once. */
const READ_BYTES = 1024 * 1024
/** Bytes of the index beside the log that are of interest here. */
const INDEX_BYTES = 48

/** What stands in a write-ahead log. */
export interface WalLook {
  /** Bytes up to the end of the last transaction that can be read: all that SQLite will see. */
  readonly soundBytes: number
  /** The head cannot be read, and there are frames behind it. */
  readonly headless: boolean
  /**
   * A damaged frame, and behind it the ends of this many transactions of the same log, each with a frame that was written after it. Nothing follows
   * a transaction before its fsync, so these were acknowledged. What several power cuts left lies behind each other, too, but does not follow.
   */
  readonly transactionsBehind: number
  /** Frames that the last process had committed, by the index that it left; `undefined` where that is of another log, or unreadable. */
  readonly framesKnown: number | undefined
  /** Frames up to `soundBytes`. */
  readonly framesSound: number
}

/** Looks at the log at `file` and the index at `index`. `undefined` where there is no log, or nothing in it. */
export function lookAtWal(file: string, index: string): WalLook | undefined {
  const size = statSync(file, { throwIfNoEntry: false })?.size ?? 0
  if (size <= HEAD_BYTES) return undefined
  const fd = openSync(file, 'r')
  try {
    const head = Buffer.alloc(HEAD_BYTES)
    readSync(fd, head, 0, HEAD_BYTES, 0)
    const sound = parseHead(head)
    const nothing = { soundBytes: 0, headless: size >= HEAD_BYTES + FRAME_HEAD_BYTES + PAGE_BYTES_MIN, transactionsBehind: 0 }
    if (sound === undefined) return { ...nothing, framesKnown: undefined, framesSound: 0 }
    const { committed, behind } = walk(fd, sound)
    const frameBytes = FRAME_HEAD_BYTES + sound.pageBytes
    const soundBytes = committed === 0 ? 0 : HEAD_BYTES + committed * frameBytes
    return { soundBytes, headless: false, transactionsBehind: behind, framesKnown: framesIn(index, sound.salts), framesSound: committed }
  } finally {
    closeSync(fd)
  }
}

interface Head {
  readonly pageBytes: number
  readonly salts: Buffer
  readonly sum: Sum
  readonly bigEndian: boolean
}
type Sum = readonly [number, number]

function parseHead(head: Buffer): Head | undefined {
  const magic = head.readUInt32BE(0)
  const pageBytes = head.readUInt32BE(8)
  const isPower = pageBytes >= PAGE_BYTES_MIN && pageBytes <= PAGE_BYTES_MAX && (pageBytes & (pageBytes - 1)) === 0
  if ((magic & ~1) >>> 0 !== MAGIC || !isPower) return undefined
  const bigEndian = (magic & 1) === 1
  const sum = add([0, 0], head.subarray(0, 24), bigEndian)
  if (sum[0] !== head.readUInt32BE(24) || sum[1] !== head.readUInt32BE(28)) return undefined
  return { pageBytes, salts: head.subarray(16, 24), sum, bigEndian }
}

/** Frames up to the last transaction that is sound, and ends of transactions behind the first frame that is not, each with a frame that follows. */
function walk(fd: number, { pageBytes, salts, sum: first, bigEndian }: Head): { readonly committed: number; readonly behind: number } {
  let sum = first
  let broken = false
  let endsBefore = false
  let frames = 0
  let committed = 0
  let behind = 0
  for (const frame of framesOf(fd, FRAME_HEAD_BYTES + pageBytes)) {
    // Frames of an older log may stand behind: their pages are in the database.
    const ours = frame.subarray(8, 16).equals(salts)
    const next = add(add(sum, frame.subarray(0, 8), bigEndian), frame.subarray(FRAME_HEAD_BYTES), bigEndian)
    const said: Sum = [frame.readUInt32BE(16), frame.readUInt32BE(20)]
    const follows = ours && next[0] === said[0] && next[1] === said[1]
    if (broken && follows && endsBefore) behind++
    broken ||= !follows
    // What a damaged frame says of itself is what the next one was built on.
    sum = said
    endsBefore = ours && frame.readUInt32BE(4) !== 0
    frames++
    if (!broken && endsBefore) committed = frames
  }
  return { committed, behind }
}

function* framesOf(fd: number, frameBytes: number): Generator<Buffer> {
  const buffer = Buffer.alloc(Math.max(1, Math.floor(READ_BYTES / frameBytes)) * frameBytes)
  for (let at = HEAD_BYTES; ;) {
    const read = readSync(fd, buffer, 0, buffer.length, at)
    for (let from = 0; from + frameBytes <= read; from += frameBytes) yield buffer.subarray(from, from + frameBytes)
    if (read < buffer.length) return
    at += read
  }
}

/** The checksum goes on over `bytes`, two words at a time. */
function add([before0, before1]: Sum, bytes: Buffer, bigEndian: boolean): Sum {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  let sum0 = before0
  let sum1 = before1
  for (let at = 0; at < bytes.length; at += 8) {
    sum0 = (sum0 + view.getUint32(at, !bigEndian) + sum1) >>> 0
    sum1 = (sum1 + view.getUint32(at + 4, !bigEndian) + sum0) >>> 0
  }
  return [sum0, sum1]
}

/**
 * Frames that the index counts, if it is of the log with `salts`. The index is written after the log's fsync: what it counts was acknowledged.
 * Both copies of its head must be alike, else its writer was stopped inside.
 */
function framesIn(index: string, salts: Buffer): number | undefined {
  let bytes: Buffer
  try {
    bytes = readFileSync(index).subarray(0, 2 * INDEX_BYTES)
  } catch {
    // Without it the log itself is all that can be looked at.
    return undefined
  }
  if (bytes.length < 2 * INDEX_BYTES || !bytes.subarray(0, INDEX_BYTES).equals(bytes.subarray(INDEX_BYTES))) return undefined
  if (!bytes.subarray(32, 40).equals(salts)) return undefined
  // In the machine's own order; the version in front tells which.
  const littleEndian = bytes.readUInt32LE(0) === 3_007_000
  return littleEndian ? bytes.readUInt32LE(16) : bytes.readUInt32BE(16)
}
