/**
 * The port to a log's upkeep: what is done beside its traffic, in bounded steps, so that no commit waits long. Its sentences are the
 * contract of the conformance suite in `testing/`.
 *
 * U1. What was erased is unreachable from the commit on; `sweep` then removes it in bounded steps. A crash between two loses nothing of
 *     the work: the next opening goes on with it.
 * U2. What a fork reads of an erased session's segment stays as it is; what stands behind it goes, also the tail of a batch that straddles.
 *     The segment goes with the last session that reads it.
 * U3. An erased session's files are named by `leftovers` until they are said to be gone.
 * U4. What `pack` does changes nothing that a read, the feed, a cursor or a position can tell. It touches only runs that have ended, and goes
 *     on where it was after reopening.
 * U5. Idle sessions are those without an unfinished run, the longest idle first. What is erased and swept is room that `usedBytes` does not
 *     count any more; `release` gives it back to the file system where the log's file can, in bounded steps.
 */
import type { Position, SessionId } from '../domain/ids.ts'

/** An erased session whose files may still be there. */
export interface Leftover {
  readonly stream: SessionId
  /** A fork that still reads what the session wrote, up to a position: the files that those events name must stay. */
  readonly readBy?: { readonly stream: SessionId; readonly upTo: Position }
}

/** The upkeep of a store. */
export interface Upkeep {
  /** Removes a bounded part of what erased sessions left in the log. Answers whether there is more. @see U1, U2 */
  sweep(): Promise<boolean>
  /** Stores a bounded part of the runs that ended before `beforeMs` in less room. Answers whether there may be more. @see U4 */
  pack(beforeMs: number): Promise<boolean>
  /** Sessions of which a list has shown nothing new since `sinceMs`, at most `limit`. @see U5 */
  idleSessions(sinceMs: number, limit: number): Promise<readonly SessionId[]>
  /** Bytes that the log takes now, about. */
  usedBytes(): Promise<number>
  /** Gives a bounded part of the free room back. Answers whether there may be more. @see U5 */
  release(): Promise<boolean>
  /** Erased sessions whose files may still be there, at most `limit`. @see U3 */
  leftovers(limit: number): Promise<readonly Leftover[]>
  /** The files that `leftover` named are gone. Ignored where it says something else by now. */
  forgetLeftover(leftover: Leftover): Promise<void>
}
