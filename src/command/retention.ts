/**
 * Retention: sessions that nobody used for long go for good, by age, and by size where the log is too large.
 *
 * R1. Never one with an unfinished run, and never one that is used again before it goes: both are compared in the erasure's transaction.
 * R2. A pass erases a bounded number; what is left is for the next one.
 */
import type { Clock, Telemetry } from '../domain/ports.ts'
import type { Upkeep } from '../log/upkeep.ts'
import type { Purger, Receipt } from './purge.ts'

/** Sessions that one pass erases at most. */
export const PASS_SESSIONS_MAX = 16
/** How long a session must have been idle to go because of the log's size, in ms: one that somebody uses stays. */
export const IDLE_MS_MIN = 60_000
const DAY_MS = 86_400_000

/** What may stay. */
export interface RetentionPolicy {
  /** Days without activity after which a session goes. */
  readonly days?: number | undefined
  /** Bytes of the log above which the longest idle sessions go. */
  readonly bytesMax?: number | undefined
}

/** What a pass works with. */
export interface RetentionParts {
  readonly store: Upkeep
  readonly purger: Pick<Purger, 'expire'>
  readonly clock: Clock
  readonly telemetry: Telemetry
}

/** One pass over the log. Answers whether there may be more to erase. */
export async function retain(parts: RetentionParts, policy: RetentionPolicy): Promise<boolean> {
  const { days, bytesMax } = policy
  if (days !== undefined && (await erase(parts, 'days', days * DAY_MS, () => Promise.resolve(true)))) return true
  if (bytesMax === undefined || (await parts.store.usedBytes()) <= bytesMax) return false
  const isTooLarge = async () => (await parts.store.usedBytes()) > bytesMax
  if (await erase(parts, 'bytesMax', IDLE_MS_MIN, isTooLarge)) return true
  if (await isTooLarge()) parts.telemetry.log('warn', 'the log is larger than retention.bytesMax, and no session is idle', { bytesMax })
  return false
}

/** Erases the longest idle sessions, as long as `goesOn`. Answers whether as many were erased as a pass may. */
async function erase({ store, purger, clock, telemetry }: RetentionParts, reason: string, idleMs: number, goesOn: () => Promise<boolean>): Promise<boolean> {
  const idleSinceMs = clock.nowMs() - idleMs
  const receipts: Receipt[] = []
  for (const stream of await store.idleSessions(idleSinceMs, PASS_SESSIONS_MAX)) {
    if (!(await goesOn())) break
    const receipt = await purger.expire(stream, idleSinceMs)
    if (receipt !== undefined) receipts.push(receipt)
  }
  if (receipts.length === 0) return false
  const sum = (field: 'batches' | 'messages' | 'files') => receipts.reduce((total, receipt) => total + receipt[field], 0)
  const counts = { sessions: receipts.length, batches: sum('batches'), messages: sum('messages'), files: sum('files') }
  telemetry.log('info', 'idle sessions were erased', { reason, ...counts, bytes: await store.usedBytes() })
  return receipts.length === PASS_SESSIONS_MAX
}
