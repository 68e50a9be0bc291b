/**
 * Segments: where a stream's events stand.
 *
 * What is written to a stream stands in its own segment, which has its key. A fork inherits: its positions up to `base` stand in other
 * segments, one row of `inherit` each, in order; the list is flat, so that a fork of a fork is read like any other.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { Position } from '../../domain/ids.ts'

/** What a stream takes from one segment. */
export interface Piece {
  readonly segment: number
  /** Last position of it; the piece begins behind the one before. */
  readonly last: Position
  /** Messages of the stream up to `last`. */
  readonly messages: number
}

/** Which part of a stream to look at. */
export interface StreamKey {
  readonly key: number
  readonly base: Position
}

/** The rows of `inherit`, on the connection of the reader or the writer. */
export class Segments {
  readonly #behind: StatementSync
  readonly #holding: StatementSync
  readonly #before: StatementSync
  readonly #withMessage: StatementSync
  readonly #messageAt: StatementSync

  constructor(db: DatabaseSync) {
    const columns = 'SELECT segment, last, messages FROM inherit WHERE stream = ?'
    this.#behind = db.prepare(`${columns} AND last > ? ORDER BY last`)
    this.#holding = db.prepare(`${columns} AND last >= ? ORDER BY last LIMIT 1`)
    this.#before = db.prepare(`${columns} AND last < ? ORDER BY last DESC`)
    this.#withMessage = db.prepare(`${columns} AND messages > ? ORDER BY last`)
    this.#messageAt = db.prepare('SELECT position FROM message WHERE stream = ? AND ordinal = ?')
  }

  /** Where what stands behind position `after` is: inherited pieces first, then the own segment, which has no end. */
  *behind(stream: StreamKey, after: Position): Generator<Piece> {
    if (after < stream.base) yield* this.#behind.iterate(stream.key, after) as Iterable<unknown> as Iterable<Piece>
    yield ownPiece(stream.key)
  }

  /** The same from position `upTo` backwards: the piece that holds it comes first, its end as it is. */
  *backFrom(stream: StreamKey, upTo: Position): Generator<Piece> {
    if (upTo > stream.base) yield ownPiece(stream.key)
    if (stream.base === 0) return
    const holding = this.#holding.get(stream.key, Math.min(upTo, stream.base)) as Piece | undefined
    if (holding === undefined) return
    yield holding
    yield* this.#before.iterate(stream.key, holding.last) as Iterable<unknown> as Iterable<Piece>
  }

  /** Where the messages behind the first `skip` are, in order. */
  *withMessages(stream: StreamKey, skip: number): Generator<Piece> {
    if (stream.base > 0) yield* this.#withMessage.iterate(stream.key, skip) as Iterable<unknown> as Iterable<Piece>
    yield ownPiece(stream.key)
  }

  /** What a fork of `stream` at position `at` inherits; `total` are the messages of the whole stream. */
  inheritedAt(stream: StreamKey, at: Position, total: number): readonly Piece[] {
    const before = stream.base === 0 ? [] : (this.#before.all(stream.key, at) as unknown as readonly Piece[]).toReversed()
    const inherited = at > stream.base ? undefined : (this.#holding.get(stream.key, at) as Piece | undefined)
    const holding = inherited ?? ownPiece(stream.key)
    const messages = this.#countUpTo(holding.segment, at, before.at(-1)?.messages ?? 0, Math.min(total, holding.messages))
    return [...before, { segment: holding.segment, last: at, messages }]
  }

  /** Messages up to position `at`: at least `low`, at most `high`. Ordinals grow with positions, so few of them are looked at. */
  #countUpTo(segment: number, at: Position, low: number, high: number): number {
    let [from, to] = [low, high]
    while (from < to) {
      const middle = (from + to) >> 1
      const found = this.#messageAt.get(segment, middle) as { position: number } | undefined
      if (found !== undefined && found.position <= at) from = middle + 1
      else to = middle
    }
    return from
  }
}

function ownPiece(segment: number): Piece {
  return { segment, last: Infinity, messages: Infinity }
}
