/**
 * Reads: a read-only connection of its own, on the loop, in pages that take about a millisecond at most.
 *
 * Each statement is finished before a method returns, so that no read transaction holds the WAL back.
 */
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import type { Position, SessionId, UserId } from '../../domain/ids.ts'
import type { Recorded } from '../../domain/event.ts'
import type { OpenCall, QueuedMessage, SessionState } from '../../domain/session.ts'
import type { FeedPage, LogBatch, Page, UnfinishedRun } from '../../log/store.ts'
import { runId, sessionId, userId } from '../../domain/ids.ts'
import { READ_EVENTS_MAX } from '../../log/store.ts'
import { decodePlaces, placesFrom, type Place } from './places.ts'
import { lifeOf } from './meta.ts'
import { decodeBatch, decodeState, type BatchRow, type StreamRow } from './rows.ts'

/** Characters of bodies from which a page is full: what is larger would hold the loop up. */
const PAGE_BYTES_MAX = 256 * 1024
/** Batches that one page of the feed looks at. */
const FEED_BATCHES_MAX = 256
/** Memory for pages, in KiB. */
const CACHE_KIB = 8 * 1024

/** The log's read side. */
export class Reader {
  readonly db: DatabaseSync
  readonly #stream: StatementSync
  readonly #batch: StatementSync
  readonly #blocks: StatementSync
  readonly #items: StatementSync
  readonly #feedEnd: StatementSync
  readonly #feed: StatementSync
  readonly #feedHead: StatementSync
  readonly #unfinished: StatementSync

  constructor(file: string) {
    this.db = new DatabaseSync(file, { readOnly: true, timeout: 5000 })
    this.db.exec(`PRAGMA cache_size = -${CACHE_KIB}`)
    this.#stream = this.db.prepare('SELECT key, id, owner, head, state, places FROM stream WHERE id = ?')
    this.#batch = this.db.prepare('SELECT feed, first, last, at_ms, body FROM batch WHERE feed = ?')
    // The block that holds a position begins at or before it: look there first, then go on.
    this.#blocks = this.db.prepare(
      `SELECT first, places FROM block
       WHERE segment = ?1 AND first >= coalesce((SELECT max(first) FROM block WHERE segment = ?1 AND first <= ?2), 1) ORDER BY first`,
    )
    this.#items = this.db.prepare('SELECT kind, body FROM stream_item WHERE stream = ? ORDER BY kind, ordinal')
    this.#feedEnd = this.db.prepare('SELECT max(feed) AS next, count(*) AS n FROM (SELECT feed FROM batch WHERE feed > ? ORDER BY feed LIMIT ?)')
    this.#feed = this.db.prepare(
      `SELECT b.feed, b.first, b.last, b.at_ms, b.body, s.id FROM batch b JOIN stream s ON s.key = b.segment
       WHERE b.feed > ? AND b.feed <= ? AND s.owner = ? ORDER BY b.feed`,
    )
    this.#feedHead = this.db.prepare('SELECT coalesce(max(feed), 0) AS feed FROM batch')
    this.#unfinished = this.db.prepare('SELECT id, owner, run_id, driver, fence FROM stream WHERE run_id IS NOT NULL AND id > ? ORDER BY id LIMIT ?')
  }

  head(stream: SessionId): Position | undefined {
    return (this.#stream.get(stream) as StreamRow | undefined)?.head
  }

  /** A page without holes: places of which the log has lost the events read as `Unknown`. @see L9 */
  read(stream: SessionId, after: Position, limit: number): Page | undefined {
    const row = this.#stream.get(stream) as StreamRow | undefined
    if (row === undefined) return undefined
    const end = Math.min(row.head, after + Math.min(limit, READ_EVENTS_MAX))
    const events: Recorded[] = []
    if (after >= end) return { head: row.head, events }
    let bytes = 0
    for (const { feed } of this.#places(row, after + 1)) {
      const found = this.#batch.get(feed) as BatchRow | undefined
      if (found === undefined) continue
      const batch = decodeBatch(stream, found)
      fillWithUnknown(events, after, Math.min(batch.from - 1, end), batch.atMs)
      for (let position = after + events.length + 1; position <= Math.min(batch.to, end); position++) {
        const event = batch.events[position - batch.from]
        if (event !== undefined) events.push({ position, atMs: batch.atMs, event })
      }
      bytes += found.body.length
      if (after + events.length >= end || bytes >= PAGE_BYTES_MAX) return { head: row.head, events }
    }
    fillWithUnknown(events, after, end, events.at(-1)?.atMs ?? 0)
    return { head: row.head, events }
  }

  /** Places of the batches that hold `position` and what comes after it. */
  *#places(row: StreamRow, position: Position): Generator<Place> {
    const newest = decodePlaces(row.places)
    const newestFirst = newest[0]?.first ?? Infinity
    if (position < newestFirst) {
      for (const found of this.#blocks.iterate(row.key, position)) {
        const block = found as unknown as { first: number; places: string }
        // A commit since the row was read may have made a block of what stands in the row.
        if (block.first >= newestFirst) break
        yield* placesFrom(decodePlaces(block.places), position)
      }
    }
    yield* placesFrom(newest, position)
  }

  state(stream: SessionId): SessionState | undefined {
    // One moment: the writer may commit between two statements.
    this.db.exec('BEGIN')
    const row = this.#stream.get(stream) as StreamRow | undefined
    const items = (row === undefined ? [] : this.#items.all(row.key)) as unknown as readonly { kind: string; body: string }[]
    this.db.exec('COMMIT')
    if (row === undefined) return undefined
    const parse = <Item>(kind: string) => items.filter((item) => item.kind === kind).map((item) => JSON.parse(item.body) as Item)
    return decodeState(row.state, parse<QueuedMessage>('queue'), parse<OpenCall>('call'))
  }

  readFeed(owner: UserId, after: number, limit: number): FeedPage {
    const most = Math.max(1, Math.min(limit, FEED_BATCHES_MAX))
    const { next, n } = this.#feedEnd.get(after, most) as { next: number | null; n: number }
    if (next === null) return { next: after, more: false, batches: [] }
    const batches: LogBatch[] = []
    let bytes = 0
    for (const found of this.#feed.iterate(after, next, owner)) {
      const row = found as unknown as BatchRow & { id: string }
      batches.push(decodeBatch(sessionId(row.id), row))
      bytes += row.body.length
      if (bytes >= PAGE_BYTES_MAX) return { next: row.feed, more: row.feed < next || n === most, batches }
    }
    return { next, more: n === most, batches }
  }

  feedHead(): number {
    return (this.#feedHead.get() as { feed: number }).feed
  }

  unfinishedRuns(limit: number, after: SessionId | undefined): readonly UnfinishedRun[] {
    const rows = this.#unfinished.all(after ?? '', limit) as unknown as readonly { id: string; owner: string; run_id: string; driver: number; fence: number }[]
    return rows.map((row) => {
      const { driver, fence } = row
      return { stream: sessionId(row.id), runId: runId(row.run_id), driver, fence, owner: userId(row.owner) }
    })
  }

  /** Until when a driver of a shared log said that it lives, in ms since the epoch; 0 if it never did. */
  driverLivesUntil(driver: number): number {
    const row = this.db.prepare('SELECT value FROM meta WHERE name = ?').get(lifeOf(driver)) as { value: string } | undefined
    return Number(row?.value ?? 0)
  }

  close(): void {
    if (this.db.isOpen) this.db.close()
  }
}

/** Puts placeholders behind `events`, which begin after `after`, up to position `to`. */
function fillWithUnknown(events: Recorded[], after: Position, to: Position, atMs: number): void {
  for (let position = after + events.length + 1; position <= to; position++) {
    events.push({ position, atMs, event: { type: 'Unknown', originalType: 'damaged' } })
  }
}
