/** The command service: the one door for requests that change something. */
import type { ForkSession, Reply, SessionCommand } from '../domain/command.ts'
import type { Position, SessionId } from '../domain/ids.ts'
import type { Clock } from '../domain/ports.ts'
import type { Principal } from '../domain/principal.ts'
import type { Idempotency, WriteOutcome } from '../log/store.ts'
import type { Committer } from './committer.ts'
import { ConvokeError } from '../domain/errors.ts'
import { authorize } from '../domain/principal.ts'
import { requireForkPoint } from '../log/backwards.ts'

/** What a command did. */
export interface CommandResult {
  /** The session: for a repeated creation the first one's. */
  readonly stream: SessionId
  /** First position written; `to + 1` when nothing was. */
  readonly from: Position
  /** The stream's head after the command. */
  readonly to: Position
  readonly reply: Reply
  /** The answer of an earlier command with the same idempotency key. */
  readonly replayed: boolean
}

/** Executes commands. */
export interface CommandService {
  /**
   * Authorizes, decides and commits `command`, and publishes its events. Resolves when it is durable (P1).
   *
   * @throws {ConvokeError} every code of `decide`; `idempotency_key_reused`; `overloaded`; `shutting_down`; `store_unknown`.
   */
  execute(stream: SessionId, command: SessionCommand, asker: Principal, idempotency?: Idempotency): Promise<CommandResult>
  /**
   * Opens the session `stream` as a fork, after a look at the origin's log, which is where it says whether it can be forked there.
   *
   * @throws {ConvokeError} as `execute`; `invalid_fork_point` inside a turn, between a call and its result, or where there is nothing.
   */
  fork(stream: SessionId, command: ForkSession, asker: Principal, idempotency?: Idempotency): Promise<CommandResult>
  /** Refuses everything from now on as `shutting_down`; what is under way goes on. */
  close(): void
}

/** Commands under way at once; more are refused as `overloaded`. Runs' own events do not count. */
export const COMMANDS_MAX = 4096

/** The command service over a committer. */
export function createCommandService(committer: Committer, clock: Clock): CommandService {
  let pending = 0
  let closed = false
  const service: CommandService = {
    close: () => void (closed = true),
    async fork(stream, command, asker, idempotency) {
      const { log } = committer
      const owner = (await log.state(command.origin))?.owner
      // Of an origin that is gone only the key of an earlier fork may still know.
      if (owner === undefined) return service.execute(stream, command, asker, idempotency)
      // Before the look: what an error says of a log is for its owner alone (P11).
      authorize(asker, 'sessions:write', owner)
      await requireForkPoint(log, command.origin, command.at, () => clock.turn())
      return service.execute(stream, command, asker, idempotency)
    },
    async execute(stream, command, asker, idempotency) {
      if (closed) throw new ConvokeError('shutting_down', 'the server stops, try again in a moment', { retryAfterMs: 1000 })
      if (pending >= COMMANDS_MAX) throw new ConvokeError('overloaded', 'the server is busy, try again', { retryAfterMs: 1000 })
      pending++
      try {
        const write = { kind: 'decide', stream, command, asker, atMs: clock.nowMs(), ...(idempotency === undefined ? {} : { idempotency }) } as const
        const [outcome] = await committer.commit([write])
        return resultOf(outcome)
      } finally {
        pending--
      }
    },
  }
  return service
}

function resultOf(outcome: WriteOutcome | undefined): CommandResult {
  if (outcome?.kind === 'appended') {
    const { stream, from, to, reply, replayed } = outcome
    return { stream, from, to, reply, replayed }
  }
  if (outcome?.kind === 'refused') throw new ConvokeError(outcome.code, outcome.message)
  throw new ConvokeError('internal_error', 'a command was fenced')
}
