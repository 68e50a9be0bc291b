/**
 * Looks whether a log is sound: SQLite's own check of the file, then each stream, then what belongs to no stream.
 *
 * All of it sees one moment, beside a running server too; until it ends, the write-ahead log is not cut. Memory is bounded: what must be
 * remembered of each batch stands in a temporary table.
 */
import { existsSync } from 'node:fs'
import type { DatabaseSync } from 'node:sqlite'
import { StreamChecker, type Finding, type HasOutput, type WholeStreamRow } from './check-stream.ts'
import { decodePlaces } from '../places.ts'
import { openReadOnly, outputPlaces, requireLog, type LogFolder } from './open.ts'

export type { Finding, HasOutput } from './check-stream.ts'

/** Lines of SQLite's own check that are reported at most. */
const SQLITE_LINES_MAX = 100
/** Rows that belong to nothing and are named; more are counted. */
const NAMED_MAX = 100

/** What was looked at. */
export interface CheckTotals {
  readonly sessions: number
  readonly events: number
  readonly batches: number
  readonly idempotency: number
  /** Events in whose places nothing can be read. */
  readonly damaged: number
  /** Events of types that this version does not know. */
  readonly unknown: number
  readonly findings: number
}

/** Checks the log of a data folder, and reports each finding. None is the good answer. @throws {ConvokeError} `store_failed`, `store_newer` */
export function checkLog(where: LogFolder, report: (finding: Finding) => void): CheckTotals {
  const hasOutput: HasOutput = (session, path) => outputPlaces(where, session, path).some((place) => existsSync(place))
  return checkFile(requireLog(where.folder), hasOutput, report)
}

/** The same for a log in any file. */
export function checkFile(file: string, hasOutput: HasOutput, report: (finding: Finding) => void): CheckTotals {
  let findings = 0
  const count = (finding: Finding) => {
    findings++
    report(finding)
  }
  // On a connection of its own: one that has seen a damaged page reads no other page in the same transaction.
  const whole = openReadOnly(file)
  attempt(count, () => checkPages(whole, count))
  whole.close()
  const db = openReadOnly(file)
  try {
    db.exec('PRAGMA temp_store = FILE; CREATE TEMP TABLE placed (feed INTEGER PRIMARY KEY) STRICT; BEGIN')
    const totals = { sessions: 0, events: 0, batches: 0, idempotency: 0, damaged: 0, unknown: 0 }
    for (const part of [checkStreams, checkBatches, checkOwners, checkCounts, checkIdempotency]) {
      attempt(count, () => Object.assign(totals, part(db, count, hasOutput)))
    }
    return { ...totals, findings }
  } finally {
    db.close()
  }
}

type Report = (finding: Finding) => void

/** Reports what `work` throws: the rest of the log is looked at all the same. */
function attempt(report: Report, work: () => unknown): void {
  try {
    work()
  } catch (error) {
    report({ text: `SQLite: ${error instanceof Error ? error.message : String(error)}` })
  }
}

function checkPages(db: DatabaseSync, report: Report): void {
  for (const row of db.prepare(`PRAGMA integrity_check(${SQLITE_LINES_MAX})`).iterate()) {
    const text = String(row['integrity_check'])
    if (text !== 'ok') report({ text: `SQLite: ${text}` })
  }
}

function checkStreams(db: DatabaseSync, report: Report, hasOutput: HasOutput): Partial<CheckTotals> {
  const checker = new StreamChecker(db, hasOutput, report)
  const totals = { sessions: 0, events: 0, damaged: 0, unknown: 0 }
  for (const row of db.prepare('SELECT key, id, owner, head, base, run_id, driver, fence, state, places FROM stream ORDER BY key').iterate()) {
    const stream = row as unknown as WholeStreamRow
    totals.sessions++
    try {
      const { events, damaged, unknown } = checker.check(stream)
      totals.events += events
      totals.damaged += damaged
      totals.unknown += unknown
    } catch (error) {
      report({ session: stream.id, text: `cannot be read: ${error instanceof Error ? error.message : String(error)}` })
    }
  }
  return totals
}

/** Each batch belongs to a place of its stream, or of a segment that outlives its session. */
function checkBatches(db: DatabaseSync, report: Report): Partial<CheckTotals> {
  const place = db.prepare('INSERT OR IGNORE INTO temp.placed (feed) VALUES (?)')
  for (const row of db.prepare('SELECT places FROM block WHERE segment IN (SELECT segment FROM orphan)').iterate()) {
    for (const { feed } of decodePlaces(String(row['places']))) place.run(feed)
  }
  const lost = db.prepare('SELECT feed, first, last FROM batch WHERE feed NOT IN (SELECT feed FROM temp.placed) ORDER BY feed')
  limited(lost.iterate(), report, ({ feed, first, last }) => `batch ${feed} (positions ${first} to ${last}) belongs to no session`)
  return { batches: rowsOf(db, 'batch') }
}

const SEGMENTS = 'SELECT key FROM stream UNION SELECT segment FROM orphan'

/** Each row that hangs on a stream has one. */
function checkOwners(db: DatabaseSync, report: Report): void {
  for (const [table, column] of [
    ['stream_item', 'stream'],
    ['inherit', 'stream'],
    ['message', 'stream'],
    ['session', 'key'],
  ] as const) {
    const lost = db.prepare(`SELECT ${column} AS owner, count(*) AS n FROM ${table} WHERE ${column} NOT IN (${SEGMENTS}) GROUP BY ${column}`)
    limited(lost.iterate(), report, ({ owner, n }) => `${n} rows of ${table} belong to no session (${owner})`)
  }
  const blocks = db.prepare(`SELECT segment, count(*) AS n FROM block WHERE segment NOT IN (${SEGMENTS}) GROUP BY segment`)
  limited(blocks.iterate(), report, ({ segment, n }) => `${n} blocks belong to no session (${segment})`)
}

/** The counts that lists show are those of the rows. */
function checkCounts(db: DatabaseSync, report: Report): void {
  const differing = db.prepare(
    `SELECT owner, status, sum(n) AS n FROM
       (SELECT owner, status, n FROM session_count UNION ALL SELECT owner, status, -count(*) FROM session GROUP BY owner, status)
     GROUP BY owner, status HAVING sum(n) <> 0`,
  )
  limited(differing.iterate(), report, ({ owner, status, n }) => `the count of ${status} sessions of ${owner} is off by ${n}`)
}

function checkIdempotency(db: DatabaseSync, report: Report): Partial<CheckTotals> {
  const bad = db.prepare(
    `SELECT scope, key FROM idempotency
     WHERE NOT json_valid(outcome) OR coalesce(CASE WHEN json_valid(outcome) THEN json_extract(outcome, '$.kind') END, '') NOT IN ('appended', 'erased')`,
  )
  limited(bad.iterate(), report, ({ scope, key }) => `the record of idempotency key ${key} (${scope}) cannot be read`)
  return { idempotency: rowsOf(db, 'idempotency') }
}

function rowsOf(db: DatabaseSync, table: 'batch' | 'idempotency'): number {
  return (db.prepare(`SELECT count(*) AS n FROM ${table}`).get() as { n: number }).n
}

type Row = Readonly<Record<string, string | number>>

/** Reports each row, or how many there are of them where there are too many. */
function limited(rows: Iterable<unknown>, report: Report, textOf: (row: Row) => string): void {
  let count = 0
  for (const row of rows) if (++count <= NAMED_MAX) report({ text: textOf(row as Row) })
  if (count > NAMED_MAX) report({ text: `and ${count - NAMED_MAX} more like the one before` })
}
