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
import type { Principal } from './principal.ts'
import type { OpenCall, SessionState } from './session.ts'
import { ConvokeError } from './errors.ts'

/** Answers calls of the active run, or repeats answers to those of the last one. */
export function decideCalls(state: SessionState, command: DecideCalls, asker: Principal): Decision {
  const known = state.run?.id ?? state.lastRun?.id
  if (known === undefined) throw new ConvokeError('session_not_running', 'no run is active in this session')
  if (known !== command.runId) throw new ConvokeError('run_mismatch', 'another run is active in this session')
  const events = command.decisions.flatMap((decision): readonly StreamEvent[] => {
    const call = state.calls.find((open) => open.id === decision.toolCallId)
    if (call === undefined) throw new ConvokeError('tool_call_not_found', `no call ${decision.toolCallId} in this turn`)
    if (isRepeat(call, decision)) return []
    if (call.status !== 'asked') throw conflict(call)
    if (state.run === undefined) throw new ConvokeError('session_not_running', 'the run has ended')
    const { toolCallId, action, content } = decision
    const kept = action === 'custom_result' && content !== undefined ? { content } : {}
    return [{ type: 'ApprovalDecided', runId: command.runId, toolCallId, action, ...kept, by: asker.user }]
  })
  return { events, reply: { runId: command.runId } }
}

/** The same answer as the recorded one; or an accept of a call that policy approved by itself. */
function isRepeat(call: OpenCall, decision: DecideCalls['decisions'][number]): boolean {
  if (call.decision !== undefined) {
    if (call.decision.action !== decision.action) return false
    return decision.action !== 'custom_result' || call.decision.content === decision.content
  }
  return decision.action === 'accept' && call.status !== 'asked'
}

function conflict(call: OpenCall): ConvokeError {
  const how = call.decision === undefined ? 'needs no decision' : `was already answered with ${call.decision.action}`
  return new ConvokeError('decision_conflict', `call ${call.id} ${how}`)
}
