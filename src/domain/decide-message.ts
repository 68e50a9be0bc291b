/**
 * Rules about messages.
 *
 * M1. An accepted message is never lost: it starts a run, joins the active one, or waits and starts the next.
 * M2. A follow-up whose run has ended starts the next run; a steering message is refused then.
 * M3. `queue_full` refuses what would exceed `QUEUE_MAX` messages.
 */
import type { SendMessage } from './command.ts'
import type { Decision } from './decision.ts'
import type { Delivery } from './event.ts'
import type { Principal } from './principal.ts'
import type { SessionState } from './session.ts'
import { decideCancel } from './decide-cancel.ts'
import { ConvokeError } from './errors.ts'
import { QUEUE_MAX, evolve } from './session.ts'

/** Takes a message in. */
export function decideMessage(state: SessionState, command: SendMessage, asker: Principal): Decision {
  if (state.status === 'deleted') throw new ConvokeError('session_deleted', 'this session is deleted')
  if (command.delivery !== undefined) return decideDelivery(state, command, command.delivery, asker)
  if (state.run === undefined) return start(state, command, asker)
  if (command.runId !== undefined && command.runId !== state.run.id) throw new ConvokeError('run_mismatch', 'another run is active in this session')
  switch (command.whenBusy) {
    case 'reject':
      throw new ConvokeError('session_already_running', 'a run is active in this session')
    case 'enqueue':
      return enqueue(state, command, 'follow_up', asker)
    case 'steer':
      return enqueue(state, command, 'steer', asker)
    case 'interrupt':
      return interrupt(state, command, asker)
  }
}

/** A steering or follow-up names its run. */
function decideDelivery(state: SessionState, command: SendMessage, delivery: Delivery, asker: Principal): Decision {
  if (command.runId === undefined) throw new ConvokeError('run_mismatch', `a ${delivery} must name its run`)
  if (state.run?.id === command.runId) return enqueue(state, command, delivery, asker)
  const named = state.lastRun?.id === command.runId
  if (delivery === 'follow_up' && named) return state.run === undefined ? start(state, command, asker) : enqueue(state, command, delivery, asker)
  if (state.run === undefined) throw new ConvokeError('session_not_running', 'no run is active in this session')
  throw new ConvokeError('run_mismatch', 'another run is active in this session')
}

function start(state: SessionState, command: SendMessage, asker: Principal): Decision {
  const { messageId, newRunId, driver, message, options } = command
  return {
    events: [
      { type: 'RunStarted', runId: newRunId, fence: state.fence + 1, driver, agent: state.agent, options, by: asker.user },
      { type: 'MessageAdded', messageId, runId: newRunId, message },
    ],
    reply: { runId: newRunId, messageId, accepted: 'started' },
  }
}

function enqueue(state: SessionState, command: SendMessage, delivery: Delivery, asker: Principal, front = false): Decision {
  if (state.queue.length >= QUEUE_MAX) throw new ConvokeError('queue_full', `${QUEUE_MAX} messages wait already`)
  const { messageId, newRunId, message, options } = command
  const waiting = { messageId, nextRunId: newRunId, delivery, message, options, by: asker.user }
  return {
    events: [{ type: 'MessageQueued', ...waiting, ...(front ? { front: true } : {}) }],
    reply: { runId: front ? newRunId : (state.run?.id ?? newRunId), messageId, accepted: 'queued' },
  }
}

/** Cancels, then starts: at once where no step is live, else when the driver has confirmed. The message goes before others that wait. */
function interrupt(state: SessionState, command: SendMessage, asker: Principal): Decision {
  const run = state.run
  if (run === undefined) return start(state, command, asker)
  const queued = enqueue(state, command, 'follow_up', asker, true)
  const before = queued.events.reduce<SessionState>((folded, event) => evolve(folded, event, 0) ?? folded, state)
  const cancel = decideCancel(before, run.id, asker.user)
  const accepted = cancel.reply.cancel === 'cancelled' ? 'started' : 'queued'
  return { events: [...queued.events, ...cancel.events], reply: { ...queued.reply, accepted } }
}
