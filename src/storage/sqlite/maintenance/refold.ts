/**
 * Folds the rows of a log anew when this version folds events to more than the version that wrote them: row = fold(log) also after an upgrade.
 *
 * It reads the whole log, once, in one transaction. A session of which events are lost or unknown here keeps the rows that it has.
 */
import type { DatabaseSync } from 'node:sqlite'
import type { SessionState } from '../../../domain/session.ts'
import type { SessionSummary } from '../../../projection/session-summary.ts'
import { ConvokeError } from '../../../domain/errors.ts'
import { readEvent } from '../../../domain/event-types.ts'
import { sessionId } from '../../../domain/ids.ts'
import { evolve, STATE_VERSION } from '../../../domain/session.ts'
import { summarize } from '../../../projection/session-summary.ts'
import { decodePlaces } from '../places.ts'
import { encodeState, partsOf, type StreamRow } from '../rows.ts'
import { Batches } from './batches.ts'
import { foldVersionOf } from './open.ts'

interface Folded {
  readonly state: SessionState
  readonly summary: SessionSummary
}

/** Brings the rows of `db` to `STATE_VERSION`, if they are not. @throws {ConvokeError} `store_newer` where a newer version has folded them */
export function refold(db: DatabaseSync): void {
  const known = foldVersionOf(db)
  if (known === STATE_VERSION) return
  if (known > STATE_VERSION) {
    throw new ConvokeError(
      'store_newer',
      `the data folder has rows of version ${known}, this version of convoke knows up to ${STATE_VERSION}: use a newer convoke`,
    )
  }
  db.exec('BEGIN IMMEDIATE')
  try {
    const batches = new Batches(db)
    const save = saver(db)
    for (const row of db.prepare('SELECT key, id, head, base, state, places FROM stream').all()) {
      const stream = row as unknown as StreamRow
      const folded = foldOf(stream, batches)
      if (folded !== undefined) save(stream.key, folded)
    }
    db.exec('DELETE FROM session_count; INSERT INTO session_count SELECT owner, status, count(*) FROM session GROUP BY owner, status')
    db.prepare("INSERT INTO meta (name, value) VALUES ('state_version', ?) ON CONFLICT DO UPDATE SET value = excluded.value").run(String(STATE_VERSION))
    db.exec('COMMIT')
  } catch (error) {
    // A full disk has taken it back already.
    if (db.isTransaction) db.exec('ROLLBACK')
    throw error
  }
}

/** What the stream's own events fold to; what a fork inherits changes nothing of it. `undefined` where not all of them can be read. */
function foldOf(row: StreamRow, batches: Batches): Folded | undefined {
  let state: SessionState | undefined
  let summary: SessionSummary | undefined
  let head = row.base
  for (const { places } of batches.placeRows(row)) {
    for (const { feed } of decodePlaces(places)) {
      const batch = batches.at(feed)
      const parts = batch === undefined ? undefined : partsOf(batch)
      if (batch === undefined || parts === undefined || batch.first !== head + 1) return undefined
      for (const { value, atMs } of parts.flatMap((part) => part.values.map((one) => ({ value: one, atMs: part.atMs })))) {
        const event = readEvent(value)
        if (event.type === 'Unknown') return undefined
        const recorded = { position: ++head, atMs, event }
        state = evolve(state, event, recorded.position)
        summary = summarize(sessionId(row.id), summary, recorded)
      }
    }
  }
  return head !== row.head || state === undefined || summary === undefined ? undefined : { state, summary }
}

function saver(db: DatabaseSync): (key: number, folded: Folded) => void {
  const setState = db.prepare('UPDATE stream SET owner = ?, run_id = ?, driver = ?, fence = ?, state = ? WHERE key = ?')
  const dropItems = db.prepare('DELETE FROM stream_item WHERE stream = ?')
  const addItem = db.prepare('INSERT INTO stream_item (stream, kind, ordinal, body) VALUES (?, ?, ?, ?)')
  const setSummary = db.prepare('UPDATE session SET owner = ?, status = ?, updated_at_ms = ?, title = ?, body = ? WHERE key = ?')
  return (key, { state, summary }) => {
    const { owner, run, fence } = state
    setState.run(owner, run?.id ?? null, run?.driver ?? null, fence, encodeState(state), key)
    dropItems.run(key)
    state.queue.forEach((item, ordinal) => addItem.run(key, 'queue', ordinal, JSON.stringify(item)))
    state.calls.forEach((item, ordinal) => addItem.run(key, 'call', ordinal, JSON.stringify(item)))
    setSummary.run(summary.owner, summary.status, summary.updatedAtMs, summary.title, JSON.stringify(summary), key)
  }
}
