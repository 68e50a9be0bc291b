/**
 * The events of a session's stream: facts, never edited.
 *
 * Each event is at most one frame of the `/v1` wire, so what that wire separates is separate here.
 * Fields are spelled out where an event is made, never spread from a command: what is written stays written.
 * A new version of an event's shape carries `v`; `event-types.ts` lifts old ones when they are read.
 */
import type { MessageId, Position, RunId, SessionId, UserId } from './ids.ts'
import type { ContextItem, Json, Message } from './message.ts'
import type { Todo, ToolIntent } from './tool.ts'
import type { Usage } from './usage.ts'

/** What policy says of a call: run it, ask a person, refuse it. */
export type Disposition = 'approve' | 'ask' | 'deny'
/** A person's answer to one call. `custom_result` answers in the tool's place. */
export type DecisionAction = 'accept' | 'reject' | 'custom_result'
/** Which calls run without asking: policy of the server, all, none, or the named tools. */
export type AutoApprove = 'all' | 'none' | readonly string[]
/** Why a turn ended. */
export type TurnFinish = 'stop' | 'tool_calls' | 'max_output_tokens' | 'cancelled' | 'error'
/** Why a run completed. A run that failed ends in `RunFailed` instead. */
export type StopReason = 'completed' | 'cancelled' | 'max_turns'
/** How a queued message wants in: before the next model call, or as a turn of its own when the run would end. */
export type Delivery = 'steer' | 'follow_up'

/** What happens with a run whose driver died in the middle of a step: it goes on, a person is asked, it fails. */
export type OnInterrupt = 'resume' | 'ask' | 'fail'

/** What one run was asked to do differently from its session. */
export interface RunOptions {
  readonly model?: string
  readonly autoApprove?: AutoApprove
  readonly systemPrompt?: string
  readonly maxTurns?: number
  readonly context?: readonly ContextItem[]
}

/** A call as the model proposed it, with what policy says of it. */
export interface ProposedCall {
  readonly id: string
  readonly name: string
  readonly arguments: Json
  readonly metadata?: Json
  readonly invalid?: string
  readonly disposition: Disposition
}

/** Where a fork comes from: a session, and the last position of it that the fork inherits. */
export interface Origin {
  readonly sessionId: SessionId
  readonly position: Position
}

/** Events about the session itself. */
export type SessionEvent =
  | {
      readonly type: 'SessionCreated'
      readonly owner: UserId
      readonly title: string
      readonly cwd?: string
      readonly agent: string
      readonly model?: string
      /** Absent: `resume`. */
      readonly onInterrupt?: OnInterrupt
    }
  | {
      readonly type: 'SessionUpdated'
      readonly title?: string
      readonly visibility?: 'PRIVATE' | 'PUBLIC'
      readonly agent?: string
      readonly onInterrupt?: OnInterrupt
      readonly by: UserId
    }
  /** The first event of a fork's own, behind what it inherits. It says all that a fold needs: nothing before it counts for state or summary. */
  | {
      readonly type: 'SessionForked'
      readonly origin: Origin
      readonly owner: UserId
      readonly title: string
      readonly cwd?: string
      readonly agent: string
      readonly model?: string
      readonly onInterrupt?: OnInterrupt
      /** Messages that it inherits. */
      readonly messages: number
      readonly by: UserId
    }
  | { readonly type: 'SessionDeleted'; readonly by: UserId }
  | { readonly type: 'SessionAssigned'; readonly from: UserId; readonly to: UserId }
  | { readonly type: 'ModelChanged'; readonly model: string; readonly by: UserId }
  | { readonly type: 'TodosUpdated'; readonly runId: RunId; readonly todos: readonly Todo[] }

/** Events about what was said. Tool answers are `ToolCompleted` and `ToolRejected`. */
export type MessageEvent =
  | {
      readonly type: 'MessageAdded'
      readonly messageId: MessageId
      readonly runId: RunId
      readonly message: Message
      /** Set when the message waited in the queue. */
      readonly delivery?: Delivery
      /** An assistant's message that was cut off by a cancel or a failure. */
      readonly partial?: true
    }
  | {
      readonly type: 'MessageQueued'
      readonly messageId: MessageId
      /** The run that it starts if it finds none to join. */
      readonly nextRunId: RunId
      readonly delivery: Delivery
      readonly message: Message
      readonly options: RunOptions
      readonly by: UserId
      /** Goes before the others that wait: it interrupted the run. */
      readonly front?: true
    }

/** Events of one run, in the order of its life. The terminal ones are `RunCompleted` and `RunFailed`. */
export type RunEvent =
  | {
      readonly type: 'RunStarted'
      readonly runId: RunId
      readonly fence: number
      readonly driver: number
      readonly agent: string
      readonly options: RunOptions
      readonly by: UserId
    }
  | { readonly type: 'RunClaimed'; readonly runId: RunId; readonly fence: number; readonly driver: number }
  /** The run was interrupted in a step, and the session wants a person to say whether it goes on. */
  | { readonly type: 'ResumeRequested'; readonly runId: RunId }
  | { readonly type: 'ResumeDecided'; readonly runId: RunId; readonly action: 'resume' | 'fail'; readonly by: UserId }
  | { readonly type: 'TurnStarted'; readonly runId: RunId; readonly turn: number; readonly attempt: number; readonly model: string }
  | { readonly type: 'AttemptStarted'; readonly runId: RunId; readonly turn: number; readonly attempt: number; readonly model: string }
  | { readonly type: 'TextDelta'; readonly runId: RunId; readonly delta: string }
  | { readonly type: 'ThinkingDelta'; readonly runId: RunId; readonly delta: string }
  | { readonly type: 'TextCompleted'; readonly runId: RunId; readonly text: string }
  | { readonly type: 'RetryScheduled'; readonly runId: RunId; readonly attempt: number; readonly delayMs: number; readonly reason: string }
  /** What the attempt streamed from position `from` on does not count. */
  | { readonly type: 'AttemptSuperseded'; readonly runId: RunId; readonly turn: number; readonly attempt: number; readonly from: Position }
  | { readonly type: 'UsageReported'; readonly runId: RunId; readonly turn: number; readonly model: string; readonly usage: Usage }
  | { readonly type: 'ToolCallsProposed'; readonly runId: RunId; readonly turn: number; readonly calls: readonly ProposedCall[] }
  | { readonly type: 'ApprovalRequested'; readonly runId: RunId; readonly toolCallIds: readonly string[] }
  | {
      readonly type: 'ApprovalDecided'
      readonly runId: RunId
      readonly toolCallId: string
      readonly action: DecisionAction
      readonly content?: string
      readonly by: UserId
    }
  | {
      readonly type: 'ToolStarted'
      readonly runId: RunId
      readonly toolCallId: string
      readonly toolName: string
      readonly attempt: number
      readonly intent?: ToolIntent
    }
  | { readonly type: 'ToolProgressed'; readonly runId: RunId; readonly toolCallId: string; readonly message: string }
  | {
      readonly type: 'ToolCompleted'
      readonly runId: RunId
      readonly toolCallId: string
      readonly toolName: string
      readonly result: string
      readonly isError: boolean
      readonly outputFile?: string
    }
  | { readonly type: 'ToolRejected'; readonly runId: RunId; readonly toolCallId: string; readonly toolName: string; readonly reason: string }
  /** The intent of one step of an own agent: recorded before it acts. `inputHash` names what it is given. */
  | { readonly type: 'StepStarted'; readonly runId: RunId; readonly key: string; readonly attempt: number; readonly inputHash?: string }
  /** A step's result; absent for null. Without `attempt` it took no time and had no intent: a reading of the clock, a text that was said. */
  | { readonly type: 'StepCompleted'; readonly runId: RunId; readonly key: string; readonly result?: Json; readonly attempt?: number }
  /** A step's failure: final, unless it is tried again at `retryAtMs`. The code `step_interrupted` says that its process died in it. */
  | {
      readonly type: 'StepFailed'
      readonly runId: RunId
      readonly key: string
      readonly attempt: number
      readonly name: string
      readonly error: string
      readonly code?: string
      readonly retryAtMs?: number
    }
  | { readonly type: 'TurnCompleted'; readonly runId: RunId; readonly turn: number; readonly finishReason: TurnFinish }
  | { readonly type: 'CancelRequested'; readonly runId: RunId; readonly by: UserId }
  | {
      readonly type: 'RunCompleted'
      readonly runId: RunId
      readonly totalTurns: number
      readonly totalUsage: Usage
      readonly stopReason: StopReason
    }
  | { readonly type: 'RunFailed'; readonly runId: RunId; readonly code: string; readonly error: string; readonly totalUsage: Usage }

/** What a reader sees in place of an event that it cannot read: damaged, or written by a newer version. */
export interface UnknownEvent {
  readonly type: 'Unknown'
  readonly originalType: string
}

/** Any event of a session. */
export type StreamEvent = SessionEvent | MessageEvent | RunEvent | UnknownEvent

/** An event in its place. */
export interface Recorded {
  readonly position: Position
  readonly atMs: number
  readonly event: StreamEvent
}

/** Whether `event` ends its run. */
export function isTerminal(event: StreamEvent): event is Extract<RunEvent, { type: 'RunCompleted' | 'RunFailed' }> {
  return event.type === 'RunCompleted' || event.type === 'RunFailed'
}
