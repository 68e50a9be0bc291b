/**
 * Rules about runs whose driver died.
 *
 * I1. A run is interrupted when a step had begun that has no result. Only then the session's `onInterrupt` counts: a run between steps, or
 *     one that waits for an approval, has lost nothing and goes on.
 * I2. `fail` ends it in the very claim, `ask` parks it until a person decides; both survive another crash. A person who said "go on" is not
 *     asked again for the same interruption.
 * I3. Each open call of an interrupted run that ends gets a result, so that the history stays valid for every provider.
 */
import type { ClaimRun, ResumeRun } from './command.ts'
import type { Decision } from './decision.ts'
import type { StreamEvent } from './event.ts'
import type { Principal } from './principal.ts'
import type { ActiveRun, SessionState } from './session.ts'
import { UNKNOWN_RESULT, openCallResults } from './decide-cancel.ts'
import { TAKEOVERS_MAX, requireRun, startNext } from './decide-run.ts'
import { ConvokeError } from './errors.ts'
import { hasOpenStep } from './session.ts'

/** Takes over a run. Whoever does looks at `takeovers` first: after `TAKEOVERS_MAX` it drives the run to its end and no further. */
export function decideClaim(state: SessionState, command: ClaimRun): Decision {
  const run = requireRun(state, command.runId)
  if (run.driver === command.driver && state.fence === command.fence + 1) return { events: [], reply: { runId: run.id } }
  if (state.fence !== command.fence) throw new ConvokeError('run_mismatch', 'this run was taken over by another process')
  const fence = state.fence + 1
  const claimed: StreamEvent = { type: 'RunClaimed', runId: run.id, fence, driver: command.driver }
  return { events: [claimed, ...interrupted(state, run, command.driver, fence)], reply: { runId: run.id } }
}

/**
 * What the session wants for a run whose driver died in a step. A crash loop ends by its own rule; a cancel that was accepted is carried out by the new
 * driver; a person who said "go on" is not asked again.
 */
function interrupted(state: SessionState, run: ActiveRun, driver: number, fence: number): readonly StreamEvent[] {
  if (!hasOpenStep(state) || run.cancelling || run.resume === 'granted' || run.takeovers >= TAKEOVERS_MAX) return []
  switch (state.onInterrupt ?? 'resume') {
    case 'resume':
      return []
    case 'ask':
      return run.resume === 'asked' ? [] : [{ type: 'ResumeRequested', runId: run.id }]
    case 'fail':
      return failedEnd(state, run, driver, fence)
  }
}

/** Whether an interrupted run goes on. */
export function decideResume(state: SessionState, { runId, action }: ResumeRun, asker: Principal): Decision {
  if (action === 'fail' && state.run === undefined && state.lastRun?.id === runId && state.lastRun.failed) return { events: [], reply: { runId } }
  const run = requireRun(state, runId)
  if (run.resume === 'granted' && action === 'resume') return { events: [], reply: { runId } }
  if (run.resume !== 'asked') throw new ConvokeError('decision_conflict', 'this run does not ask whether it may go on')
  const decided: StreamEvent = { type: 'ResumeDecided', runId, action, by: asker.user }
  return { events: [decided, ...(action === 'fail' ? failedEnd(state, run, run.driver, state.fence) : [])], reply: { runId } }
}

/** The end of a run that was interrupted and does not go on, with a result for each open call. */
function failedEnd(state: SessionState, run: ActiveRun, driver: number, fence: number): readonly StreamEvent[] {
  const turn: readonly StreamEvent[] = run.turnOpen ? [{ type: 'TurnCompleted', runId: run.id, turn: run.turn, finishReason: 'error' }] : []
  const failed = { type: 'RunFailed', runId: run.id, code: 'run_interrupted', error: 'the run was interrupted', totalUsage: run.usage } as const
  return [...openCallResults(state, UNKNOWN_RESULT), ...turn, failed, ...startNext(state, state.queue, driver, fence)]
}
