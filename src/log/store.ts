/**
 * The port to the log. Its sentences are the contract of the conformance suite in `testing/`.
 *
 * L1. A commit is one transaction with one fsync: when its promise resolves, what was appended survives a power cut.
 * L2. Each write of a commit stands or falls alone, in order; a later one sees what an earlier one left.
 * L3. Positions of a stream start at 1, have no holes and never restart. Only the engine assigns them.
 * L4. A `record` or `FinishRun` whose fence is not the stored one, or whose run is not the active one, is `fenced` and writes nothing.
 * L5. A refused write leaves no trace; its code says why.
 * L6. A write with an idempotency key that was used before answers as the first one did and writes nothing, if the fingerprint is
 *     the same, else it is refused as `idempotency_key_reused`. Refusals are not remembered.
 * L7. State, projections and idempotency records change in the transaction of the events that they come from.
 * L8. A read never shows an event that was not committed, and never waits for a writer.
 * L9. A damaged or unknown event reads as `Unknown` in its place; the events around it read as ever.
 * L10. Feed numbers grow from commit to commit; each appended write has one, and the feed holds each event of each stream once.
 * L11. Opening a store raises the driver number for good; a store that is open elsewhere is refused with `store_locked`, unless it is shared.
 * L12. In a shared store a driver is gone when its row has run out; only its own process renews the row. What one process commits the others
 *      see in their next read and write; positions, fences, idempotency and feed numbers hold across all of them.
 * L13. A fork's log is the origin's up to a position, and then its own: events, pages, messages and their order read as if they had been written there.
 *      Nothing is copied, its first own event stands at the next position, and the feed holds only its own events.
 * L14. An erased session is unknown from then on, to every read, list and feed; no position, feed number or segment key of it is given anew.
 *      Erasing an origin changes nothing that its forks read, erasing a fork nothing of its origin.
 */
import type { Asker } from '../domain/decision.ts'
import type { Reply, SessionCommand } from '../domain/command.ts'
import type { ErrorCode } from '../domain/errors.ts'
import type { MessageEvent, Recorded, RunEvent, SessionEvent, StreamEvent } from '../domain/event.ts'
import type { Position, RunId, SessionId, UserId } from '../domain/ids.ts'
import type { SessionState } from '../domain/session.ts'

/** Writes in one commit. */
export const WRITES_MAX = 4096
/** Events in one `record`. */
export const RECORD_EVENTS_MAX = 1024
/** Events that one `read` answers at most. */
export const READ_EVENTS_MAX = 512
/** How long an idempotency key is remembered, in ms: 24 h. */
export const IDEMPOTENCY_KEEP_MS = 86_400_000

/** Makes a command take effect once (P7). */
export interface Idempotency {
  /** Who and where: principal and route with its ids. */
  readonly scope: string
  readonly key: string
  /** Hash of the parsed body. */
  readonly fingerprint: string
}

/** A command, decided inside the transaction. */
export interface DecideWrite {
  readonly kind: 'decide'
  readonly stream: SessionId
  readonly command: SessionCommand
  readonly asker: Asker
  readonly atMs: number
  readonly idempotency?: Idempotency
}
/** Events of a run's driver: cannot conflict, can only be fenced. At most `RECORD_EVENTS_MAX`. */
export interface RecordWrite {
  readonly kind: 'record'
  readonly stream: SessionId
  readonly runId: RunId
  readonly fence: number
  readonly events: readonly (RunEvent | MessageEvent | SessionEvent)[]
  readonly atMs: number
}
/**
 * Removes a session for good: its events, its rows, its place in every list. Refused as `not_found`, `forbidden`, and as
 * `session_already_running` while a run is active.
 */
export interface EraseWrite {
  readonly kind: 'erase'
  readonly stream: SessionId
  /** `driver` is the server itself, by its own rules. */
  readonly asker: Asker
  readonly atMs: number
  /** Files of the session, as they were counted: for the receipt. */
  readonly files?: { readonly workspace: number; readonly outputs: number }
  /** Only if nothing that a list shows has happened since; otherwise `input_pending`. */
  readonly idleSinceMs?: number
  readonly idempotency?: Idempotency
}
/** A write that becomes events. */
export type AppendWrite = DecideWrite | RecordWrite
/** One write. */
export type Write = AppendWrite | EraseWrite

/** What an erased session was made of: what is gone, or goes in the next moments. */
export interface Receipt {
  /** Rows that hold events. */
  readonly batches: number
  readonly messages: number
  /** Rows of state and of lists. */
  readonly state: number
  /** Rows that say where events stand. */
  readonly index: number
  /** Segments that nobody reads any more. */
  readonly segmentsFreed: number
  /** Segments of which another session still reads a part. */
  readonly segmentsKept: number
  readonly files: number
}

/** What became of a write. */
export type WriteOutcome =
  | {
      readonly kind: 'appended'
      /** The session that was written: an idempotent repeat of a creation answers the first one's id. */
      readonly stream: SessionId
      /** First position; `to + 1` when nothing was written. */
      readonly from: Position
      /** Last position: the stream's head after this write. */
      readonly to: Position
      /** Number of this write in the feed; 0 when nothing was written. */
      readonly feed: number
      readonly events: readonly StreamEvent[]
      readonly atMs: number
      readonly owner: UserId
      readonly reply: Reply
      /** An idempotent repeat. */
      readonly replayed: boolean
    }
  | {
      readonly kind: 'erased'
      readonly stream: SessionId
      readonly owner: UserId
      readonly atMs: number
      readonly receipt: Receipt
      readonly replayed: boolean
    }
  | { readonly kind: 'refused'; readonly code: ErrorCode; readonly message: string }
  | { readonly kind: 'fenced' }

/** One write as the log keeps it: events that were appended together. */
export interface LogBatch {
  readonly stream: SessionId
  readonly from: Position
  readonly to: Position
  readonly feed: number
  readonly atMs: number
  readonly events: readonly StreamEvent[]
}

/** A page of one stream. */
export interface Page {
  /** The stream's head when the page was read. */
  readonly head: Position
  readonly events: readonly Recorded[]
}

/** A page of the feed. */
export interface FeedPage {
  /** Feed number up to which this page has looked, also where nothing matched: where the next page goes on. */
  readonly next: number
  /** Whether there may be more behind `next` now. */
  readonly more: boolean
  readonly batches: readonly LogBatch[]
}

/** An unfinished run, for the supervisor. */
export interface UnfinishedRun {
  readonly stream: SessionId
  readonly runId: RunId
  readonly driver: number
  readonly fence: number
  readonly owner: UserId
}

/** Who lives, in a store that several processes share. @see L12 */
export interface Drivers {
  /** Says that this opening's driver lives until `untilMs` by everybody's clock. */
  renew(untilMs: number): Promise<void>
  /** Those of `drivers` that are gone at `nowMs`. */
  gone(drivers: readonly number[], nowMs: number): Promise<ReadonlySet<number>>
}

/** The log and the state folded from it. */
export interface Store {
  /** Names this log: a restored or foreign one has another. A UUID. */
  readonly logId: string
  /** This opening's driver number. @see L11 */
  readonly driver: number
  /** Set where other processes may have the log open too. Without it every other driver is gone. */
  readonly drivers?: Drivers
  /**
   * Commits `writes` in order. @see L1-L7
   *
   * @param writes At most `WRITES_MAX`.
   * @returns One outcome per write, in order.
   * @throws {ConvokeError} `store_unknown`: whether anything was written is unknown; `store_failed` when closed.
   */
  commit(writes: readonly Write[]): Promise<readonly WriteOutcome[]>
  /** The events after `after`, at most `limit` (and `READ_EVENTS_MAX`), in order. `undefined` for an unknown stream. @see L8, L9 */
  read(stream: SessionId, after: Position, limit: number): Promise<Page | undefined>
  /** The head, or `undefined` for an unknown stream. */
  head(stream: SessionId): Promise<Position | undefined>
  /** The folded state, or `undefined` for an unknown stream. */
  state(stream: SessionId): Promise<SessionState | undefined>
  /** Batches of streams that `owner` owns now, after feed number `after`, about `limit` events. @see L10 */
  readFeed(owner: UserId, after: number, limit: number): Promise<FeedPage>
  /** The last feed number. */
  feedHead(): Promise<number>
  /** Runs without a terminal event, by session id; those behind session `after`. */
  unfinishedRuns(limit: number, after?: SessionId): Promise<readonly UnfinishedRun[]>
  /** Forgets idempotency keys used before `beforeMs`; at most a bounded number per call. Answers how many. */
  pruneIdempotency(beforeMs: number): Promise<number>
  /** Finishes what was accepted, then closes. Repeatable. */
  close(): Promise<void>
}
