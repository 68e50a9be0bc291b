/**
 * A session as a file of JSON Lines, for people, other programs and other data folders.
 *
 * X1. The first line is the header, then one line per event in order, then the pieces of tools' output files, then the trailer.
 * X2. An event's line has its position, its time and the event as it was stored, so that exporting what was imported gives the same lines;
 *     the header alone may differ, in the session's id and the log's.
 * X3. The trailer has the SHA-256 of all lines before it, with their line ends.
 */
import { basename } from 'node:path'
import { ConvokeError } from '../../../domain/errors.ts'
import { isUuid } from '../../../domain/ids.ts'

/** What the header calls the format. */
export const SESSION_FORMAT = 'convoke-session'
/** The newest version of it that is known here, and the one that is written. */
export const SESSION_VERSION = 1
/** Longest line of a file, in bytes. */
export const LINE_BYTES_MAX = 64 * 1024 * 1024

/** The first line. */
export interface SessionHeader {
  readonly format: typeof SESSION_FORMAT
  readonly version: number
  readonly session: string
  readonly owner: string
  /** The log that it was exported from. */
  readonly log: string
  readonly events: number
  readonly createdAtMs: number
  readonly updatedAtMs: number
}

/** An event as it was stored, before it is lifted to today's shape. */
export interface StoredEvent {
  readonly type: string
}

/** A line behind the first. */
export type SessionLine =
  | { readonly kind: 'event'; readonly position: number; readonly atMs: number; readonly event: StoredEvent }
  | { readonly kind: 'output'; readonly output: string; readonly part: number; readonly bytes: Uint8Array }
  | { readonly kind: 'trailer'; readonly events: number; readonly sha256: string }

type Fields = Readonly<Record<string, unknown>>

/** The header in a first line. @throws {ConvokeError} `invalid_request`; `store_newer` for a format that a newer version wrote */
export function parseHeader(text: string): SessionHeader {
  const fields = fieldsOf(text, 1)
  if (fields['format'] !== SESSION_FORMAT || !isCount(fields['version'])) throw broken(1, 'this is no exported session')
  if (fields['version'] > SESSION_VERSION) {
    throw new ConvokeError(
      'store_newer',
      `the file has format ${fields['version']}, this version of convoke knows up to ${SESSION_VERSION}: use a newer convoke`,
    )
  }
  const { session, owner, log, events, createdAtMs, updatedAtMs } = fields
  if (typeof session !== 'string' || !isUuid(session) || typeof owner !== 'string' || typeof log !== 'string')
    throw broken(1, 'the header lacks session, owner or log')
  if (!isCount(events) || !isCount(createdAtMs) || !isCount(updatedAtMs)) throw broken(1, 'the header lacks events or times')
  return { format: SESSION_FORMAT, version: fields['version'], session: session.toLowerCase(), owner, log, events, createdAtMs, updatedAtMs }
}

/** What a line behind the first says. @throws {ConvokeError} `invalid_request`, naming the line */
export function parseLine(text: string, line: number): SessionLine {
  const fields = fieldsOf(text, line)
  const { position, atMs, event, output, part, base64, events, sha256 } = fields
  if (isCount(position) && isCount(atMs) && isStored(event)) return { kind: 'event', position, atMs, event }
  if (typeof output === 'string' && isCount(part) && typeof base64 === 'string') {
    if (output === '' || output !== basename(output) || output.startsWith('.')) throw broken(line, 'the name of an output file leads elsewhere')
    return { kind: 'output', output, part, bytes: Buffer.from(base64, 'base64') }
  }
  if (isCount(events) && typeof sha256 === 'string') return { kind: 'trailer', events, sha256 }
  throw broken(line, 'it is neither an event nor an output file nor the end')
}

/** What is wrong with a file. */
export function broken(line: number, what: string): ConvokeError {
  return new ConvokeError('invalid_request', `the file cannot be imported: line ${line}: ${what}`)
}

function fieldsOf(text: string, line: number): Fields {
  try {
    const value = JSON.parse(text) as unknown
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields
  } catch {
    // Said below.
  }
  throw broken(line, 'it is no JSON object')
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function isStored(value: unknown): value is StoredEvent {
  // What has `deltas` is several events in one, as only the store writes them.
  return typeof value === 'object' && value !== null && 'type' in value && typeof value.type === 'string' && !('deltas' in value)
}

/** Whole lines of a stream, without their ends, with their bytes as they came. The last one may lack its end. @throws {ConvokeError} `invalid_request` */
export async function* linesOf(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<{ readonly text: string; readonly bytes: Uint8Array }> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  let pieces: Uint8Array[] = []
  let length = 0
  let line = 1
  const take = (last: Uint8Array) => {
    const bytes = Buffer.concat([...pieces, last])
    pieces = []
    length = 0
    try {
      return { text: decoder.decode(bytes), bytes }
    } catch {
      throw broken(line, 'it is no UTF-8')
    } finally {
      line++
    }
  }
  for await (const chunk of chunks) {
    let from = 0
    for (let end = chunk.indexOf(0x0a); end !== -1; end = chunk.indexOf(0x0a, from)) {
      const { text, bytes } = take(chunk.subarray(from, end + 1))
      yield { text: text.slice(0, -1), bytes }
      from = end + 1
    }
    pieces.push(Uint8Array.from(chunk.subarray(from)))
    length += chunk.length - from
    if (length > LINE_BYTES_MAX) throw broken(line, `it is longer than ${LINE_BYTES_MAX} bytes`)
  }
  if (length > 0) yield take(new Uint8Array())
}
