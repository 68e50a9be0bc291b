/**
 * Rules about cancelling (P8).
 *
 * Without a live step the cancel itself ends the run. With one it is a wish that the driver confirms; if the driver does not within
 * `CANCEL_CONFIRM_MS`, `ForceCancel` ends the run over its head, by a higher fence.
 */
import type { Decision } from './decision.ts'
import type { RunEvent, StreamEvent } from './event.ts'
import type { RunId, UserId } from './ids.ts'
import type { ActiveRun, SessionState } from './session.ts'
import { requireRun, startNext } from './decide-run.ts'
import { hasLiveStep } from './session.ts'

/** How long a driver has to confirm a cancel, in ms, before the run is ended without it. */
export const CANCEL_CONFIRM_MS = 150
/** The result of a call that was cancelled before or while it ran. */
export const CANCELLED_RESULT = 'TOOL_CALL_CANCELLED'
/** The result of a call of which nobody can say whether it took effect. */
export const UNKNOWN_RESULT = 'TOOL_CALL_OUTCOME_UNKNOWN: the call was interrupted; it may or may not have taken effect'

/** Cancels a run. Repeating it, also after the run ended, changes nothing. */
export function decideCancel(state: SessionState, id: RunId, by: UserId, queue: 'start-next' | 'discard-queue' = 'start-next'): Decision {
  if (state.run === undefined && state.lastRun?.id === id) return { events: [], reply: { runId: id, cancel: 'cancelled' } }
  const run = requireRun(state, id)
  const wish: readonly StreamEvent[] = run.cancelling ? [] : [{ type: 'CancelRequested', runId: id, by }]
  if (hasLiveStep(state)) return { events: wish, reply: { runId: id, cancel: 'cancelling' } }
  const next = queue === 'start-next' ? startNext(state, state.queue, run.driver) : []
  // What an interrupted run had begun may have taken effect.
  const startedResult = run.resume === 'asked' ? UNKNOWN_RESULT : CANCELLED_RESULT
  return { events: [...wish, ...cancelledEnd(state, run, startedResult), ...next], reply: { runId: id, cancel: 'cancelled' } }
}

/** Ends a run whose driver stays silent. The raised fence refuses whatever that driver still writes. */
export function decideForceCancel(state: SessionState, id: RunId): Decision {
  if (state.run?.id !== id || !state.run.cancelling) return { events: [], reply: { runId: id } }
  const run = state.run
  const fence = state.fence + 1
  const raised: StreamEvent = { type: 'RunClaimed', runId: id, fence, driver: run.driver }
  const next = startNext(state, state.queue, run.driver, fence)
  return { events: [raised, ...cancelledEnd(state, run, UNKNOWN_RESULT), ...next], reply: { runId: id, cancel: 'cancelled' } }
}

/** A result for each open call of the active run. A call that never started was plainly cancelled; a started one gets `startedResult`. */
export function openCallResults(state: SessionState, startedResult: string): readonly RunEvent[] {
  const run = state.run
  if (run === undefined) return []
  return state.calls
    .filter((call) => call.status !== 'ended')
    .map((call): RunEvent => {
      const result = call.status === 'started' ? startedResult : CANCELLED_RESULT
      return { type: 'ToolCompleted', runId: run.id, toolCallId: call.id, toolName: call.name, result, isError: true }
    })
}

function cancelledEnd(state: SessionState, run: ActiveRun, startedResult: string): readonly StreamEvent[] {
  const results = openCallResults(state, startedResult)
  const turn: readonly StreamEvent[] = run.turnOpen ? [{ type: 'TurnCompleted', runId: run.id, turn: run.turn, finishReason: 'cancelled' }] : []
  const end: StreamEvent = { type: 'RunCompleted', runId: run.id, totalTurns: run.turn, totalUsage: run.usage, stopReason: 'cancelled' }
  return [...results, ...turn, end]
}
