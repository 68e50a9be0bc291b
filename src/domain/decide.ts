/**
 * Decides commands: pure, and the only place where a session's rules are enforced.
 *
 * D1. Repeating a command whose effect stands yields no events and the same reply.
 * D2. A refusal is a thrown `ConvokeError` and changes nothing.
 * D3. Another's session looks like an unknown one (P11).
 * D4. A run ends once: whoever ends it does so in one decision together with its closing events (P6).
 */
import type { SessionCommand } from './command.ts'
import type { Asker, Decision } from './decision.ts'
import type { Principal } from './principal.ts'
import type { SessionState } from './session.ts'
import type { ForkSource } from './decide-fork.ts'
import { decideCancel, decideForceCancel } from './decide-cancel.ts'
import { decideCalls } from './decide-calls.ts'
import { decideFork } from './decide-fork.ts'
import { decideMessage } from './decide-message.ts'
import { decideClaim, decideResume } from './decide-interrupt.ts'
import { decideFinish, requireRun } from './decide-run.ts'
import { NOTHING } from './decision.ts'
import { ConvokeError } from './errors.ts'
import { authorize, requireScope } from './principal.ts'
import { unreachable } from './unreachable.ts'

/**
 * Decides `command` against `state`.
 *
 * @param source What is forked, for `ForkSession`; `undefined` where there is no such session.
 * @throws {ConvokeError} `not_found`, `forbidden`, and the codes of the single commands.
 */
export function decide(state: SessionState | undefined, command: SessionCommand, asker: Asker, source?: ForkSource): Decision {
  if (command.type === 'CreateSession') return decideCreate(state, command, asker)
  if (command.type === 'ForkSession') return decideFork(state, command, asker, source)
  if (state === undefined) throw new ConvokeError('not_found', 'session not found')
  if (asker === 'driver') return decideForDriver(state, command)
  authorize(asker, command.type === 'DecideCalls' ? 'approvals:decide' : 'sessions:write', state.owner)
  switch (command.type) {
    case 'UpdateSession':
      return decideUpdate(command, asker)
    case 'DeleteSession':
      return decideDelete(state, asker)
    case 'SendMessage':
      return decideMessage(state, command, asker)
    case 'DecideCalls':
      return decideCalls(state, command, asker)
    case 'CancelRun':
      return decideCancel(state, command.runId, asker.user)
    case 'ResumeRun':
      return decideResume(state, command, asker)
    case 'SetModel':
      return decideModel(state, command, asker)
    case 'AssignSession':
    case 'ForceCancel':
    case 'ClaimRun':
    case 'FinishRun':
      throw new ConvokeError('forbidden', 'only the server itself may do this')
    default:
      return unreachable(command)
  }
}

/** Commands that no request may give: the process gives them to itself. */
function decideForDriver(state: SessionState, command: SessionCommand): Decision {
  switch (command.type) {
    case 'AssignSession':
      if (state.owner === command.to) return NOTHING
      return { events: [{ type: 'SessionAssigned', from: state.owner, to: command.to }], reply: {} }
    case 'ForceCancel':
      return decideForceCancel(state, command.runId)
    case 'ClaimRun':
      return decideClaim(state, command)
    case 'FinishRun':
      return decideFinish(state, command)
    default:
      throw new ConvokeError('forbidden', 'this command needs a principal')
  }
}

function decideCreate(state: SessionState | undefined, command: Extract<SessionCommand, { type: 'CreateSession' }>, asker: Asker): Decision {
  if (asker === 'driver') throw new ConvokeError('forbidden', 'this command needs a principal')
  requireScope(asker, 'sessions:write')
  if (state !== undefined) throw new ConvokeError('session_exists', 'a session with this id exists')
  const { title, cwd, agent, model, onInterrupt } = command
  const optional = {
    ...(cwd === undefined ? {} : { cwd }),
    ...(model === undefined ? {} : { model }),
    ...(onInterrupt === undefined ? {} : { onInterrupt }),
  }
  return { events: [{ type: 'SessionCreated', owner: asker.user, title, agent, ...optional }], reply: {} }
}

function decideUpdate(command: Extract<SessionCommand, { type: 'UpdateSession' }>, asker: Principal): Decision {
  const { title, visibility, agent, onInterrupt } = command
  const change = {
    ...(title === undefined ? {} : { title }),
    ...(visibility === undefined ? {} : { visibility }),
    ...(agent === undefined ? {} : { agent }),
    ...(onInterrupt === undefined ? {} : { onInterrupt }),
  }
  if (Object.keys(change).length === 0) return NOTHING
  return { events: [{ type: 'SessionUpdated', ...change, by: asker.user }], reply: {} }
}

function decideDelete(state: SessionState, asker: Principal): Decision {
  if (state.status === 'deleted') return NOTHING
  const cancel = state.run === undefined ? NOTHING : decideCancel(state, state.run.id, asker.user, 'discard-queue')
  return { events: [...cancel.events, { type: 'SessionDeleted', by: asker.user }], reply: {} }
}

/** A switch that the next call would not make by itself: a run's own model goes before the session's. */
function decideModel(state: SessionState, command: Extract<SessionCommand, { type: 'SetModel' }>, asker: Principal): Decision {
  const { runId, model } = command
  const run = requireRun(state, runId)
  const stands = state.model === model && run.ownModel === undefined
  return { events: stands ? [] : [{ type: 'ModelChanged', model, by: asker.user }], reply: { runId, model } }
}
