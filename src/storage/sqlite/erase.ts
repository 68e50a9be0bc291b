/**
 * Erasing sessions for good.
 *
 * The transaction that erases takes the session's own rows and its place in every list, so that nothing leads to it any more, and notes
 * in `orphan` which segments have something to remove, and up to which position forks still read them. `sweep` removes that, a bounded
 * part at a time; what is noted survives a crash.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { Receipt } from '../../log/store.ts'
import type { HotStream } from './hot.ts'
import { countPlaces, decodePlaces, encodePlace, type Place } from './places.ts'
import { encodeParts, partsOf, type BatchRow, type RowPart } from './rows.ts'

/** Characters of bodies that one step of a sweep removes, about. */
const SWEEP_BYTES = 1024 * 1024
/** Blocks that one step looks at. */
const SWEEP_BLOCKS = 8
/** Messages that one step removes. */
const SWEEP_MESSAGES = 512

interface Orphan {
  readonly segment: number
  readonly id: string
  readonly keep_to: number
}

/** Erases streams; every call stands inside the writer's transaction. */
export class Eraser {
  readonly #db: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()

  constructor(db: DatabaseSync) {
    this.#db = db
  }

  /** Takes the stream from everything that leads to it. `files`: how many it has in its workspace and among its outputs. */
  erase(id: string, stream: HotStream, files: { readonly workspace: number; readonly outputs: number }): Receipt {
    const { key, stored } = stream
    if (key === undefined) throw new Error('a stream without a row has nothing to erase')
    const newest = decodePlaces(stream.places)[0]
    // Nobody finds the places in a row that is gone.
    if (newest !== undefined) this.#run('INSERT INTO block (segment, first, places) VALUES (?, ?, ?)', key, newest.first, stream.places)
    const inherited = this.#all('SELECT DISTINCT segment FROM inherit WHERE stream = ?', key).map(({ segment }) => Number(segment))
    let state = 0
    for (const sql of ['stream WHERE key = ?', 'session WHERE key = ?', 'stream_item WHERE stream = ?']) state += this.#run(`DELETE FROM ${sql}`, key)
    const listed = stored.summary
    if (listed !== undefined) this.#run('UPDATE session_count SET n = n - 1 WHERE owner = ? AND status = ?', listed.owner, listed.status)
    let index = this.#run('DELETE FROM inherit WHERE stream = ?', key)
    this.#run('INSERT INTO orphan (segment, id, keep_to, swept) VALUES (?, ?, ?, 0)', key, id, Number.MAX_SAFE_INTEGER)
    const counts = { batches: 0, messages: 0, segmentsFreed: 0, segmentsKept: 0 }
    for (const segment of [key, ...inherited]) {
      const orphan = this.#all('SELECT segment, id, keep_to FROM orphan WHERE segment = ?', segment)[0] as unknown as Orphan | undefined
      const keepTo = this.#readUpTo(segment)
      if (orphan === undefined || keepTo > 0) counts.segmentsKept++
      else counts.segmentsFreed++
      // One whose session lives is read by it whole.
      if (orphan === undefined || keepTo === orphan.keep_to) continue
      const gone = this.#countBehind(segment, keepTo)
      counts.batches += gone.batches
      counts.messages += gone.messages
      index += gone.blocks
      this.#run('UPDATE orphan SET keep_to = ?, swept = 0 WHERE segment = ?', keepTo, segment)
      this.#run('INSERT INTO leftover (id, segment) VALUES (?, ?) ON CONFLICT DO NOTHING', orphan.id, segment)
    }
    const kept = this.#readUpTo(key) > 0
    return { ...counts, state, index, files: files.workspace + (kept ? 0 : files.outputs) }
  }

  /** Removes a bounded part. Answers whether there is more, and whether a segment was finished. */
  sweep(): { readonly more: boolean; readonly finished: boolean } {
    const [orphan] = this.#all('SELECT segment, id, keep_to FROM orphan WHERE swept = 0 LIMIT 1') as unknown as readonly Orphan[]
    if (orphan === undefined) return { more: false, finished: false }
    const finished = this.#sweepBatches(orphan) && this.#sweepMessages(orphan)
    if (finished && orphan.keep_to === 0) this.#run('DELETE FROM orphan WHERE segment = ?', orphan.segment)
    else if (finished) this.#run('UPDATE orphan SET swept = 1 WHERE segment = ?', orphan.segment)
    return { more: true, finished }
  }

  /** Forgets the leftover, unless something else is to be done about it by now. */
  forgetLeftover(id: string, upTo: number): void {
    const [row] = this.#all('SELECT segment FROM leftover WHERE id = ?', id)
    if (row !== undefined && this.#readUpTo(Number(row['segment'])) === upTo) this.#run('DELETE FROM leftover WHERE id = ?', id)
  }

  /** The last position of `segment` that somebody inherits; 0 for nobody. */
  #readUpTo(segment: number): number {
    return Number(this.#all('SELECT coalesce(max(last), 0) AS last FROM inherit WHERE segment = ?', segment)[0]?.['last'] ?? 0)
  }

  #countBehind(segment: number, keepTo: number): { readonly batches: number; readonly messages: number; readonly blocks: number } {
    let [batches, blocks] = [0, 0]
    for (const row of this.#sql('SELECT first, places FROM block WHERE segment = ?').iterate(segment)) {
      const { first, places } = row as { first: number; places: string }
      if (first > keepTo) blocks++
      batches += first > keepTo ? countPlaces(places) : decodePlaces(places).filter((place) => place.first > keepTo).length
    }
    const messages = Number(this.#all('SELECT count(*) AS n FROM message WHERE stream = ? AND position > ?', segment, keepTo)[0]?.['n'] ?? 0)
    return { batches, messages, blocks }
  }

  /** From the last block backwards. Answers whether nothing is left behind `keep_to`. */
  #sweepBatches({ segment, keep_to: keepTo }: Orphan): boolean {
    let bytes = 0
    const blocks = this.#all('SELECT first, places FROM block WHERE segment = ? ORDER BY first DESC LIMIT ?', segment, SWEEP_BLOCKS)
    for (const { first, places } of blocks as unknown as readonly { first: number; places: string }[]) {
      const found = [...decodePlaces(places)]
      for (let place = found.at(-1); place !== undefined && place.first > keepTo && bytes < SWEEP_BYTES; place = found.at(-1)) {
        bytes += this.#removeBatch(found.pop() as Place)
      }
      const left = found.map((place) => encodePlace(place.first, place.feed)).join('')
      if (left === '') this.#run('DELETE FROM block WHERE segment = ? AND first = ?', segment, first)
      else if (left !== places) this.#run('UPDATE block SET places = ? WHERE segment = ? AND first = ?', left, segment, first)
      const last = found.at(-1)
      if (last !== undefined && last.first <= keepTo) return this.#cutBatch(last, keepTo)
      if (bytes >= SWEEP_BYTES) return false
    }
    return blocks.length < SWEEP_BLOCKS
  }

  #removeBatch({ feed }: Place): number {
    this.#run('DELETE FROM pack WHERE last = ?', feed)
    const removed = this.#all('DELETE FROM batch WHERE feed = ? RETURNING length(body) AS bytes', feed)[0]
    return Number(removed?.['bytes'] ?? 0)
  }

  /** Cuts the batch that straddles the last position that is read. */
  #cutBatch({ feed }: Place, keepTo: number): true {
    const row = this.#all('SELECT feed, first, last, at_ms, body FROM batch WHERE feed = ?', feed)[0] as unknown as BatchRow | undefined
    if (row !== undefined && row.last > keepTo) {
      const kept = (partsOf(row) ?? []).flatMap((part): readonly RowPart[] =>
        part.from > keepTo ? [] : [{ ...part, to: Math.min(part.to, keepTo), values: part.values.slice(0, keepTo - part.from + 1) }],
      )
      this.#run('UPDATE batch SET last = ?, body = ? WHERE feed = ?', keepTo, encodeParts(kept), feed)
    }
    return true
  }

  #sweepMessages({ segment, keep_to: keepTo }: Orphan): boolean {
    const sql = 'DELETE FROM message WHERE key IN (SELECT key FROM message WHERE stream = ? AND position > ? ORDER BY ordinal DESC LIMIT ?)'
    return this.#run(sql, segment, keepTo, SWEEP_MESSAGES) < SWEEP_MESSAGES
  }

  #run(text: string, ...values: readonly (string | number)[]): number {
    return Number(this.#sql(text).run(...values).changes)
  }

  #all(text: string, ...values: readonly (string | number)[]): readonly Readonly<Record<string, unknown>>[] {
    return this.#sql(text).all(...values)
  }

  /** Prepared when it is needed first: most logs erase seldom. */
  #sql(text: string): StatementSync {
    const statement = this.#statements.get(text) ?? this.#db.prepare(text)
    this.#statements.set(text, statement)
    return statement
  }
}
