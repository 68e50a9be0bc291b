/**
 * The built-in agent: model calls and tool calls, one after the other, until the model has nothing more to ask for.
 *
 * It decides nothing by itself: `nextEffect` says what comes next, from the log alone, and this file does it.
 */
import type { RunEvent, MessageEvent } from '../domain/event.ts'
import type { Message } from '../domain/message.ts'
import type { Agent, DriverEvent, RunContext } from '../runtime/agent.ts'
import type { AgentParts, Folders } from './parts.ts'
import { CANCELLED_RESULT, UNKNOWN_RESULT } from '../domain/decide-cancel.ts'
import { messageOf } from '../projection/transcript.ts'
import { callModel, modelOf, type CallOutcome } from './call-model.ts'
import { nextEffect, type Effect } from './next-effect.ts'
import { MAX_TURNS_DEFAULT, PARALLEL_CALLS_MAX } from './parts.ts'
import { PromptMemory } from './prompt.ts'
import { recoverTool, runTool } from './run-tool.ts'
import { foldRun, initialRunState, type RunState, type Waiting } from './run-state.ts'
import { unreachable } from '../domain/unreachable.ts'
import { addUsage } from '../domain/usage.ts'

/** The name under which sessions ask for the built-in agent. */
export const BUILTIN_AGENT = 'convoke'

/** The built-in agent over `parts`. */
export function builtinAgent(parts: AgentParts): Agent {
  const memory = new PromptMemory(parts.reads, () => parts.clock.turn())
  return { name: BUILTIN_AGENT, run: (context) => new BuiltinRun(context, parts, memory).run() }
}

class BuiltinRun {
  readonly #context: RunContext
  readonly #parts: AgentParts
  readonly #memory: PromptMemory
  #state: RunState
  #prompt: Message[] = []
  #sessionModel: string | undefined
  #folders: Folders | undefined
  #seenTo = 0

  constructor(context: RunContext, parts: AgentParts, memory: PromptMemory) {
    this.#context = context
    this.#parts = parts
    this.#memory = memory
    this.#state = initialRunState(context.runId, [])
  }

  async run(): Promise<void> {
    const context = this.#context
    await this.#begin()
    const rules = {
      maxTurns: context.options.maxTurns ?? MAX_TURNS_DEFAULT,
      parallelSafe: (name: string) => this.#parts.tools.find((tool) => tool.name === name)?.parallelSafe === true,
    }
    while (!this.#state.ended && !(context.stopping && !this.#state.cancelling)) {
      const ended = await this.#perform(nextEffect(this.#state, rules))
      if (ended) break
    }
    const prompt = this.#prompt
    // What is still handed over until the driver closes its reader must not get into what is kept.
    this.#prompt = []
    this.#memory.keep(context.sessionId, this.#seenTo, prompt)
  }

  /** Loads what was said before this run, then follows the session. */
  async #begin(): Promise<void> {
    const { sessionId, startedAt } = this.#context
    const [history, state] = await Promise.all([this.#memory.load(sessionId, startedAt), this.#parts.state(sessionId)])
    this.#prompt = history
    this.#sessionModel = state?.model
    // What waited before this run began is in no event after its start.
    const waiting = (state?.queue ?? []).map(({ messageId, delivery, message }): Waiting => ({ messageId, delivery, message }))
    this.#state = initialRunState(this.#context.runId, waiting)
    await this.#context.follow((recorded) => {
      this.#state = foldRun(this.#state, recorded)
      this.#seenTo = recorded.position
      const message = messageOf(recorded)
      if (message !== undefined) this.#prompt.push(message.message)
    })
  }

  /** Does one effect. Answers whether the run has ended. */
  async #perform(effect: Effect): Promise<boolean> {
    const context = this.#context
    const { runId } = context
    switch (effect.type) {
      case 'finish':
        return this.#finish(effect.stopReason)
      case 'supersede': {
        const from = this.#state.streamedFrom ?? this.#seenTo + 1
        const { turn, attempt } = this.#state
        await context.record({ type: 'AttemptSuperseded', runId, turn, attempt, from })
        return false
      }
      case 'wait_retry':
        return this.#waitThenRetry(effect.untilMs)
      case 'retry':
        return this.#attempt([], 'AttemptStarted', this.#state.turn, this.#state.attempt + 1)
      case 'start_turn':
        return this.#attempt(effect.take, 'TurnStarted', this.#state.turn + 1, 1)
      case 'reject':
        await context.record(
          ...effect.calls.map(({ call, reason }): RunEvent => ({ type: 'ToolRejected', runId, toolCallId: call.id, toolName: call.name, reason })),
        )
        return false
      case 'answer': {
        const { id, name } = effect.call
        await context.record({ type: 'ToolCompleted', runId, toolCallId: id, toolName: name, result: effect.content, isError: false })
        return false
      }
      case 'ask':
        await context.record({ type: 'ApprovalRequested', runId, toolCallIds: effect.calls.map((call) => call.id) })
        return false
      case 'execute':
        await this.#execute(effect.calls.slice(0, PARALLEL_CALLS_MAX))
        return false
      case 'recover':
        await recoverTool(context, this.#parts, await this.#useFolders(), effect.call)
        return false
      case 'wait_decision':
        await context.changed()
        return false
      case 'end_turn':
        await context.record({ type: 'TurnCompleted', runId, turn: this.#state.turn, finishReason: 'tool_calls' })
        return false
      default:
        return unreachable(effect)
    }
  }

  async #execute(calls: Extract<Effect, { type: 'execute' }>['calls']): Promise<void> {
    const folders = await this.#useFolders()
    await Promise.all(calls.map((call) => runTool(this.#context, this.#parts, folders, call)))
  }

  async #useFolders(): Promise<Folders> {
    this.#folders ??= await this.#parts.folders(this.#context.sessionId)
    return this.#folders
  }

  /** Waits out a pause between tries. A cancel in it ends the run from outside; a stop leaves the rest of it to the next start. */
  async #waitThenRetry(untilMs: number): Promise<boolean> {
    const { signal, released } = this.#context
    try {
      await this.#parts.clock.sleepUntil(untilMs, AbortSignal.any([signal, released]))
    } catch {
      // The signal's reason decides: a cancel is finished by the next effect, anything else leaves the run.
      if (!released.aborted && !this.#state.cancelling) throw signal.reason
    }
    if (released.aborted || signal.aborted) return false
    return this.#attempt([], 'AttemptStarted', this.#state.turn, this.#state.attempt + 1)
  }

  async #attempt(take: readonly Waiting[], type: 'TurnStarted' | 'AttemptStarted', turn: number, attempt: number): Promise<boolean> {
    const context = this.#context
    const { runId } = context
    const model = modelOf(context, this.#state, this.#sessionModel, this.#parts)
    const taken = take.map(({ messageId, delivery, message }): DriverEvent => ({ type: 'MessageAdded', messageId, runId, message, delivery }))
    const intent = context.record(...taken, { type, runId, turn, attempt, model })
    // Messages that are taken in must be in the prompt; without them the call may start while its intent is on the way.
    if (taken.length > 0) await intent
    else intent.catch(() => undefined)
    return this.#settle(await callModel(context, this.#parts, this.#prompt, { turn, attempt, model, callIds: this.#state.callIds }), turn)
  }

  async #settle(outcome: CallOutcome, turn: number): Promise<boolean> {
    const { usage } = this.#state
    switch (outcome.kind) {
      case 'tools':
      case 'retry':
        return false
      case 'said': {
        const reported = outcome.closing.find((event) => event.type === 'UsageReported')
        const end = {
          outcome: { kind: 'completed', stopReason: 'completed' },
          totalUsage: reported === undefined ? usage : addUsage(usage, reported.usage),
        } as const
        return this.#end({ ...end, closing: outcome.closing, totalTurns: turn })
      }
      case 'cancelled':
        return this.#finish('cancelled', outcome.closing)
      case 'failed': {
        const { code, error, closing } = outcome
        return this.#end({ outcome: { kind: 'failed', code, error }, closing, totalTurns: turn, totalUsage: usage })
      }
      default:
        return unreachable(outcome)
    }
  }

  /** Ends the run, with results for calls that are open and the end of a turn that is open. */
  async #finish(stopReason: 'completed' | 'cancelled' | 'max_turns', before: readonly (RunEvent | MessageEvent)[] = []): Promise<boolean> {
    const { runId } = this.#context
    const { turn, turnOpen, usage } = this.#state
    const open = this.#state.calls.filter((call) => turnOpen && call.status !== 'ended')
    const results = open.map((call): RunEvent => {
      // Our own calls have ended by now: one that has begun was begun by a process that is gone.
      const result = call.status === 'started' ? UNKNOWN_RESULT : CANCELLED_RESULT
      return { type: 'ToolCompleted', runId, toolCallId: call.id, toolName: call.name, result, isError: true }
    })
    const last: readonly RunEvent[] = turnOpen ? [{ type: 'TurnCompleted', runId, turn, finishReason: 'cancelled' }] : []
    const closing = [...before, ...results, ...last]
    return this.#end({ outcome: { kind: 'completed', stopReason }, closing, totalTurns: turn, totalUsage: usage })
  }

  /** Ends the run; or, when something arrived meanwhile, records what was to go before the end and goes on. */
  async #end(end: Parameters<RunContext['finish']>[0]): Promise<boolean> {
    const answer = await this.#context.finish(end)
    if (answer === 'finished') return true
    if (end.closing.length > 0) await this.#context.record(...end.closing)
    return false
  }
}
