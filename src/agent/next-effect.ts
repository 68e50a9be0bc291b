/**
 * What the built-in agent does next: pure, a function of the run's state alone.
 *
 * E1. A call starts when all calls before it have ended, or when it and all unfinished ones before it are parallel-safe.
 * E2. A steering message goes before everything that has not started: open calls are skipped, then it is taken in.
 * E3. A follow-up is taken in only where the run would end.
 */
import { DENIED_RESULT, REJECTED_RESULT } from '../domain/decide-calls.ts'
import type { RunState, TurnCall, Waiting } from './run-state.ts'

/** The result of a call that a steering message made pointless. */
export const SKIPPED_RESULT = 'Skipped due to steering update'

/** The next thing to do. */
export type Effect =
  | { readonly type: 'finish'; readonly stopReason: 'completed' | 'cancelled' | 'max_turns' }
  /** The attempt under way has no driver: mark what it streamed and try again. */
  | { readonly type: 'supersede' }
  | { readonly type: 'wait_retry'; readonly untilMs: number }
  | { readonly type: 'retry' }
  | { readonly type: 'start_turn'; readonly take: readonly Waiting[] }
  | { readonly type: 'reject'; readonly calls: readonly { readonly call: TurnCall; readonly reason: string }[] }
  | { readonly type: 'answer'; readonly call: TurnCall; readonly content: string }
  | { readonly type: 'ask'; readonly calls: readonly TurnCall[] }
  | { readonly type: 'execute'; readonly calls: readonly TurnCall[] }
  | { readonly type: 'recover'; readonly call: TurnCall }
  | { readonly type: 'wait_decision' }
  | { readonly type: 'end_turn' }

/** What the agent knows besides the log. */
export interface Rules {
  readonly maxTurns: number
  readonly parallelSafe: (tool: string) => boolean
}

/** The next effect of `state`. Never called while an effect is under way. */
export function nextEffect(state: RunState, rules: Rules): Effect {
  if (state.cancelling) return { type: 'finish', stopReason: 'cancelled' }
  if (state.turnOpen) return inTurn(state, rules)
  return betweenTurns(state, rules)
}

function betweenTurns(state: RunState, rules: Rules): Effect {
  const steers = state.waiting.filter((message) => message.delivery === 'steer')
  const goesOn = state.turn === 0 || state.lastFinish === 'tool_calls' || steers.length > 0
  const followUp = goesOn ? [] : state.waiting.slice(0, 1)
  if (!goesOn && followUp.length === 0) return { type: 'finish', stopReason: 'completed' }
  if (state.turn >= rules.maxTurns) return { type: 'finish', stopReason: 'max_turns' }
  return { type: 'start_turn', take: goesOn ? steers : followUp }
}

function inTurn(state: RunState, rules: Rules): Effect {
  if (state.calling) return { type: 'supersede' }
  if (state.retryAtMs !== undefined) return { type: 'wait_retry', untilMs: state.retryAtMs }
  if (state.calls.length === 0) return { type: 'retry' }
  return withCalls(state, rules)
}

function withCalls(state: RunState, rules: Rules): Effect {
  const unfinished = state.calls.filter((call) => call.status !== 'ended')
  if (unfinished.length === 0) return { type: 'end_turn' }
  const interrupted = unfinished.find((call) => call.status === 'started')
  if (interrupted !== undefined) return { type: 'recover', call: interrupted }
  if (state.waiting.some((message) => message.delivery === 'steer')) {
    return { type: 'reject', calls: unfinished.map((call) => ({ call, reason: SKIPPED_RESULT })) }
  }
  const refused = unfinished.flatMap((call) => {
    const reason = refusal(call)
    return reason === undefined ? [] : [{ call, reason }]
  })
  if (refused.length > 0) return { type: 'reject', calls: refused }
  const answered = unfinished.find((call) => call.decision?.action === 'custom_result')
  if (answered !== undefined) return { type: 'answer', call: answered, content: answered.decision?.content ?? '' }
  const unasked = unfinished.filter((call) => call.status === 'open' && call.disposition === 'ask' && call.invalid === undefined)
  if (unasked.length > 0) return { type: 'ask', calls: unasked }
  const ready = readyCalls(unfinished, rules)
  return ready.length > 0 ? { type: 'execute', calls: ready } : { type: 'wait_decision' }
}

function refusal(call: TurnCall): string | undefined {
  if (call.decision?.action === 'reject') return REJECTED_RESULT
  return call.disposition === 'deny' ? DENIED_RESULT : undefined
}

/** The calls that may start now. @see E1 */
function readyCalls(unfinished: readonly TurnCall[], rules: Rules): readonly TurnCall[] {
  const ready: TurnCall[] = []
  for (const call of unfinished) {
    if (call.status === 'asked') break
    const alone = !rules.parallelSafe(call.name)
    if (alone && ready.length > 0) break
    ready.push(call)
    if (alone) break
  }
  return ready
}
