/**
 * The journal of an own agent's run: what the log has of it, folded.
 *
 * Everything that the function is answered without doing it again is here. Bounded: see `steps.ts` for how many, `journal-value.ts` for how large.
 */
import type { DecisionAction, Disposition, Recorded, StreamEvent } from '../domain/event.ts'
import type { Position, RunId, UserId } from '../domain/ids.ts'
import type { Json, Message } from '../domain/message.ts'
import type { QueuedMessage } from '../domain/session.ts'
import type { Failure } from './step-errors.ts'
import { NO_USAGE, addUsage, type Usage } from '../domain/usage.ts'

/** One step, as far as the log has it. */
export interface StepRecord {
  readonly status: 'started' | 'completed' | 'failed'
  readonly attempt: number
  readonly inputHash?: string
  readonly result?: Json
  readonly failure?: Failure
  /** It is tried again then. */
  readonly retryAtMs?: number
}

/** One call that the agent asked for, as far as the log has it. */
export interface CallRecord {
  readonly id: string
  readonly name: string
  readonly arguments: Json
  readonly disposition: Disposition
  readonly status: 'open' | 'asked' | 'decided' | 'started' | 'ended'
  readonly decision?: { readonly action: DecisionAction; readonly content?: string; readonly by: UserId }
  readonly attempt: number
  readonly intent?: { readonly groupId: number; readonly startTicks: number }
  /** What it ended with. */
  readonly answer?: { readonly output: string; readonly isError: boolean; readonly rejected: boolean }
}

/** A message that waits to be taken in. */
export type WaitingMessage = Pick<QueuedMessage, 'messageId' | 'delivery' | 'message'>

/** The run, folded. */
export class Journal {
  readonly runId: RunId
  readonly steps = new Map<string, StepRecord>()
  readonly calls = new Map<string, CallRecord>()
  /** The message that started the run. */
  input: Message | undefined
  waiting: readonly WaitingMessage[]
  /** Messages that waited and were taken in, by id. */
  readonly taken = new Map<string, WaitingMessage>()
  turn = 0
  turnOpen = false
  attempt = 0
  /** The turn's text was superseded, and nothing was streamed since. */
  superseded = false
  /** Where the text begins that no message holds yet. */
  textFrom: Position | undefined
  usage: Usage = NO_USAGE
  /** Characters of all results. */
  chars = 0

  constructor(runId: RunId, waiting: readonly WaitingMessage[]) {
    this.runId = runId
    this.waiting = waiting
  }

  /** The calls that have no result yet. */
  get openCalls(): readonly CallRecord[] {
    return [...this.calls.values()].filter(({ status }) => status !== 'ended')
  }

  /** Takes in the next event of the session. Total. */
  fold({ event, position }: Recorded): void {
    if (event.type === 'MessageQueued') return this.#queue(event)
    if (!('runId' in event) || event.runId !== this.runId) return
    switch (event.type) {
      case 'MessageAdded':
        return this.#message(event)
      case 'TextDelta':
      case 'ThinkingDelta':
        this.textFrom ??= position
        return
      case 'TurnStarted':
      case 'AttemptStarted':
        Object.assign(this, { turn: event.turn, attempt: event.attempt, turnOpen: true, superseded: false, textFrom: undefined })
        return
      case 'AttemptSuperseded':
        Object.assign(this, { superseded: true, textFrom: undefined })
        return
      case 'TurnCompleted':
        Object.assign(this, { turnOpen: false, textFrom: undefined })
        return
      case 'UsageReported':
        this.usage = addUsage(this.usage, event.usage)
        return
      case 'StepStarted':
      case 'StepCompleted':
      case 'StepFailed':
        return this.#step(event)
      default:
        return this.#call(event)
    }
  }

  #queue(event: Extract<StreamEvent, { type: 'MessageQueued' }>): void {
    const { messageId, delivery, message } = event
    // The queue as it stood when the driver began may hold it already.
    if (this.waiting.some((known) => known.messageId === messageId)) return
    const waiting: WaitingMessage = { messageId, delivery, message }
    this.waiting = event.front === true ? [waiting, ...this.waiting] : [...this.waiting, waiting]
  }

  #message({ messageId, message, delivery }: Extract<StreamEvent, { type: 'MessageAdded' }>): void {
    if (message.role === 'assistant') {
      this.textFrom = undefined
      return
    }
    // The first one started the run; it may have waited for that, too.
    if (this.input === undefined) this.input = message
    else if (delivery !== undefined) this.taken.set(messageId, { messageId, message, delivery })
    this.waiting = this.waiting.filter((waiting) => waiting.messageId !== messageId)
  }

  #step(event: Extract<StreamEvent, { type: 'StepStarted' | 'StepCompleted' | 'StepFailed' }>): void {
    const { key } = event
    const known = this.steps.get(key)
    const input = known?.inputHash === undefined ? {} : { inputHash: known.inputHash }
    if (event.type === 'StepStarted') {
      const { attempt, inputHash } = event
      this.steps.set(key, { status: 'started', attempt, ...(inputHash === undefined ? {} : { inputHash }) })
    } else if (event.type === 'StepCompleted') {
      this.chars += JSON.stringify(event.result ?? null).length
      this.steps.set(key, { status: 'completed', attempt: event.attempt ?? 1, result: event.result ?? null, ...input })
    } else {
      const { attempt, name, error, code, retryAtMs } = event
      const failure: Failure = { name, error, ...(code === undefined ? {} : { code }) }
      this.steps.set(key, { status: 'failed', attempt, failure, ...input, ...(retryAtMs === undefined ? {} : { retryAtMs }) })
    }
  }

  #call(event: StreamEvent): void {
    const change = (id: string, to: Partial<CallRecord>) => {
      const known = this.calls.get(id)
      if (known !== undefined) this.calls.set(id, { ...known, ...to })
    }
    switch (event.type) {
      case 'ToolCallsProposed':
        for (const { id, name, arguments: args, disposition } of event.calls)
          this.calls.set(id, { id, name, arguments: args, disposition, status: 'open', attempt: 0 })
        return
      case 'ApprovalRequested':
        for (const id of event.toolCallIds) change(id, { status: 'asked' })
        return
      case 'ApprovalDecided': {
        const { action, content, by } = event
        return change(event.toolCallId, { status: 'decided', decision: { action, by, ...(content === undefined ? {} : { content }) } })
      }
      case 'ToolStarted':
        return change(event.toolCallId, { status: 'started', attempt: event.attempt, ...(event.intent === undefined ? {} : { intent: event.intent }) })
      case 'ToolCompleted':
        return change(event.toolCallId, { status: 'ended', answer: { output: event.result, isError: event.isError, rejected: false } })
      case 'ToolRejected':
        return change(event.toolCallId, { status: 'ended', answer: { output: event.reason, isError: true, rejected: true } })
      default:
    }
  }
}
