/** Where a reader of events begins, for SSE and WebSocket alike. */
import { z } from 'zod'
import type { Position } from '../../domain/ids.ts'
import type { EventView } from './codec.ts'
import { ConvokeError } from '../../domain/errors.ts'

/** The query of an event stream. */
export const EVENT_QUERY = z.object({
  after: z.string().max(64).optional().describe('cursor after which to begin; the header Last-Event-ID wins'),
  events: z.enum(['contract', 'all']).optional().describe('all: also events that the contract does not know'),
  log: z.string().max(64).optional().describe('log id that the cursor belongs to (header Convoke-Log-Id)'),
})

/** What a request says about where to begin. */
export interface Asked {
  readonly header?: string | undefined
  readonly after?: string | undefined
  readonly log?: string | undefined
}

/** Where a reader begins, and whether its cursor is one that this log never gave. */
export interface Start {
  readonly after: Position
  readonly gap?: { readonly requested: Position }
}

/**
 * Reads the cursor of one session. None means live only. One beyond the head, or of another log, is a gap, and then live.
 *
 * @throws {ConvokeError} `invalid_cursor` for `after` that is no position; a header that is none counts as absent, as the contract says
 */
export function startOf(asked: Asked, logId: string, head: Position): Start {
  const header = asked.header !== undefined && isPosition(asked.header) ? asked.header : undefined
  if (header === undefined && asked.after !== undefined && !isPosition(asked.after)) throw new ConvokeError('invalid_cursor', 'after must be a position')
  const cursor = header ?? asked.after
  if (cursor === undefined) return { after: head }
  const requested = Number(cursor)
  if (requested > head || (asked.log !== undefined && asked.log !== logId)) return { after: head, gap: { requested } }
  return { after: requested }
}

function isPosition(text: string): boolean {
  return /^\d{1,20}$/.test(text)
}

/** The data of `gap_detected`. */
export function gapOf<Cursor extends number | string>(requested: Cursor, oldest: Cursor, newest: Cursor) {
  return { requested_after_id: requested, oldest_available_id: oldest, newest_available_id: newest, resume_hint: 'refresh_snapshot_then_resume' } as const
}

/** Which events a reader asked for. */
export function viewOf(events: string | undefined): EventView {
  return events === 'all' ? 'all' : 'contract'
}
