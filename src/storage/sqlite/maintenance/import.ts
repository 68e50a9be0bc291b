/**
 * Reads a session from a file (`session-file.ts`) into a data folder that no server has open: a running one numbers its batches itself.
 *
 * I1. All or nothing: one transaction, and output files that are moved to their place just before its end.
 * I2. Events stay as they are in the file; state, lists and messages are folded from them as for any write.
 * I3. A run that had not ended goes on at the next start, as after a crash: this log's driver numbers begin behind the run's.
 */
import { createHash } from 'node:crypto'
import { appendFileSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import type { SessionId } from '../../../domain/ids.ts'
import type { HotStream } from '../hot.ts'
import { ConvokeError } from '../../../domain/errors.ts'
import type { StreamEvent } from '../../../domain/event.ts'
import { readEvent } from '../../../domain/event-types.ts'
import { parseSessionId, sessionId } from '../../../domain/ids.ts'
import { fold } from '../../../log/apply.ts'
import { summarize } from '../../../projection/session-summary.ts'
import { messageOf } from '../../../projection/transcript.ts'
import { FEED_HEAD } from '../meta.ts'
import { encodeEvents } from '../rows.ts'
import { StreamRows } from '../stream-rows.ts'
import { sync } from './disk.ts'
import { alone, lookWhole, metaOf, openReadOnly, requireLog, type LogFolder } from './open.ts'
import { broken, linesOf, parseHeader, parseLine, type SessionHeader, type SessionLine, type StoredEvent } from './session-file.ts'

/** Where output files wait until the session is whole, below the data folder. */
const STAGING = 'importing'
/** Events that one batch holds at most. */
const BATCH_EVENTS_MAX = 512
/** Pages that a transaction holds in memory, in KiB; what is more waits in the write-ahead log. */
const CACHE_KIB = 16 * 1024

/** What was imported. */
export interface ImportReport {
  readonly session: SessionId
  readonly events: number
  readonly outputs: number
  /** Whether a run goes on at the next start. */
  readonly unfinished: boolean
}

/**
 * Imports the session in `chunks`.
 *
 * @param as The id that it gets; its own by default.
 * @throws {ConvokeError} `session_exists`; `invalid_request` for a file that is damaged, `store_newer` for a newer one; `store_locked`, `store_damaged`, `store_failed`
 */
export async function importSession(where: LogFolder, chunks: AsyncIterable<Uint8Array>, as?: string): Promise<ImportReport> {
  const file = requireLog(where.folder)
  const asked = as === undefined ? undefined : parseSessionId(as)
  if (as !== undefined && asked === undefined) throw new ConvokeError('invalid_request', `${as} is no session id: a UUID`)
  return alone(where.folder, async () => {
    lookWhole(file)
    openReadOnly(file).close()
    const staging = join(where.folder, STAGING)
    rmSync(staging, { recursive: true, force: true })
    const db = new DatabaseSync(file)
    try {
      db.exec(`PRAGMA synchronous = FULL; PRAGMA cache_size = -${CACHE_KIB}; BEGIN IMMEDIATE`)
      const written = await readInto(db, chunks, { staging, asked })
      const outputs = placeOutputs(staging, join(where.folder, where.outputs, written.session))
      db.exec('COMMIT; PRAGMA wal_checkpoint(TRUNCATE)')
      return { ...written, outputs }
    } finally {
      // Closing takes back what was not committed.
      db.close()
      rmSync(staging, { recursive: true, force: true })
    }
  })
}

async function readInto(
  db: DatabaseSync,
  chunks: AsyncIterable<Uint8Array>,
  { staging, asked }: { readonly staging: string; readonly asked: SessionId | undefined },
): Promise<Omit<ImportReport, 'outputs'>> {
  const hash = createHash('sha256')
  const parts = new Map<string, number>()
  let writer: SessionWriter | undefined
  let line = 0
  let end: Extract<SessionLine, { kind: 'trailer' }> | undefined
  for await (const { text, bytes } of linesOf(chunks)) {
    line++
    if (end !== undefined) throw broken(line, 'there is something behind the end')
    if (writer === undefined) writer = new SessionWriter(db, parseHeader(text), asked)
    else {
      const said = parseLine(text, line)
      if (said.kind === 'event') writer.add(said, line)
      else if (said.kind === 'output') takeOutput(staging, said, parts, line)
      else end = said
    }
    if (end === undefined) hash.update(bytes)
  }
  if (writer === undefined || end === undefined) throw broken(line + 1, 'the end is missing')
  if (end.sha256 !== hash.digest('hex')) throw broken(line, 'the checksum is another one: the file was damaged or changed')
  return writer.finish(end.events, line)
}

/** Writes output files where they wait; `parts` counts the pieces of each. */
function takeOutput(staging: string, { output, part, bytes }: Extract<SessionLine, { kind: 'output' }>, parts: Map<string, number>, line: number): void {
  const expected = parts.get(output) ?? 0
  if (part !== expected) throw broken(line, `part ${expected} of output file ${output} was expected, ${part} is there`)
  parts.set(output, part + 1)
  mkdirSync(staging, { recursive: true, mode: 0o700 })
  appendFileSync(join(staging, output), bytes, { mode: 0o600 })
}

function placeOutputs(staging: string, folder: string): number {
  const names = readdirSync(dirname(staging)).includes(STAGING) ? readdirSync(staging) : []
  if (names.length === 0) return 0
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  for (const name of names) {
    sync(join(staging, name))
    renameSync(join(staging, name), join(folder, name))
  }
  sync(folder)
  sync(dirname(folder))
  return names.length
}

/** Writes one session, batch by batch, within the caller's transaction. @see I2 */
class SessionWriter {
  readonly #db: DatabaseSync
  readonly #header: SessionHeader
  readonly #id: SessionId
  readonly #rows: StreamRows
  readonly #stream: HotStream
  readonly #insertBatch: StatementSync
  #feed: number
  #waiting: StoredEvent[] = []
  #atMs = 0

  constructor(db: DatabaseSync, header: SessionHeader, asked: SessionId | undefined) {
    this.#db = db
    this.#header = header
    this.#id = asked ?? sessionId(header.session)
    this.#rows = new StreamRows(db)
    this.#stream = this.#rows.load(this.#id)
    if (this.#stream.key !== undefined) {
      throw new ConvokeError('session_exists', `there is a session ${this.#id} already; --new-id imports it under another id, --as ID under one of your choice`)
    }
    // What is left of an erased session, its files too, still goes by its id: it would be taken for a part of this one.
    if (db.prepare('SELECT 1 FROM orphan WHERE id = ?1 UNION ALL SELECT 1 FROM leftover WHERE id = ?1').get(this.#id) !== undefined) {
      throw new ConvokeError('session_exists', `a session ${this.#id} was erased here, and something is left of it; --new-id imports it under another id`)
    }
    this.#insertBatch = db.prepare('INSERT INTO batch (feed, segment, first, last, at_ms, body) VALUES (?, ?, ?, ?, ?, ?)')
    this.#feed = (db.prepare(FEED_HEAD).get() as { feed: number }).feed
  }

  add({ position, atMs, event }: Extract<SessionLine, { kind: 'event' }>, line: number): void {
    if (position !== this.#stream.head + this.#waiting.length + 1) {
      throw broken(line, `position ${this.#stream.head + this.#waiting.length + 1} was expected, ${position} is there`)
    }
    if (position === 1 && readEvent(event).type !== 'SessionCreated') throw broken(line, 'the first event must create the session')
    if (this.#waiting.length > 0 && (atMs !== this.#atMs || this.#waiting.length >= BATCH_EVENTS_MAX)) this.#flush()
    this.#atMs = atMs
    this.#waiting.push(event)
  }

  /** @throws {ConvokeError} `invalid_request` where the file does not hold what it says; `session_exists` where the run goes on in another session */
  finish(events: number, line: number): Omit<ImportReport, 'outputs'> {
    this.#flush()
    const { state, head } = this.#stream
    if (head !== events || head !== this.#header.events) throw broken(line, `${this.#header.events} events were promised, ${head} are there`)
    if (state === undefined || state.owner !== this.#header.owner) throw broken(line, 'the events say another owner than the header')
    if (state.run !== undefined) {
      const { id, driver } = state.run
      const other = this.#db.prepare('SELECT id FROM stream WHERE run_id = ? AND id <> ?').get(id, this.#id)
      if (other !== undefined)
        throw new ConvokeError('session_exists', `its run ${id} has not ended in session ${String(other['id'])} either: it can go on only once`)
      this.#raiseDriver(driver)
    }
    this.#rows.save(this.#stream)
    return { session: this.#id, events, unfinished: state.run !== undefined }
  }

  #flush(): void {
    if (this.#waiting.length === 0) return
    const stored = this.#waiting
    this.#waiting = []
    const stream = this.#stream
    const [from, feed] = [stream.head + 1, ++this.#feed]
    const events = stored.map(readEvent)
    stream.state = fold(stream.state, stream.head, events)
    stream.head += stored.length
    this.#rows.addPlace(stream, from, feed)
    stream.key ??= this.#rows.insert(this.#id, stream)
    // What is stored is what the file says, also where this version cannot read it.
    this.#insertBatch.run(feed, stream.key, from, stream.head, this.#atMs, encodeEvents(stored as readonly unknown[] as readonly StreamEvent[]))
    events.forEach((event, index) => {
      const recorded = { position: from + index, atMs: this.#atMs, event }
      const message = messageOf(recorded)
      if (message !== undefined) this.#rows.addMessage(stream, message)
      stream.summary = summarize(this.#id, stream.summary, recorded)
    })
  }

  /** @see I3 */
  #raiseDriver(driver: number): void {
    const now = Number(metaOf(this.#db, 'driver') ?? 0)
    if (driver > now) this.#db.prepare("UPDATE meta SET value = ? WHERE name = 'driver'").run(String(driver))
  }
}
