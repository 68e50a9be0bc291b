/** What an agent is to the runtime, and what the runtime gives it. */
import type { RunOptions, RunEvent, MessageEvent, SessionEvent, Recorded } from '../domain/event.ts'
import type { RunOutcome } from '../domain/command.ts'
import type { Position, RunId, SessionId, UserId } from '../domain/ids.ts'
import type { Usage } from '../domain/usage.ts'

/** Events that a driver may record. */
export type DriverEvent = RunEvent | MessageEvent | SessionEvent

/** The end of a run, as its agent wants it. */
export interface RunEnd {
  readonly outcome: RunOutcome
  readonly closing: readonly (RunEvent | MessageEvent)[]
  readonly totalTurns: number
  readonly totalUsage: Usage
  /** What becomes of messages that wait when the run completes: `refuse` (the default) answers `input_pending`, `next_run` starts the next run with the first. */
  readonly queued?: 'refuse' | 'next_run'
}

/** Who runs in a session. */
export interface Agent {
  readonly name: string
  /**
   * Drives one run to its end by `context.finish`. Called again, from the top, when another process takes the run over.
   * Returning without `finish` while `context.stopping` releases the run for the next start; otherwise it fails the run.
   */
  run(context: RunContext): Promise<void>
}

/** One run, as its agent sees it. */
export interface RunContext {
  readonly sessionId: SessionId
  readonly runId: RunId
  readonly options: RunOptions
  readonly by: UserId
  /** Position of the run's `RunStarted`. */
  readonly startedAt: Position
  /** Aborted when the run is cancelled, ended or taken over by someone else, and when the server's stop runs out of time. */
  readonly signal: AbortSignal
  /** The server stops: finish the step, begin no other. */
  readonly stopping: boolean
  /** Aborted when `stopping` turns true: a pause between steps need not be waited out. */
  readonly released: AbortSignal
  /**
   * Hands every event of the session from `startedAt` on to `listener`, in order. To be called once, first.
   * Resolves when the past has been handed over; later ones come as they are committed.
   */
  follow(listener: (recorded: Recorded) => void): Promise<void>
  /** Resolves when more events have arrived than at the last call, at once if they have already; also when the run must end. */
  changed(): Promise<void>
  /** Appends events at the next flush, in the order of calls. Resolves when they are durable and `follow`'s listener has seen them. */
  record(...events: readonly DriverEvent[]): Promise<void>
  /** As `record`, without waiting: for many small events. One that is lost shows in the next `record` or `finish`, which then throws. */
  emit(event: DriverEvent): void
  /** Whether the outbox is full: then await `drained` before pulling more from a provider. */
  readonly full: boolean
  drained(): Promise<void>
  /** Resolves when what was recorded and emitted so far stands in the log and was seen, or never will be. */
  settled(): Promise<void>
  /** Ends the run. `input_pending`: something arrived that must be taken in first (a cancel, or a message unless `queued` says otherwise); nothing was written, and `changed` has seen it. */
  finish(end: RunEnd): Promise<'finished' | 'input_pending'>
}

/** Thrown out of a run that may not write any more. Nobody needs to report it. */
export class RunGone extends Error {
  constructor(why: string) {
    super(why)
    this.name = 'RunGone'
  }
}
