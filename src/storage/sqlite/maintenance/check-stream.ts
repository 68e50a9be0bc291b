/**
 * Looks at one stream: its places, its batches, and everything that is folded from its events.
 *
 * K1. Positions run from 1 to the head, each in one batch, where the places say; those of a fork from its base on, which its pieces reach.
 * K2. Row = fold(log): state, queue, calls, summary, messages.
 *     A fork's own first event says all that its fold needs, so what it inherits is looked at where it stands.
 * K3. Where a batch is damaged or missing, or an event is unknown here, the fold cannot be made again: the damage is reported, the rows are not compared.
 */
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { isDeepStrictEqual } from 'node:util'
import type { Recorded } from '../../../domain/event.ts'
import type { SessionState } from '../../../domain/session.ts'
import type { SessionSummary } from '../../../projection/session-summary.ts'
import { readEvent } from '../../../domain/event-types.ts'
import { sessionId } from '../../../domain/ids.ts'
import { evolve } from '../../../domain/session.ts'
import { summarize } from '../../../projection/session-summary.ts'
import { messageOf } from '../../../projection/transcript.ts'
import { countPlaces, decodePlaces, PLACES_PER_BLOCK, type Place } from '../places.ts'
import { encodeState, partsOf, type StreamRow } from '../rows.ts'
import { Batches, type StoredBatch } from './batches.ts'

/** What is not as it must be. */
export interface Finding {
  /** The session that it is about, if it is about one. */
  readonly session?: string
  readonly text: string
}

/** Whether the output file that an event of `session` calls `path` is there. */
export type HasOutput = (session: string, path: string) => boolean

/** A whole row of `stream`. */
export interface WholeStreamRow extends StreamRow {
  readonly owner: string
  readonly run_id: string | null
  readonly driver: number | null
  readonly fence: number
}

/** What a look at one stream saw. */
export interface StreamCounts {
  readonly events: number
  readonly damaged: number
  readonly unknown: number
}

interface Fold {
  position: number
  damaged: number
  unknown: number
  messages: number
  state: SessionState | undefined
  summary: SessionSummary | undefined
  readonly rows: Iterator<Readonly<Record<string, unknown>>>
}

/** Looks at streams, one after the other. */
export class StreamChecker {
  readonly #hasOutput: HasOutput
  readonly #report: (finding: Finding) => void
  readonly #batches: Batches
  readonly #messages: StatementSync
  readonly #items: StatementSync
  readonly #session: StatementSync
  readonly #place: StatementSync
  readonly #reach: StatementSync

  /** @param db Has a temporary table `placed (feed)`, which notes the batches that a stream has. */
  constructor(db: DatabaseSync, hasOutput: HasOutput, report: (finding: Finding) => void) {
    this.#hasOutput = hasOutput
    this.#report = report
    this.#batches = new Batches(db)
    this.#messages = db.prepare('SELECT ordinal, position, body FROM message WHERE stream = ? ORDER BY ordinal, position')
    this.#items = db.prepare('SELECT kind, ordinal, body FROM stream_item WHERE stream = ? ORDER BY kind, ordinal')
    this.#session = db.prepare('SELECT id, owner, status, updated_at_ms, title, body FROM session WHERE key = ?')
    this.#reach = db.prepare('SELECT coalesce(max(last), 0) AS last FROM inherit WHERE stream = ?')
    this.#place = db.prepare('INSERT OR IGNORE INTO temp.placed (feed) VALUES (?)')
  }

  /** Reports what is wrong with the stream of `row`. */
  check(row: WholeStreamRow): StreamCounts {
    const report = (text: string) => this.#report({ session: row.id, text })
    const rows = this.#messages.iterate(row.key)
    const fold: Fold = { position: row.base, damaged: 0, unknown: 0, messages: 0, state: undefined, summary: undefined, rows }
    if ((this.#reach.get(row.key) as { last: number }).last !== row.base) report(`its pieces do not reach position ${row.base}`)
    for (const place of this.#places(row, report)) this.#batch(row, place, fold, report)
    if (fold.position !== row.head) {
      report(
        `${fold.position < row.head ? places(fold.position + 1, row.head) : places(row.head + 1, fold.position)} ${fold.position < row.head ? 'missing' : 'behind the head'}`,
      )
      if (fold.position < row.head) fold.damaged += row.head - fold.position
    }
    if (fold.damaged === 0 && fold.unknown === 0) this.#compare(row, fold, report)
    rows.return?.()
    return { events: row.head - row.base, damaged: fold.damaged, unknown: fold.unknown }
  }

  *#places(row: StreamRow, report: (text: string) => void): Generator<Place> {
    for (const { first, places: text } of this.#batches.placeRows(row)) {
      const found = decodePlaces(text)
      const where = first === undefined ? 'the newest places' : `block ${first}`
      if (found.length !== countPlaces(text)) report(`${where} cannot be read whole`)
      if (first === undefined ? found.length >= PLACES_PER_BLOCK : found.length > PLACES_PER_BLOCK || found[0]?.first !== first) {
        report(`${where} holds ${found.length} places from ${found[0]?.first ?? 'nowhere'} on`)
      }
      yield* found
    }
  }

  #batch(row: StreamRow, place: Place, fold: Fold, report: (text: string) => void): void {
    const batch = this.#batches.at(place.feed)
    const expected = fold.position + 1
    if (batch === undefined || batch.segment !== row.key || batch.first !== place.first) {
      report(`the place of position ${place.first} leads to ${batch === undefined ? 'no batch' : 'a batch of something else'} (${place.feed})`)
      return
    }
    if (this.#place.run(place.feed).changes === 0) report(`two places lead to batch ${place.feed}`)
    if (batch.first > expected) {
      report(`${places(expected, batch.first - 1)} missing`)
      fold.damaged += batch.first - expected
    }
    if (batch.first < expected || batch.last < batch.first) {
      report(`batch ${place.feed} holds positions ${batch.first} to ${batch.last}, expected was ${expected}`)
      fold.damaged++
      return
    }
    this.#events(row, batch, fold, report)
    fold.position = batch.last
  }

  #events(row: StreamRow, batch: StoredBatch, fold: Fold, report: (text: string) => void): void {
    const parts = partsOf(batch)
    if (parts === undefined) {
      report(`${places(batch.first, batch.last)} damaged`)
      fold.damaged += batch.last - batch.first + 1
      return
    }
    for (const { from, atMs, values } of parts) {
      values.forEach((value, index) => this.#event(row, { position: from + index, atMs, event: readEvent(value) }, fold, report))
    }
  }

  #event(row: StreamRow, recorded: Recorded, fold: Fold, report: (text: string) => void): void {
    const { event } = recorded
    if (event.type === 'Unknown') fold.unknown++
    if (event.type === 'SessionForked') fold.messages = event.messages
    fold.state = evolve(fold.state, event, recorded.position)
    fold.summary = summarize(sessionId(row.id), fold.summary, recorded)
    if (event.type === 'ToolCompleted' && event.outputFile !== undefined) this.#output(row.id, event.outputFile, recorded.position, report)
    this.#message(recorded, fold, report)
  }

  #output(session: string, file: string, position: number, report: (text: string) => void): void {
    if (!this.#hasOutput(session, file)) report(`the output of position ${position} is missing: ${file}`)
  }

  #message(recorded: Recorded, fold: Fold, report: (text: string) => void): void {
    const message = messageOf(recorded)
    // After damage nobody can say which row belongs to which message.
    if (message === undefined || fold.damaged > 0 || fold.unknown > 0) return
    const ordinal = fold.messages++
    const next = fold.rows.next()
    const row = next.done === true ? undefined : next.value
    if (row === undefined) report(`the message of position ${recorded.position} has no row`)
    else if (row['ordinal'] !== ordinal || row['position'] !== recorded.position || !isSame(row['body'], message)) {
      report(`the row of message ${ordinal} is not that of position ${recorded.position}`)
    }
  }

  /** @see K2 */
  #compare(row: WholeStreamRow, { state, summary, rows }: Fold, report: (text: string) => void): void {
    if (rows.next().done !== true) report('there are more rows of messages than messages')
    if (state === undefined || summary === undefined) return report('no event creates the session')
    const { owner, run, fence } = state
    const columns = [row.owner, row.run_id, row.driver, row.fence]
    if (!isSame(row.state, JSON.parse(encodeState(state))) || !isDeepStrictEqual(columns, [owner, run?.id ?? null, run?.driver ?? null, fence])) {
      report('its state is not the fold of its events')
    }
    for (const [kind, items] of [
      ['queue', state.queue],
      ['call', state.calls],
    ] as const) {
      const found = this.#items.all(row.key).filter((item) => item['kind'] === kind)
      const matches = found.length === items.length && found.every((item, index) => item['ordinal'] === index && isSame(item['body'], items[index]))
      if (!matches) report(`its rows of ${kind === 'queue' ? 'messages that wait' : 'calls'} are not the fold of its events`)
    }
    const listed = this.#session.get(row.key)
    const { id, status, updatedAtMs, title } = summary
    const shown = [listed?.['id'], listed?.['owner'], listed?.['status'], listed?.['updated_at_ms'], listed?.['title']]
    if (!isDeepStrictEqual(shown, [id, summary.owner, status, updatedAtMs, title]) || !isSame(listed?.['body'], summary)) {
      report('its summary is not the fold of its events')
    }
  }
}

/** Whether `text` is the JSON of `value`, in any order of keys. */
function isSame(text: unknown, value: unknown): boolean {
  try {
    return isDeepStrictEqual(JSON.parse(String(text)), JSON.parse(JSON.stringify(value)))
  } catch {
    // What is no JSON is not the same.
    return false
  }
}

function places(from: number, to: number): string {
  return from === to ? `position ${from} is` : `positions ${from} to ${to} are`
}
