/**
 * Rules about answering calls.
 *
 * A1. The first answer to a call stands. The same answer again is no event; another one is `decision_conflict`.
 * A2. A bulk answer is applied whole or not at all.
 * A3. A message is never an answer; an answer to a call that is not of this run is refused, never kept for later.
 */
import type { DecideCalls } from './command.ts'
import type { Decision } from './decision.ts'
import type { StreamEvent } from './event.ts'
import type { RunId } from './ids.ts'
import type { Principal } from './principal.ts'
import type { OpenCall, SessionState } from './session.ts'
import { ConvokeError } from './errors.ts'
import { evolve } from './session.ts'

/** The result of a call that a person refused. */
export const REJECTED_RESULT = 'Tool call rejected by user'
/** The result of a call that policy denies. */
export const DENIED_RESULT = 'Tool call denied by policy'

/** Answers calls of the active run, or repeats answers to those of the last one. */
export function decideCalls(state: SessionState, command: DecideCalls, asker: Principal): Decision {
  const known = state.run?.id ?? state.lastRun?.id
  if (known === undefined) throw new ConvokeError('session_not_running', 'no run is active in this session')
  if (known !== command.runId) throw new ConvokeError('run_mismatch', 'another run is active in this session')
  const events: StreamEvent[] = []
  let folded = state
  for (const decision of command.decisions) {
    const event = decideCall(folded, decision, command.runId, asker)
    if (event === undefined) continue
    events.push(event)
    // A later answer of the same command meets the earlier ones.
    folded = evolve(folded, event, 0) ?? folded
  }
  return { events, reply: { runId: command.runId } }
}

type CallDecision = DecideCalls['decisions'][number]

function decideCall(state: SessionState, decision: CallDecision, runId: RunId, asker: Principal): StreamEvent | undefined {
  const { toolCallId, action, content } = decision
  const call = state.calls.find((open) => open.id === toolCallId)
  if (call === undefined) throw new ConvokeError('tool_call_not_found', `no call ${toolCallId} in this turn`)
  if (isRepeat(call, decision)) return undefined
  if (call.status !== 'asked') throw conflict(call)
  if (state.run === undefined) throw new ConvokeError('session_not_running', 'the run has ended')
  const kept = action === 'custom_result' && content !== undefined ? { content } : {}
  return { type: 'ApprovalDecided', runId, toolCallId, action, ...kept, by: asker.user }
}

/** The same answer as the recorded one; or an accept of a call that policy decided by itself. One that is for a person is never accepted unasked. */
function isRepeat(call: OpenCall, decision: CallDecision): boolean {
  if (call.decision !== undefined) {
    if (call.decision.action !== decision.action) return false
    return decision.action !== 'custom_result' || call.decision.content === decision.content
  }
  return decision.action === 'accept' && call.disposition !== 'ask'
}

function conflict(call: OpenCall): ConvokeError {
  return new ConvokeError('decision_conflict', `call ${call.id} ${whyNot(call)}`)
}

function whyNot(call: OpenCall): string {
  if (call.decision !== undefined) return `was already answered with ${call.decision.action}`
  if (call.disposition !== 'ask') return 'needs no decision'
  return call.status === 'open' ? 'is not open for a decision yet' : 'ended without a decision'
}
