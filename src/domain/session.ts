/**
 * A session's small state: what a command needs to be decided, folded from the events.
 *
 * S1. `evolve` is total: it takes any event that was ever written, in any state, and never throws.
 * S2. An event that changes nothing returns the same object, so that an engine can see that the row need not be written.
 * S3. `queue` and `calls` are bounded (`QUEUE_MAX`, `CALLS_MAX`); `decide` refuses a message too many; an agent fails a model that asks for too many calls at once.
 * S4. The row without `queue` and `calls` stays below 1 KB.
 */
import type { DecisionAction, Delivery, Disposition, OnInterrupt, ProposedCall, RunOptions, StreamEvent } from './event.ts'
import type { MessageId, Position, RunId, UserId } from './ids.ts'
import type { Message } from './message.ts'
import { NO_USAGE, addUsage, type Usage } from './usage.ts'

/** Messages that may wait in one session. */
export const QUEUE_MAX = 64
/** Calls of one turn. */
export const CALLS_MAX = 256
/** Version of this fold. Whoever makes it say more of the same events raises it: then an engine folds the rows that it has anew. */
export const STATE_VERSION = 2

/** A message that waits. */
export interface QueuedMessage {
  readonly messageId: MessageId
  readonly nextRunId: RunId
  readonly delivery: Delivery
  readonly message: Message
  readonly options: RunOptions
  readonly by: UserId
}

/** A call of the current turn. */
export interface OpenCall {
  readonly id: string
  readonly name: string
  /** What policy said of it: only a call that it left to a person (`ask`) takes an answer. */
  readonly disposition: Disposition
  /** `open`: not started. `asked`: waits for a person. `decided`: answered, not started. `started`: running. `ended`: has its result. */
  readonly status: 'open' | 'asked' | 'decided' | 'started' | 'ended'
  readonly decision?: { readonly action: DecisionAction; readonly content?: string; readonly by: UserId }
  /** Position of the event that proposed it, where its arguments stand. */
  readonly proposedAt: Position
}

/** The active run. */
export interface ActiveRun {
  readonly id: RunId
  readonly driver: number
  /** Position of its `RunStarted`. */
  readonly startedAt: Position
  /** It asked for another model than the session's, which counts until the next switch. */
  readonly ownModel?: true
  readonly turn: number
  /** The turn has not completed: whoever ends the run ends it too. */
  readonly turnOpen: boolean
  /** A model call is under way. */
  readonly calling: boolean
  /** The turn that `calls` are of. */
  readonly callsOf?: number
  /** Steps of an own agent under way; absent for none. */
  readonly steps?: number
  readonly cancelling: boolean
  /** Takeovers since the last finished step. */
  readonly takeovers: number
  /** It was interrupted in a step: `asked` waits for a person to say whether it goes on, `granted` may go on and has not yet. */
  readonly resume?: 'asked' | 'granted'
  readonly usage: Usage
}

/** A session, folded. */
export interface SessionState {
  readonly version: typeof STATE_VERSION
  readonly owner: UserId
  readonly status: 'active' | 'deleted'
  readonly agent: string
  readonly model?: string
  /** Absent: `resume`. */
  readonly onInterrupt?: OnInterrupt
  /** Grows with each claim of a run; a driver's write must carry it exactly. */
  readonly fence: number
  readonly run?: ActiveRun
  readonly lastRun?: { readonly id: RunId; readonly failed: boolean }
  readonly queue: readonly QueuedMessage[]
  readonly calls: readonly OpenCall[]
}

/** Whether a step is under way that only its driver can end. A run that asks whether it may go on has no driver. */
export function hasLiveStep(state: SessionState): boolean {
  return state.run !== undefined && state.run.resume !== 'asked' && hasOpenStep(state)
}

/** Whether a step has begun that has no result. */
export function hasOpenStep(state: SessionState): boolean {
  return state.run !== undefined && (state.run.calling || state.run.steps !== undefined || state.calls.some((call) => call.status === 'started'))
}

/** Whether the run waits for a person and for nothing else. */
export function isWaiting(state: SessionState): boolean {
  if (state.run?.resume === 'asked') return true
  return state.run !== undefined && !hasLiveStep(state) && state.calls.some((call) => call.status === 'asked')
}

/** The state after `event` at `position`. @see S1, S2 */
export function evolve(state: SessionState | undefined, event: StreamEvent, position: Position): SessionState | undefined {
  if (event.type === 'SessionCreated' || event.type === 'SessionForked') return created(event)
  if (state === undefined) return undefined
  switch (event.type) {
    case 'TextDelta':
    case 'ThinkingDelta':
    case 'TextCompleted':
    case 'ToolProgressed':
      return state
    case 'SessionDeleted':
      return { ...state, status: 'deleted' }
    case 'SessionUpdated':
      return updated(state, event)
    case 'SessionAssigned':
      return { ...state, owner: event.to }
    case 'ModelChanged':
      return modelChanged(state, event.model)
    case 'MessageQueued':
      return { ...state, queue: event.front === true ? [queued(event), ...state.queue] : [...state.queue, queued(event)] }
    case 'RunStarted':
      return started(state, event, position)
    case 'RunCompleted':
    case 'RunFailed':
      return ended(state, event.runId, event.type === 'RunFailed')
    default:
      return evolveRun(state, event, position)
  }
}

/** A fork inherits history and nothing else: no run, no queue, no calls, no fence. */
function created(event: Extract<StreamEvent, { type: 'SessionCreated' | 'SessionForked' }>): SessionState {
  return {
    version: STATE_VERSION,
    owner: event.owner,
    status: 'active',
    agent: event.agent,
    ...(event.model === undefined ? {} : { model: event.model }),
    ...(event.onInterrupt === undefined ? {} : { onInterrupt: event.onInterrupt }),
    fence: 0,
    queue: [],
    calls: [],
  }
}

function updated(state: SessionState, { agent, onInterrupt }: Extract<StreamEvent, { type: 'SessionUpdated' }>): SessionState {
  if (agent === undefined && onInterrupt === undefined) return state
  return { ...state, ...(agent === undefined ? {} : { agent }), ...(onInterrupt === undefined ? {} : { onInterrupt }) }
}

function modelChanged(state: SessionState, model: string): SessionState {
  if (state.run?.ownModel === undefined) return { ...state, model }
  const { ownModel: _over, ...run } = state.run
  return { ...state, model, run }
}

function queued(event: Extract<StreamEvent, { type: 'MessageQueued' }>): QueuedMessage {
  const { messageId, nextRunId, delivery, message, options, by } = event
  return { messageId, nextRunId, delivery, message, options, by }
}

function started(state: SessionState, event: Extract<StreamEvent, { type: 'RunStarted' }>, position: Position): SessionState {
  const run: ActiveRun = {
    id: event.runId,
    driver: event.driver,
    startedAt: position,
    ...(event.options.model === undefined || event.options.model === state.model ? {} : { ownModel: true }),
    turn: 0,
    turnOpen: false,
    calling: false,
    cancelling: false,
    takeovers: 0,
    usage: NO_USAGE,
  }
  return { ...state, fence: event.fence, run, calls: [] }
}

function ended(state: SessionState, id: RunId, failed: boolean): SessionState {
  if (state.run?.id !== id) return state
  const { run: _run, ...rest } = state
  return { ...rest, lastRun: { id, failed } }
}

/** Events inside a run. One of another run than the active one changes nothing. */
function evolveRun(state: SessionState, event: StreamEvent, position: Position): SessionState {
  const run = state.run
  if (run === undefined || !('runId' in event) || event.runId !== run.id) return state
  const set = (change: Partial<ActiveRun>): SessionState => ({ ...state, run: { ...run, ...change } })
  switch (event.type) {
    case 'RunClaimed':
      return claimed(state, run, event)
    case 'ResumeRequested':
      return set({ resume: 'asked' })
    case 'ResumeDecided':
      // A person looked at it: what failed before is no crash loop.
      return event.action === 'resume' ? set({ resume: 'granted', takeovers: 0 }) : state
    case 'TurnStarted':
    case 'AttemptStarted':
      return { ...state, run: { ...goingOn(run), turn: event.turn, turnOpen: true, calling: true } }
    case 'RetryScheduled':
    case 'AttemptSuperseded':
      return run.calling ? set({ calling: false }) : state
    case 'MessageAdded':
      return messageAdded(state, run, event)
    case 'UsageReported':
      return set({ usage: addUsage(run.usage, event.usage), takeovers: 0 })
    case 'CancelRequested':
      return run.cancelling ? state : set({ cancelling: true })
    case 'StepStarted':
      return { ...state, run: withSteps(goingOn(run), 1) }
    case 'StepCompleted':
      // What an agent says or looks at is no step: one that says something between two crashes is a crash loop all the same.
      return event.attempt === undefined ? state : finishedStep({ ...state, run: withSteps(run, -1) })
    case 'StepFailed':
      // An interrupted one is none of this driver's: the claim forgot it, and nothing was achieved.
      return event.code === 'step_interrupted' ? state : finishedStep({ ...state, run: withSteps(run, -1) })
    case 'TurnCompleted':
      return run.turnOpen ? set({ turnOpen: false, calling: false }) : state
    case 'ToolCallsProposed':
      return { ...state, run: { ...run, callsOf: run.turn }, calls: proposed(state.calls, run, event.calls, position) }
    default:
      return evolveCalls(state, event)
  }
}

/** The run, when it has begun a step after it was interrupted: from here on it may be interrupted anew. */
function goingOn(run: ActiveRun): ActiveRun {
  if (run.resume === undefined) return run
  const { resume: _resume, ...rest } = run
  return rest
}

/** A run that waits for a person tried nothing that could have failed: restarts meanwhile are no crash loop. */
function claimed(state: SessionState, run: ActiveRun, event: Extract<StreamEvent, { type: 'RunClaimed' }>): SessionState {
  const takeovers = isWaiting(state) ? run.takeovers : run.takeovers + 1
  const { steps: _gone, ...rest } = run
  return { ...state, fence: event.fence, run: { ...rest, driver: event.driver, takeovers, calling: false } }
}

function withSteps(run: ActiveRun, change: 1 | -1): ActiveRun {
  const { steps = 0, ...rest } = run
  const left = Math.max(0, steps + change)
  return left === 0 ? rest : { ...rest, steps: left }
}

function messageAdded(state: SessionState, run: ActiveRun, event: Extract<StreamEvent, { type: 'MessageAdded' }>): SessionState {
  if (event.message.role === 'assistant') return { ...state, run: { ...run, calling: false } }
  const queue = state.queue.filter((waiting) => waiting.messageId !== event.messageId)
  return queue.length === state.queue.length ? state : { ...state, queue }
}

/** An own agent may propose again while calls of the same turn are open: then the older ones stay, the oldest that have ended excepted where they are too many (S3). */
function proposed(known: readonly OpenCall[], run: ActiveRun, calls: readonly ProposedCall[], position: Position): readonly OpenCall[] {
  const added = calls.map((call) => openCall(call, position))
  if (run.callsOf !== run.turn || known.every(({ status }) => status === 'ended')) return added
  let excess = known.length + added.length - CALLS_MAX
  return [...known.filter(({ status }) => status !== 'ended' || excess-- <= 0), ...added]
}

function openCall(call: ProposedCall, position: Position): OpenCall {
  return { id: call.id, name: call.name, disposition: call.disposition, status: 'open', proposedAt: position }
}

function evolveCalls(state: SessionState, event: StreamEvent): SessionState {
  const change = (id: string, to: Partial<OpenCall>): SessionState => ({
    ...state,
    calls: state.calls.map((call) => (call.id === id ? { ...call, ...to } : call)),
  })
  switch (event.type) {
    case 'ApprovalRequested':
      return {
        ...state,
        calls: state.calls.map((call) => (event.toolCallIds.includes(call.id) && call.status === 'open' ? { ...call, status: 'asked' } : call)),
      }
    case 'ApprovalDecided': {
      const { action, content, by } = event
      return change(event.toolCallId, { status: 'decided', decision: { action, by, ...(content === undefined ? {} : { content }) } })
    }
    case 'ToolStarted': {
      const started = change(event.toolCallId, { status: 'started' })
      return started.run?.resume === undefined ? started : { ...started, run: goingOn(started.run) }
    }
    case 'ToolCompleted':
    case 'ToolRejected':
      return finishedStep(change(event.toolCallId, { status: 'ended' }))
    default:
      return state
  }
}

function finishedStep(state: SessionState): SessionState {
  const { run } = state
  return run === undefined || (run.takeovers === 0 && run.resume === undefined) ? state : { ...state, run: { ...goingOn(run), takeovers: 0 } }
}
