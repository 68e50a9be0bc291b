/** Rules about forks: who may make one, of what, and what it brings along. */
import type { ForkSession } from './command.ts'
import type { Asker, Decision } from './decision.ts'
import type { Position } from './ids.ts'
import type { SessionState } from './session.ts'
import { ConvokeError } from './errors.ts'
import { authorize } from './principal.ts'

/** Segments that a session may have, its own included: a fork of a fork of a fork has one more each time. */
export const SEGMENTS_MAX = 1000

/** The session that is forked, as it is in the transaction. */
export interface ForkSource {
  readonly state: SessionState
  readonly head: Position
  readonly title: string
  readonly cwd?: string
  /** Messages up to the fork point. */
  readonly messages: number
  /** Segments that the fork would inherit. */
  readonly segments: number
}

/**
 * Decides a fork. It inherits history up to `at`, and the origin's settings as they are now; nothing of run, queue, calls and fence.
 *
 * @throws {ConvokeError} `not_found`, `forbidden`, `session_exists`, `session_deleted`, `invalid_fork_point`
 */
export function decideFork(state: SessionState | undefined, command: ForkSession, asker: Asker, source: ForkSource | undefined): Decision {
  if (asker === 'driver') throw new ConvokeError('forbidden', 'this command needs a principal')
  authorize(asker, 'sessions:write', source?.state.owner)
  if (source === undefined) throw new ConvokeError('not_found', 'session not found')
  if (state !== undefined) throw new ConvokeError('session_exists', 'a session with this id exists')
  if (source.state.status === 'deleted') throw new ConvokeError('session_deleted', 'the session is deleted')
  requireInside(command.at, source.head)
  if (source.segments >= SEGMENTS_MAX) throw new ConvokeError('invalid_fork_point', `a session may be forked in a row ${SEGMENTS_MAX} times`)
  const { agent, model, owner, onInterrupt } = source.state
  const optional = {
    ...(source.cwd === undefined ? {} : { cwd: source.cwd }),
    ...(model === undefined ? {} : { model }),
    ...(onInterrupt === undefined ? {} : { onInterrupt }),
  }
  const origin = { sessionId: command.origin, position: command.at }
  const { messages } = source
  return { events: [{ type: 'SessionForked', origin, owner, title: command.title ?? source.title, agent, ...optional, messages, by: asker.user }], reply: {} }
}

/** Whether there is anything at `at`. @throws {ConvokeError} `invalid_fork_point` */
export function requireInside(at: Position, head: Position): void {
  if (!Number.isSafeInteger(at) || at < 1 || at > head) throw new ConvokeError('invalid_fork_point', `the session has the positions 1 to ${head}`)
}
