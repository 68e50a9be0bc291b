/** The commands of a session: wishes that may be refused. Ids and times arrive with them, so that `decide` is pure. */
import type { AutoApprove, DecisionAction, Delivery, RunEvent, MessageEvent, OnInterrupt, RunOptions, StopReason } from './event.ts'
import type { MessageId, Position, RunId, SessionId, UserId } from './ids.ts'
import type { Message } from './message.ts'
import type { Usage } from './usage.ts'

/** What to do with a message when a run is active. */
export type WhenBusy = 'reject' | 'enqueue' | 'steer' | 'interrupt'

/** Opens a session. */
export interface CreateSession {
  readonly type: 'CreateSession'
  readonly title: string
  readonly cwd?: string
  readonly agent: string
  readonly model?: string
  /** Default `resume`. */
  readonly onInterrupt?: OnInterrupt
}
/**
 * Opens a session whose history is another's up to a position. Given to the new session; the engine brings what it must know of the origin.
 *
 * That `at` is a fork point follows from the origin's log, which never changes: whoever gives the command has looked. @see fork-point.ts
 */
export interface ForkSession {
  readonly type: 'ForkSession'
  readonly origin: SessionId
  readonly at: Position
  /** Default: the origin's. */
  readonly title?: string
}
/** Changes a session; what is absent stays. Another agent counts from the next run on. */
export interface UpdateSession {
  readonly type: 'UpdateSession'
  readonly title?: string
  readonly visibility?: 'PRIVATE' | 'PUBLIC'
  readonly agent?: string
  readonly onInterrupt?: OnInterrupt
}
/** Hides a session and cancels its run. Its log stays. */
export interface DeleteSession {
  readonly type: 'DeleteSession'
}
/** Hands a session to another user. For administration. */
export interface AssignSession {
  readonly type: 'AssignSession'
  readonly to: UserId
}
/**
 * Says something to the agent.
 *
 * To an idle session it starts `newRunId`. To a busy one `delivery` (a steering or follow-up addressed to `runId`) or else `whenBusy` decides.
 */
export interface SendMessage {
  readonly type: 'SendMessage'
  readonly messageId: MessageId
  readonly newRunId: RunId
  /** The process that will drive a run that this starts. */
  readonly driver: number
  readonly message: Message
  readonly options: RunOptions
  readonly whenBusy: WhenBusy
  readonly delivery?: Delivery
  /** The run that the sender means. */
  readonly runId?: RunId
}
/** Answers open calls. All or none: one call that cannot be answered refuses the whole command. */
export interface DecideCalls {
  readonly type: 'DecideCalls'
  readonly runId: RunId
  readonly decisions: readonly { readonly toolCallId: string; readonly action: DecisionAction; readonly content?: string }[]
}
/** Stops a run. With no live step its own transaction ends the run. */
export interface CancelRun {
  readonly type: 'CancelRun'
  readonly runId: RunId
}
/** Ends a run whose driver did not confirm a cancel in time: raises the fence, so that the driver's late writes are refused. */
export interface ForceCancel {
  readonly type: 'ForceCancel'
  readonly runId: RunId
}
/** Says whether an interrupted run goes on, where the session asks (`onInterrupt: ask`). The first answer stands. */
export interface ResumeRun {
  readonly type: 'ResumeRun'
  readonly runId: RunId
  readonly action: 'resume' | 'fail'
}
/** Switches the session's model, from the next call on. */
export interface SetModel {
  readonly type: 'SetModel'
  readonly runId: RunId
  readonly model: string
}
/** Takes over an unfinished run whose driver is gone. */
export interface ClaimRun {
  readonly type: 'ClaimRun'
  readonly runId: RunId
  /** The claimed fence as the taker saw it; another one means that somebody else took over first. */
  readonly fence: number
  readonly driver: number
}
/** How a driver wants its run to end. */
export type RunOutcome =
  | { readonly kind: 'completed'; readonly stopReason: StopReason }
  | { readonly kind: 'failed'; readonly code: string; readonly error: string }
/**
 * Ends a run, from its driver. `closing` goes before the terminal event. A message that still waits starts the next run in the same
 * transaction; but a completed run that finds one is refused with `input_pending`, so that it can take it as its next turn.
 */
export interface FinishRun {
  readonly type: 'FinishRun'
  readonly runId: RunId
  readonly fence: number
  readonly closing: readonly (RunEvent | MessageEvent)[]
  readonly outcome: RunOutcome
  readonly totalTurns: number
  readonly totalUsage: Usage
  /** Default `refuse`. `next_run`: a message that waits never holds up the end. */
  readonly queued?: 'refuse' | 'next_run'
}

/** Any command of a session. */
export type SessionCommand =
  | CreateSession
  | ForkSession
  | UpdateSession
  | DeleteSession
  | AssignSession
  | SendMessage
  | DecideCalls
  | CancelRun
  | ForceCancel
  | ResumeRun
  | SetModel
  | ClaimRun
  | FinishRun

/** What a command answers besides its events: ids, small enough to be kept with an idempotency key. */
export interface Reply {
  readonly runId?: RunId
  readonly messageId?: MessageId
  /** How a message came in: it started a run, or it waits. */
  readonly accepted?: 'started' | 'queued'
  /** A cancel that already ended the run, or one that its driver will confirm. */
  readonly cancel?: 'cancelled' | 'cancelling'
  readonly model?: string
  readonly autoApprove?: AutoApprove
}
