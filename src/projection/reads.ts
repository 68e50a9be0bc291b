/** The read ports over the projections. Engines implement them; `wire` dialects read through them. */
import type { Position, SessionId, UserId } from '../domain/ids.ts'
import type { SessionSummary } from './session-summary.ts'
import type { TranscriptMessage } from './transcript.ts'

/** Rows that one page of a list holds at most. */
export const LIST_LIMIT_MAX = 1000

/** Where a keyset page starts: behind this row. */
export interface ListKey {
  readonly updatedAtMs: number
  readonly id: SessionId
}

/** Which sessions to list, newest `updatedAtMs` first, then by id. */
export interface SessionQuery {
  readonly owner: UserId
  /** `undefined` lists both. */
  readonly status?: 'active' | 'deleted'
  /** Part of the title, without case; `%` and `_` mean themselves. */
  readonly search?: string
  /** At most `LIST_LIMIT_MAX`. */
  readonly limit: number
  /** Rows to skip; only without `after`. */
  readonly offset?: number
  readonly after?: ListKey
}

/** A page of a list. */
export interface ListPage<T> {
  readonly items: readonly T[]
  /** Rows of the whole list, on all pages. */
  readonly total: number
}

/** Reads of what the projections hold. None waits for a writer; each sees all that was acknowledged. */
export interface SessionReads {
  /** One session, or `undefined`. The caller checks the owner. */
  session(id: SessionId): Promise<SessionSummary | undefined>
  /** One session and its stream's head, both of one moment. */
  sessionAt(id: SessionId): Promise<{ readonly summary: SessionSummary; readonly head: Position } | undefined>
  sessions(query: SessionQuery): Promise<ListPage<SessionSummary>>
  /** Messages of a session, oldest first: `limit` (at most `LIST_LIMIT_MAX`) after skipping `offset`. */
  messages(id: SessionId, page: { readonly limit: number; readonly offset: number }): Promise<ListPage<TranscriptMessage>>
  /** Messages after position `after` (default 0) up to `upTo`, the newest `limit` of them, oldest first: what a prompt is built from. */
  history(id: SessionId, upTo: Position, limit: number, after?: Position): Promise<readonly TranscriptMessage[]>
  /** Ids of all sessions of an owner, for handing them over; in pages by id. */
  sessionIds(owner: UserId, after: SessionId | undefined, limit: number): Promise<readonly SessionId[]>
}
