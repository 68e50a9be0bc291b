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
import type { Leftover } from '../../log/upkeep.ts'
import { runId, sessionId, userId } from '../../domain/ids.ts'
import { READ_EVENTS_MAX } from '../../log/store.ts'
import { decodePlaces, placesFrom, type Place } from './places.ts'
import { FEED_HEAD, lifeOf, pragma } from './meta.ts'
import { decodeBatches, decodeState, type BatchRow, type StreamRow } from './rows.ts'
import { SPAN_MAX } from './packer.ts'
import { Segments, type Piece } from './segments.ts'

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
  readonly #reaching: StatementSync
  readonly #unfinished: StatementSync
  readonly #newest: StatementSync
  readonly #segments: Segments

  constructor(file: string) {
    this.db = new DatabaseSync(file, { readOnly: true, timeout: 5000 })
    this.db.exec(`PRAGMA cache_size = -${CACHE_KIB}`)
    this.#stream = this.db.prepare('SELECT key, id, owner, head, base, state, places FROM stream WHERE id = ?')
    this.#batch = this.db.prepare('SELECT feed, first, last, at_ms, body FROM batch WHERE feed = ?')
    // The block that holds a position begins at or before it: look there first, then go on.
    this.#blocks = this.db.prepare(
      `SELECT first, places FROM block
       WHERE segment = ?1 AND first >= coalesce((SELECT max(first) FROM block WHERE segment = ?1 AND first <= ?2), 1) ORDER BY first`,
    )
    this.#newest = this.db.prepare('SELECT places FROM stream WHERE key = ?')
    this.#segments = new Segments(this.db)
    this.#items = this.db.prepare('SELECT kind, body FROM stream_item WHERE stream = ? ORDER BY kind, ordinal')
    this.#feedEnd = this.db.prepare('SELECT max(feed) AS next, count(*) AS n FROM (SELECT feed FROM batch WHERE feed > ? ORDER BY feed LIMIT ?)')
    this.#feed = this.db.prepare(
      `SELECT b.feed, b.first, b.last, b.at_ms, b.body, s.id FROM batch b JOIN stream s ON s.key = b.segment
       WHERE b.feed > ? AND b.feed <= ? AND s.owner = ? ORDER BY b.feed`,
    )
    this.#reaching = this.db.prepare(
      `SELECT b.feed, b.first, b.last, b.at_ms, b.body, s.id FROM pack p JOIN batch b ON b.feed = p.last JOIN stream s ON s.key = b.segment
       WHERE p.last > ?1 AND p.last < ?1 + ${SPAN_MAX} AND p.first <= ?1 AND s.owner = ?2`,
    )
    this.#feedHead = this.db.prepare(FEED_HEAD)
    this.#unfinished = this.db.prepare('SELECT id, owner, run_id, driver, fence FROM stream WHERE run_id IS NOT NULL AND id > ? ORDER BY id LIMIT ?')
  }

  head(stream: SessionId): Position | undefined {
    return (this.#stream.get(stream) as StreamRow | undefined)?.head
  }

  /** A page without holes: places of which the log has lost the events read as `Unknown`. @see L9 */
  read(stream: SessionId, after: Position, limit: number): Page | undefined {
    return oneMoment(this.db, () => {
      const row = this.#stream.get(stream) as StreamRow | undefined
      return row === undefined ? undefined : { head: row.head, events: this.#page(row, after, Math.min(row.head, after + Math.min(limit, READ_EVENTS_MAX))) }
    })
  }

  #page(row: StreamRow, after: Position, end: Position): readonly Recorded[] {
    const events: Recorded[] = []
    if (after >= end) return events
    let bytes = 0
    for (const { feed, last } of this.#places(row, after, end)) {
      const found = this.#batch.get(feed) as BatchRow | undefined
      if (found === undefined) continue
      for (const batch of decodeBatches(row.id as SessionId, found)) {
        // What stands behind the piece's end is the origin's own.
        if (batch.from > last) break
        const upTo = Math.min(batch.to, last, end)
        fillWithUnknown(events, after, Math.min(batch.from - 1, end), batch.atMs)
        for (let position = after + events.length + 1; position <= upTo; position++) {
          const event = batch.events[position - batch.from]
          if (event !== undefined) events.push({ position, atMs: batch.atMs, event })
        }
      }
      bytes += found.body.length
      if (after + events.length >= end || bytes >= PAGE_BYTES_MAX) return events
    }
    fillWithUnknown(events, after, end, events.at(-1)?.atMs ?? 0)
    return events
  }

  /** Places of the batches behind `after`, each with the last position that counts of it. */
  *#places(row: StreamRow, after: Position, end: Position): Generator<Place & { readonly last: Position }> {
    let from = after + 1
    for (const piece of this.#segments.behind(row, after)) {
      for (const place of this.#placesOf(piece, row, from)) {
        if (place.first > Math.min(piece.last, end)) break
        yield { ...place, last: piece.last }
      }
      from = piece.last + 1
    }
  }

  /** Places of a segment's batches that hold `position` and what comes after it. */
  *#placesOf({ segment }: Piece, row: StreamRow, position: Position): Generator<Place> {
    const text = segment === row.key ? row.places : (this.#newest.get(segment) as { places: string } | undefined)?.places
    const newest = decodePlaces(text ?? '')
    if (position < (newest[0]?.first ?? Infinity)) {
      for (const found of this.#blocks.iterate(segment, position)) {
        yield* placesFrom(decodePlaces((found as unknown as { places: string }).places), position)
      }
    }
    yield* placesFrom(newest, position)
  }

  state(stream: SessionId): SessionState | undefined {
    const [row, items] = oneMoment(this.db, () => {
      const found = this.#stream.get(stream) as StreamRow | undefined
      return [found, (found === undefined ? [] : this.#items.all(found.key)) as unknown as readonly { kind: string; body: string }[]] as const
    })
    if (row === undefined) return undefined
    const parse = <Item>(kind: string) => items.filter((item) => item.kind === kind).map((item) => JSON.parse(item.body) as Item)
    return decodeState(row.state, parse<QueuedMessage>('queue'), parse<OpenCall>('call'))
  }

  readFeed(owner: UserId, after: number, limit: number): FeedPage {
    return oneMoment(this.db, () => this.#feedPage(owner, after, Math.max(1, Math.min(limit, FEED_BATCHES_MAX))))
  }

  #feedPage(owner: UserId, after: number, most: number): FeedPage {
    const { next: end, n } = this.#feedEnd.get(after, most) as { next: number | null; n: number }
    if (end === null) return { next: after, more: false, batches: [] }
    const batches: LogBatch[] = []
    const take = (found: unknown) => {
      const row = found as BatchRow & { id: string }
      batches.push(...decodeBatches(sessionId(row.id), row))
      return row
    }
    let next = end
    let bytes = 0
    for (const found of this.#feed.iterate(after, end, owner)) {
      const row = take(found)
      bytes += row.body.length
      if (bytes < PAGE_BYTES_MAX) continue
      next = row.feed
      break
    }
    // Rows that are packed have the number of their last batch: those that end behind this page may begin in it.
    for (const found of this.#reaching.iterate(next, owner)) take(found)
    const inside = batches.filter(({ feed }) => feed > after && feed <= next)
    return { next, more: next < end || n === most, batches: inside.sort((a, b) => a.feed - b.feed) }
  }

  feedHead(): number {
    return (this.#feedHead.get() as { feed: number }).feed
  }

  idleSessions(sinceMs: number, limit: number): readonly SessionId[] {
    const sql = `SELECT n.id FROM session n JOIN stream s ON s.key = n.key
      WHERE n.updated_at_ms <= ? AND s.run_id IS NULL ORDER BY n.updated_at_ms, n.id LIMIT ?`
    return this.db
      .prepare(sql)
      .all(sinceMs, limit)
      .map(({ id }) => sessionId(String(id)))
  }

  usedBytes(): number {
    return oneMoment(this.db, () => (pragma(this.db, 'page_count') - pragma(this.db, 'freelist_count')) * pragma(this.db, 'page_size'))
  }

  /** Erased sessions whose files may still be there. */
  leftovers(limit: number): readonly Leftover[] {
    const reader = this.db.prepare('SELECT s.id, i.last FROM inherit i JOIN stream s ON s.key = i.stream WHERE i.segment = ? ORDER BY i.last DESC LIMIT 1')
    return oneMoment(this.db, () =>
      this.db
        .prepare('SELECT id, segment FROM leftover ORDER BY id LIMIT ?')
        .all(limit)
        .map(({ id, segment }) => {
          const found = reader.get(Number(segment))
          const stream = sessionId(String(id))
          return found === undefined ? { stream } : { stream, readBy: { stream: sessionId(String(found['id'])), upTo: Number(found['last']) } }
        }),
    )
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

/** Reads of one moment: the writer may commit between two statements. Short, so that no read holds the WAL back. */
export function oneMoment<T>(db: DatabaseSync, read: () => T): T {
  db.exec('BEGIN')
  try {
    return read()
  } finally {
    db.exec('COMMIT')
  }
}
