/**
 * The built-in agent's view of its run, folded from the log.
 *
 * Everything that the agent acts on is here, so that a run that is taken over goes on from the same state.
 */
import type { Delivery, Disposition, DecisionAction, Recorded, StreamEvent, TurnFinish } from '../domain/event.ts'
import type { MessageId, Position, RunId } from '../domain/ids.ts'
import type { Json, Message } from '../domain/message.ts'
import { NO_USAGE, addUsage, type Usage } from '../domain/usage.ts'

/** A call of the current turn. */
export interface TurnCall {
  readonly id: string
  readonly name: string
  readonly arguments: Json
  readonly invalid?: string
  readonly disposition: Disposition
  readonly status: 'open' | 'asked' | 'decided' | 'started' | 'ended'
  readonly decision?: { readonly action: DecisionAction; readonly content?: string }
  readonly attempt: number
  readonly intent?: { readonly groupId: number; readonly startTicks: number }
}

/** A message that waits to be taken in. */
export interface Waiting {
  readonly messageId: MessageId
  readonly delivery: Delivery
  readonly message: Message
}

/** The run, folded. */
export interface RunState {
  readonly runId: RunId
  /** The session's model as last changed; the run's own option wins over it until the next change. */
  readonly model?: string
  readonly turn: number
  /** The turn is under way. */
  readonly turnOpen: boolean
  readonly attempt: number
  /** An attempt is recorded that has no result yet. */
  readonly calling: boolean
  /** Position of the first text or thinking of this attempt, if it streamed any. */
  readonly streamedFrom?: Position
  /** A retry is due then. */
  readonly retryAtMs?: number
  readonly calls: readonly TurnCall[]
  /** Ids of all calls of the run. */
  readonly callIds: ReadonlySet<string>
  readonly waiting: readonly Waiting[]
  readonly lastFinish?: TurnFinish
  readonly cancelling: boolean
  readonly ended: boolean
  readonly usage: Usage
}

/** A run before its first event. */
export function initialRunState(runId: RunId, waiting: readonly Waiting[]): RunState {
  return {
    runId,
    turn: 0,
    turnOpen: false,
    attempt: 0,
    calling: false,
    calls: [],
    callIds: new Set(),
    waiting,
    cancelling: false,
    ended: false,
    usage: NO_USAGE,
  }
}

/** The run after `recorded`. Total: events of other runs change only what waits and the model. */
export function foldRun(state: RunState, recorded: Recorded): RunState {
  const { event, position, atMs } = recorded
  if (event.type === 'ModelChanged') return { ...state, model: event.model }
  if (event.type === 'MessageQueued') return enqueue(state, event)
  if (!('runId' in event) || event.runId !== state.runId) return state
  switch (event.type) {
    case 'TurnStarted':
      return { ...omit(state, 'streamedFrom', 'retryAtMs'), turn: event.turn, turnOpen: true, attempt: event.attempt, calling: true, calls: [] }
    case 'AttemptStarted':
      return { ...omit(state, 'streamedFrom', 'retryAtMs'), attempt: event.attempt, calling: true }
    case 'TextDelta':
    case 'ThinkingDelta':
      return state.streamedFrom === undefined ? { ...state, streamedFrom: position } : state
    case 'RetryScheduled':
      return { ...state, calling: false, retryAtMs: atMs + event.delayMs }
    case 'AttemptSuperseded':
      return { ...omit(state, 'streamedFrom'), calling: false }
    case 'MessageAdded':
      if (event.message.role === 'assistant') return { ...state, calling: false }
      return { ...state, waiting: state.waiting.filter((message) => message.messageId !== event.messageId) }
    case 'UsageReported':
      return { ...state, usage: addUsage(state.usage, event.usage) }
    case 'ToolCallsProposed':
      return {
        ...state,
        calls: event.calls.map((call) => ({ ...call, status: 'open', attempt: 0 })),
        callIds: new Set([...state.callIds, ...event.calls.map(({ id }) => id)]),
      }
    case 'TurnCompleted':
      return { ...state, turnOpen: false, calling: false, lastFinish: event.finishReason }
    case 'CancelRequested':
      return { ...state, cancelling: true }
    case 'RunCompleted':
    case 'RunFailed':
      return { ...state, ended: true }
    default:
      return foldCalls(state, event)
  }
}

function enqueue(state: RunState, event: Extract<StreamEvent, { type: 'MessageQueued' }>): RunState {
  const { messageId, delivery, message } = event
  // The queue as it stood when the driver began may hold it already.
  if (state.waiting.some((known) => known.messageId === messageId)) return state
  const waiting = { messageId, delivery, message }
  return { ...state, waiting: event.front === true ? [waiting, ...state.waiting] : [...state.waiting, waiting] }
}

function foldCalls(state: RunState, event: StreamEvent): RunState {
  const change = (id: string, to: Partial<TurnCall>): RunState => ({
    ...state,
    calls: state.calls.map((call) => (call.id === id ? { ...call, ...to } : call)),
  })
  switch (event.type) {
    case 'ApprovalRequested':
      return { ...state, calls: state.calls.map((call) => (event.toolCallIds.includes(call.id) ? { ...call, status: 'asked' } : call)) }
    case 'ApprovalDecided':
      return change(event.toolCallId, {
        status: 'decided',
        decision: { action: event.action, ...(event.content === undefined ? {} : { content: event.content }) },
      })
    case 'ToolStarted':
      return change(event.toolCallId, { status: 'started', attempt: event.attempt, ...(event.intent === undefined ? {} : { intent: event.intent }) })
    case 'ToolCompleted':
    case 'ToolRejected':
      return change(event.toolCallId, { status: 'ended' })
    default:
      return state
  }
}

function omit<T extends object, K extends keyof T>(value: T, ...keys: readonly K[]): Omit<T, K> {
  const copy = { ...value }
  for (const key of keys) delete copy[key]
  return copy
}
