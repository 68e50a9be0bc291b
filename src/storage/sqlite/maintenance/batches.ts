/** The batches of one stream as they are stored, for tools that look at every one of them. */
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { decodePlaces, placesFrom, type Place } from '../places.ts'
import type { BatchRow, StreamRow } from '../rows.ts'
import { Segments } from '../segments.ts'

/** A batch with the segment that it belongs to. */
export interface StoredBatch extends BatchRow {
  readonly segment: number
}

/** Reads places and batches; all within the caller's transaction. */
export class Batches {
  readonly #blocks: StatementSync
  readonly #blocksFrom: StatementSync
  readonly #batch: StatementSync
  readonly #newest: StatementSync
  readonly #segments: Segments

  constructor(db: DatabaseSync) {
    this.#blocks = db.prepare('SELECT first, places FROM block WHERE segment = ? ORDER BY first')
    // The block that holds a position begins at or before it.
    this.#blocksFrom = db.prepare(
      `SELECT places FROM block
       WHERE segment = ?1 AND first >= coalesce((SELECT max(first) FROM block WHERE segment = ?1 AND first <= ?2), 1) ORDER BY first`,
    )
    this.#newest = db.prepare('SELECT places FROM stream WHERE key = ?')
    this.#segments = new Segments(db)
    this.#batch = db.prepare('SELECT feed, segment, first, last, at_ms, body FROM batch WHERE feed = ?')
  }

  /** Rows of places, in order: the blocks, then what stands in the stream's row. */
  *placeRows(row: StreamRow): Generator<{ readonly first: number | undefined; readonly places: string }> {
    yield* this.#blocks.iterate(row.key) as unknown as Iterable<{ readonly first: number; readonly places: string }>
    yield { first: undefined, places: row.places }
  }

  /** Places of the batches behind position `after`, those that a fork inherits too, each with the last position that counts of it. */
  *behind(row: StreamRow, after: number): Generator<Place & { readonly last: number }> {
    let from = after + 1
    for (const { segment, last } of this.#segments.behind(row, after)) {
      for (const place of this.#placesFrom(segment, from)) {
        if (place.first > last) break
        yield { ...place, last }
      }
      from = last + 1
    }
  }

  *#placesFrom(segment: number, position: number): Generator<Place> {
    const newest = decodePlaces((this.#newest.get(segment) as { places: string } | undefined)?.places ?? '')
    if (position < (newest[0]?.first ?? Infinity)) {
      for (const block of this.#blocksFrom.iterate(segment, position)) yield* placesFrom(decodePlaces(String(block['places'])), position)
    }
    yield* placesFrom(newest, position)
  }

  /** The batch with feed number `feed`. */
  at(feed: number): StoredBatch | undefined {
    return this.#batch.get(feed) as StoredBatch | undefined
  }
}
