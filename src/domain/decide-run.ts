/** Rules about who may write a run, and how it ends. */
import type { FinishRun } from './command.ts'
import type { Decision } from './decision.ts'
import type { StreamEvent } from './event.ts'
import type { RunId } from './ids.ts'
import type { ActiveRun, QueuedMessage, SessionState } from './session.ts'
import { ConvokeError } from './errors.ts'

/** Takeovers without a finished step after which a run ends as failed. */
export const TAKEOVERS_MAX = 3

/** The active run, which must be `id`. @throws {ConvokeError} `session_not_running`, `run_mismatch` */
export function requireRun(state: SessionState, id: RunId): ActiveRun {
  if (state.run === undefined) throw new ConvokeError('session_not_running', 'no run is active in this session')
  if (state.run.id !== id) throw new ConvokeError('run_mismatch', 'another run is active in this session')
  return state.run
}

/** Ends a run from its driver. The fence was compared before by the engine. */
export function decideFinish(state: SessionState, command: FinishRun): Decision {
  const run = requireRun(state, command.runId)
  const { outcome } = command
  // A message that this very decision delivers is not waiting any more.
  const delivered = new Set(command.closing.map((event) => (event.type === 'MessageAdded' ? event.messageId : undefined)))
  const waiting = state.queue.filter((message) => !delivered.has(message.messageId))
  if (outcome.kind === 'completed' && outcome.stopReason === 'completed') {
    if (run.cancelling) throw new ConvokeError('input_pending', 'a cancel arrived')
    if (waiting.length > 0 && command.queued !== 'next_run') throw new ConvokeError('input_pending', 'a message arrived')
  }
  const last = endOf(run, command)
  return { events: [...command.closing, last, ...startNext(state, waiting, run.driver)], reply: { runId: run.id } }
}

/** How the run ends. A cancel that was accepted wins over what its run failed of meanwhile. */
function endOf(run: ActiveRun, { outcome, totalTurns, totalUsage }: FinishRun): StreamEvent {
  if (outcome.kind === 'failed' && !run.cancelling) return { type: 'RunFailed', runId: run.id, code: outcome.code, error: outcome.error, totalUsage }
  const stopReason = run.cancelling || outcome.kind === 'failed' ? 'cancelled' : outcome.stopReason
  return { type: 'RunCompleted', runId: run.id, totalTurns, totalUsage, stopReason }
}

/** The events that start a run with the first of the messages that wait; none if none waits or the session is deleted. */
export function startNext(state: SessionState, waiting: readonly QueuedMessage[], driver: number, fence = state.fence): readonly StreamEvent[] {
  const first = waiting[0]
  if (first === undefined || state.status === 'deleted') return []
  const { messageId, nextRunId, message, options, delivery, by } = first
  return [
    { type: 'RunStarted', runId: nextRunId, fence: fence + 1, driver, agent: state.agent, options, by },
    { type: 'MessageAdded', messageId, runId: nextRunId, message, delivery },
  ]
}
