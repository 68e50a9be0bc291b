/** The tables that hold one row per stream and what hangs on it: state, items, summary, messages. */
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { OpenCall, QueuedMessage, SessionState } from '../../domain/session.ts'
import type { SessionSummary } from '../../projection/session-summary.ts'
import type { TranscriptMessage } from '../../projection/transcript.ts'
import type { HotStream } from './hot.ts'
import type { Piece } from './segments.ts'
import { countPlaces, decodePlaces, encodePlace, PLACES_PER_BLOCK } from './places.ts'
import { decodeState, encodeState, type StreamRow } from './rows.ts'

// The key of a segment of which anything is left, a fork's part for example, is not given again.
const INSERT_STREAM = `INSERT INTO stream (key, id, owner, head, base, run_id, driver, fence, state, places)
  VALUES (1 + max(coalesce((SELECT max(key) FROM stream), 0), coalesce((SELECT max(segment) FROM orphan), 0)), ?, ?, ?, ?, ?, ?, ?, ?, ?)`

/** Loads and saves streams for the writer; every call stands inside its transaction. */
export class StreamRows {
  readonly #find: StatementSync
  readonly #findSummary: StatementSync
  readonly #insert: StatementSync
  readonly #setHead: StatementSync
  readonly #setState: StatementSync
  readonly #items: StatementSync
  readonly #setItem: StatementSync
  readonly #dropItems: StatementSync
  readonly #setSummary: StatementSync
  readonly #setSummaryBody: StatementSync
  readonly #count: StatementSync
  readonly #insertBlock: StatementSync
  readonly #addMessage: StatementSync
  readonly #insertPiece: StatementSync

  constructor(db: DatabaseSync) {
    this.#find = db.prepare('SELECT key, id, owner, head, base, state, places FROM stream WHERE id = ?')
    this.#findSummary = db.prepare('SELECT body FROM session WHERE key = ?')
    this.#insert = db.prepare(INSERT_STREAM)
    this.#setHead = db.prepare('UPDATE stream SET head = ?, places = ? WHERE key = ?')
    this.#setState = db.prepare('UPDATE stream SET head = ?, owner = ?, run_id = ?, driver = ?, fence = ?, state = ?, places = ? WHERE key = ?')
    this.#items = db.prepare('SELECT kind, body FROM stream_item WHERE stream = ? ORDER BY kind, ordinal')
    this.#setItem = db.prepare('INSERT INTO stream_item (stream, kind, ordinal, body) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET body = excluded.body')
    this.#dropItems = db.prepare('DELETE FROM stream_item WHERE stream = ? AND kind = ? AND ordinal >= ?')
    this.#setSummary = db.prepare(
      `INSERT INTO session (key, id, owner, status, updated_at_ms, title, body) VALUES (?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET owner = excluded.owner, status = excluded.status, updated_at_ms = excluded.updated_at_ms,
         title = excluded.title, body = excluded.body`,
    )
    this.#setSummaryBody = db.prepare('UPDATE session SET body = ? WHERE key = ?')
    this.#count = db.prepare('INSERT INTO session_count (owner, status, n) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET n = n + excluded.n')
    this.#insertBlock = db.prepare('INSERT INTO block (segment, first, places) VALUES (?, ?, ?)')
    this.#insertPiece = db.prepare('INSERT INTO inherit (stream, last, segment, messages) VALUES (?, ?, ?, ?)')
    this.#addMessage = db.prepare('INSERT INTO message (stream, ordinal, position, body) VALUES (?, ?, ?, ?)')
  }

  /** The stream as the tables hold it; an empty one if there is none. */
  load(id: string): HotStream {
    const row = this.#find.get(id) as StreamRow | undefined
    if (row === undefined)
      return {
        key: undefined,
        head: 0,
        base: 0,
        places: '',
        placeCount: 0,
        state: undefined,
        summary: undefined,
        stored: { state: undefined, summary: undefined, head: 0 },
      }
    const state = decodeState(row.state, this.#loadItems(row.key, 'queue'), this.#loadItems(row.key, 'call'))
    const body = (this.#findSummary.get(row.key) as { body: string } | undefined)?.body
    const summary = body === undefined ? undefined : (JSON.parse(body) as SessionSummary)
    const { key, head, base, places } = row
    return { key, head, base, places, placeCount: countPlaces(places), state, summary, stored: { state, summary, head: row.head } }
  }

  /** Makes the row of a new stream, as it is now. Answers its key. */
  insert(id: string, stream: HotStream): number {
    const { head, base, state, stored } = stream
    const run = state?.run
    const encoded = state === undefined ? '' : encodeState(state)
    const values = [id, state?.owner ?? '', head, base, run?.id ?? null, run?.driver ?? null, state?.fence ?? 0, encoded, stream.places] as const
    const { lastInsertRowid } = this.#insert.run(...values)
    // What waits or is called has rows of its own, which are still to be written.
    const isWhole = state !== undefined && state.queue.length === 0 && state.calls.length === 0
    stream.stored = { ...stored, ...(isWhole ? { state, head } : {}) }
    return Number(lastInsertRowid)
  }

  /** Notes what a fork inherits. */
  inherit(key: number, pieces: readonly Piece[]): void {
    for (const { segment, last, messages } of pieces) this.#insertPiece.run(key, last, segment, messages)
  }

  /** Writes what differs from the tables. */
  save(stream: HotStream): void {
    const { key, state, summary, stored } = stream
    if (key === undefined || state === undefined) return
    const { head } = stream
    if (state !== stored.state) this.#saveState(key, stream, state, stored.state)
    else if (head !== stored.head) this.#setHead.run(head, stream.places, key)
    if (summary !== undefined && summary !== stored.summary) this.#saveSummary(key, summary, stored.summary)
    stream.stored = { state, summary, head }
  }

  /** Notes where a batch stands; a full block moves out of the stream's row. */
  addPlace(stream: HotStream, first: number, feed: number): void {
    stream.places += encodePlace(first, feed)
    stream.placeCount++
    if (stream.placeCount < PLACES_PER_BLOCK || stream.key === undefined) return
    this.#insertBlock.run(stream.key, decodePlaces(stream.places)[0]?.first ?? first, stream.places)
    stream.places = ''
    stream.placeCount = 0
  }

  /** Adds a finished message; its ordinal is the number of messages before it. */
  addMessage(stream: HotStream, message: TranscriptMessage): void {
    if (stream.key === undefined) return
    this.#addMessage.run(stream.key, stream.summary?.messageCount ?? 0, message.position, JSON.stringify(message))
  }

  #saveState(key: number, { head, places }: HotStream, state: SessionState, before: SessionState | undefined): void {
    this.#setState.run(head, state.owner, state.run?.id ?? null, state.run?.driver ?? null, state.fence, encodeState(state), places, key)
    this.#saveItems(key, 'queue', state.queue, before?.queue ?? [])
    this.#saveItems(key, 'call', state.calls, before?.calls ?? [])
  }

  #saveItems(key: number, kind: 'queue' | 'call', items: readonly (QueuedMessage | OpenCall)[], before: readonly (QueuedMessage | OpenCall)[]): void {
    if (items === before) return
    items.forEach((item, ordinal) => {
      if (item !== before[ordinal]) this.#setItem.run(key, kind, ordinal, JSON.stringify(item))
    })
    if (items.length < before.length) this.#dropItems.run(key, kind, items.length)
  }

  #loadItems<Item extends QueuedMessage | OpenCall>(key: number, kind: 'queue' | 'call'): readonly Item[] {
    const rows = this.#items.all(key) as unknown as readonly { kind: string; body: string }[]
    return rows.filter((row) => row.kind === kind).map((row) => JSON.parse(row.body) as Item)
  }

  #saveSummary(key: number, summary: SessionSummary, before: SessionSummary | undefined): void {
    if (before !== undefined && isListedAlike(summary, before)) return void this.#setSummaryBody.run(JSON.stringify(summary), key)
    this.#setSummary.run(key, summary.id, summary.owner, summary.status, summary.updatedAtMs, summary.title, JSON.stringify(summary))
    if (before?.owner === summary.owner && before.status === summary.status) return
    if (before !== undefined) this.#count.run(before.owner, before.status, -1)
    this.#count.run(summary.owner, summary.status, 1)
  }
}

/** Whether nothing changed that an index holds: then the row alone is written. */
function isListedAlike(a: SessionSummary, b: SessionSummary): boolean {
  return a.owner === b.owner && a.status === b.status && a.updatedAtMs === b.updatedAtMs && a.title === b.title
}
