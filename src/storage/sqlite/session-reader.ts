/** Reads of the projections: lists and transcripts, at constant cost per page. */
import type { DatabaseSync, SQLInputValue, StatementSync } from 'node:sqlite'
import type { Position, SessionId, UserId } from '../../domain/ids.ts'
import type { ListPage, SessionQuery } from '../../projection/reads.ts'
import type { SessionSummary } from '../../projection/session-summary.ts'
import type { TranscriptMessage } from '../../projection/transcript.ts'
import { sessionId } from '../../domain/ids.ts'
import { LIST_LIMIT_MAX } from '../../projection/reads.ts'
import { oneMoment } from './reader.ts'
import { Segments, type StreamKey } from './segments.ts'

/** The projections' read side, on the reader's connection. */
export class SessionReader {
  readonly #db: DatabaseSync
  readonly #statements = new Map<string, StatementSync>()
  readonly #sessionAt: StatementSync
  readonly #segments: Segments

  constructor(db: DatabaseSync) {
    this.#db = db
    this.#segments = new Segments(db)
    this.#sessionAt = db.prepare('SELECT n.body, s.head FROM stream s JOIN session n ON n.key = s.key WHERE s.id = ?')
  }

  session(id: SessionId): SessionSummary | undefined {
    return this.sessionAt(id)?.summary
  }

  sessionAt(id: SessionId): { readonly summary: SessionSummary; readonly head: Position } | undefined {
    const row = this.#sessionAt.get(id) as { body: string; head: number } | undefined
    return row === undefined ? undefined : { summary: JSON.parse(row.body) as SessionSummary, head: row.head }
  }

  sessions(query: SessionQuery): ListPage<SessionSummary> {
    const where = ['owner = ?']
    const values: SQLInputValue[] = [query.owner]
    if (query.status !== undefined) add(where, values, 'status = ?', query.status)
    if (query.search !== undefined) add(where, values, "title LIKE ? ESCAPE '\\'", `%${query.search.replaceAll(/[\\%_]/g, '\\$&')}%`)
    const total = query.search === undefined ? this.#counted(query) : this.#scanned(where, values)
    if (query.after !== undefined) add(where, values, '(updated_at_ms, id) < (?, ?)', query.after.updatedAtMs, query.after.id)
    const sql = `SELECT body FROM session WHERE ${where.join(' AND ')} ORDER BY updated_at_ms DESC, id DESC LIMIT ? OFFSET ?`
    const rows = this.#sql(sql).all(...values, Math.min(query.limit, LIST_LIMIT_MAX), query.offset ?? 0) as unknown as readonly { body: string }[]
    return { items: rows.map((row) => JSON.parse(row.body) as SessionSummary), total }
  }

  messages(id: SessionId, page: { readonly limit: number; readonly offset: number }): ListPage<TranscriptMessage> {
    const sql = 'SELECT body FROM message WHERE stream = ? AND ordinal >= ? AND ordinal < ? ORDER BY ordinal LIMIT ?'
    const most = Math.min(page.limit, LIST_LIMIT_MAX)
    return oneMoment(this.#db, () => {
      const items: TranscriptMessage[] = []
      const stream = this.#streamKey(id)
      if (stream === undefined) return { items, total: 0 }
      for (const { segment, messages } of this.#segments.withMessages(stream, page.offset)) {
        const end = Math.min(messages, Number.MAX_SAFE_INTEGER)
        items.push(...this.#messageRows(sql, segment, page.offset + items.length, end, most - items.length))
        if (items.length >= most) break
      }
      return { items, total: this.session(id)?.messageCount ?? 0 }
    })
  }

  history(id: SessionId, upTo: Position, limit: number, after: Position = 0): readonly TranscriptMessage[] {
    const sql = 'SELECT body FROM message WHERE stream = ? AND position <= ? AND position > ? ORDER BY ordinal DESC LIMIT ?'
    return oneMoment(this.#db, () => {
      const newestFirst: TranscriptMessage[] = []
      const stream = this.#streamKey(id)
      if (stream === undefined) return newestFirst
      for (const { segment, last } of this.#segments.backFrom(stream, upTo)) {
        if (last <= after) break
        newestFirst.push(...this.#messageRows(sql, segment, Math.min(upTo, last, Number.MAX_SAFE_INTEGER), after, limit - newestFirst.length))
        if (newestFirst.length >= limit) break
      }
      return newestFirst.reverse()
    })
  }

  #streamKey(id: SessionId): StreamKey | undefined {
    return this.#sql('SELECT key, base FROM stream WHERE id = ?').get(id) as unknown as StreamKey | undefined
  }

  #messageRows(sql: string, ...values: readonly number[]): readonly TranscriptMessage[] {
    return (this.#sql(sql).all(...values) as unknown as readonly { body: string }[]).map(parseMessage)
  }

  sessionIds(owner: UserId, after: SessionId | undefined, limit: number): readonly SessionId[] {
    const rows = this.#sql('SELECT id FROM session WHERE owner = ? AND id > ? ORDER BY id LIMIT ?').all(owner, after ?? '', limit)
    return (rows as unknown as readonly { id: string }[]).map((row) => sessionId(row.id))
  }

  #counted(query: SessionQuery): number {
    const sql = `SELECT coalesce(sum(n), 0) AS n FROM session_count WHERE owner = ?${query.status === undefined ? '' : ' AND status = ?'}`
    return (this.#sql(sql).get(query.owner, ...(query.status === undefined ? [] : [query.status])) as { n: number }).n
  }

  #scanned(where: readonly string[], values: readonly SQLInputValue[]): number {
    return (this.#sql(`SELECT count(*) AS n FROM session WHERE ${where.join(' AND ')}`).get(...values) as { n: number }).n
  }

  /** Prepared once; there are few different texts, since values are bound. */
  #sql(text: string): StatementSync {
    const statement = this.#statements.get(text) ?? this.#db.prepare(text)
    this.#statements.set(text, statement)
    return statement
  }
}

function add(where: string[], values: SQLInputValue[], condition: string, ...bound: readonly SQLInputValue[]): void {
  where.push(condition)
  values.push(...bound)
}

function parseMessage(row: { readonly body: string }): TranscriptMessage {
  return JSON.parse(row.body) as TranscriptMessage
}
