/**
 * Packing: rows of deltas of a run that ended a while ago become few rows, from which the batches that they were can be had exactly.
 *
 * A packed row has the feed number of its last batch. Whoever reads the feed from a cursor inside of it must find it from there, too:
 * `pack` says of each packed row where it begins, and none reaches over more than `SPAN_MAX` feed numbers.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { HotStream } from './hot.ts'
import { isDelta } from '../../log/packing.ts'
import { countPlaces, decodePlaces, encodePlace, type Place } from './places.ts'
import { encodeParts, partsOf, type BatchRow, type RowPart } from './rows.ts'

/** Feed numbers that a packed row reaches over at most: a page of the feed looks that far for rows that reach into it. */
export const SPAN_MAX = 2048
/** Characters of bodies that become one row. */
const ROW_CHARS_MAX = 32 * 1024
/** Events of a run below which it is left as it is. */
const EVENTS_MIN = 16

/** A run to pack: what of it is still to be looked at. */
export interface PackDue {
  readonly key: number
  readonly segment: number
  readonly first: number
  readonly last: number
}

/** Packs streams; every call stands inside the writer's transaction. */
export class Packer {
  readonly #insertDue: StatementSync
  readonly #due: StatementSync
  readonly #advance: StatementSync
  readonly #done: StatementSync
  readonly #id: StatementSync
  readonly #block: StatementSync
  readonly #blockBehind: StatementSync
  readonly #setBlock: StatementSync
  readonly #setNewest: StatementSync
  readonly #batch: StatementSync
  readonly #setBatch: StatementSync
  readonly #dropBatch: StatementSync
  readonly #insertPack: StatementSync

  constructor(db: DatabaseSync) {
    this.#insertDue = db.prepare('INSERT INTO pack_due (at_ms, segment, first, last) VALUES (?, ?, ?, ?)')
    this.#due = db.prepare('SELECT key, at_ms, segment, first, last FROM pack_due ORDER BY key LIMIT 1')
    this.#advance = db.prepare('UPDATE pack_due SET first = ? WHERE key = ?')
    this.#done = db.prepare('DELETE FROM pack_due WHERE key = ?')
    this.#id = db.prepare('SELECT id FROM stream WHERE key = ?')
    this.#block = db.prepare('SELECT first, places FROM block WHERE segment = ? AND first <= ? ORDER BY first DESC LIMIT 1')
    this.#blockBehind = db.prepare('SELECT first FROM block WHERE segment = ? AND first > ? ORDER BY first LIMIT 1')
    this.#setBlock = db.prepare('UPDATE block SET places = ? WHERE segment = ? AND first = ?')
    this.#setNewest = db.prepare('UPDATE stream SET places = ? WHERE key = ?')
    this.#batch = db.prepare('SELECT feed, first, last, at_ms, body FROM batch WHERE feed = ?')
    this.#setBatch = db.prepare('UPDATE batch SET first = ?, at_ms = ?, body = ? WHERE feed = ?')
    this.#dropBatch = db.prepare('DELETE FROM batch WHERE feed = ?')
    this.#insertPack = db.prepare('INSERT INTO pack (last, first) VALUES (?, ?)')
  }

  /** Notes a run that has ended. */
  note(atMs: number, segment: number, first: number, last: number): void {
    if (last - first >= EVENTS_MIN) this.#insertDue.run(atMs, segment, first, last)
  }

  /** The run that ended first, if it ended before `beforeMs`. */
  due(beforeMs: number): PackDue | undefined {
    const found = this.#due.get() as (PackDue & { readonly at_ms: number }) | undefined
    return found !== undefined && found.at_ms < beforeMs ? found : undefined
  }

  /** The session of a run; without one, forgets it. */
  sessionOf(due: PackDue): string | undefined {
    const found = this.#id.get(due.segment) as { id: string } | undefined
    if (found === undefined) this.#done.run(due.key)
    return found?.id
  }

  /** Packs what one block of places, or the stream's row, has of the run, and notes how far that was. */
  pack(due: PackDue, stream: HotStream): void {
    const newest = decodePlaces(stream.places)[0]?.first ?? Infinity
    const block = newest <= due.first ? undefined : (this.#block.get(due.segment, due.first) as { first: number; places: string } | undefined)
    const before = block?.places ?? stream.places
    const after = this.#packPlaces(decodePlaces(before), due)
    if (after !== undefined && block !== undefined) this.#setBlock.run(after, due.segment, block.first)
    if (after !== undefined && block === undefined) {
      stream.places = after
      stream.placeCount = countPlaces(after)
      this.#setNewest.run(after, due.segment)
    }
    const behind = block === undefined ? Infinity : ((this.#blockBehind.get(due.segment, block.first) as { first: number } | undefined)?.first ?? newest)
    if (behind > due.last) this.#done.run(due.key)
    else this.#advance.run(behind, due.key)
  }

  /** The places as they are afterwards; `undefined` where nothing was packed. */
  #packPlaces(places: readonly Place[], due: PackDue): string | undefined {
    const after: Place[] = []
    let group: BatchRow[] = []
    let chars = 0
    const close = () => {
      const first = group[0]
      const last = group.at(-1)
      if (first !== undefined && last !== undefined) {
        if (group.length > 1) this.#write(group)
        after.push({ first: first.first, feed: last.feed })
      }
      group = []
      chars = 0
    }
    for (const place of places) {
      const row = place.first >= due.first && place.first <= due.last ? this.#deltasAt(place) : undefined
      const first = group[0]
      const fits = row !== undefined && chars + row.body.length <= ROW_CHARS_MAX && (first === undefined || row.feed - first.feed < SPAN_MAX)
      const follows = row !== undefined && (group.at(-1)?.last ?? row.first - 1) + 1 === row.first
      if (!fits || !follows) close()
      if (row === undefined) after.push(place)
      else {
        group.push(row)
        chars += row.body.length
      }
    }
    close()
    return after.length === places.length ? undefined : after.map(({ first, feed }) => encodePlace(first, feed)).join('')
  }

  /** The batch at `place`, if it is of deltas alone. */
  #deltasAt({ feed, first }: Place): BatchRow | undefined {
    const row = this.#batch.get(feed) as BatchRow | undefined
    if (row === undefined || row.first !== first || row.body.length > ROW_CHARS_MAX) return undefined
    const parts = partsOf(row)
    return parts?.length === 1 && parts[0]?.values.every(isDelta) === true ? row : undefined
  }

  #write(group: readonly BatchRow[]): void {
    const parts = group.flatMap((row): readonly RowPart[] => partsOf(row) ?? [])
    const [first] = parts
    const last = group.at(-1)
    if (first === undefined || last === undefined) return
    for (const { feed } of group) if (feed !== last.feed) this.#dropBatch.run(feed)
    this.#setBatch.run(first.from, first.atMs, encodeParts(parts), last.feed)
    this.#insertPack.run(last.feed, first.feed)
  }
}
