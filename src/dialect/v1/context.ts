/** What the routes of `/v1` stand on. */
import type { Purger } from '../../command/purge.ts'
import type { CommandService } from '../../command/service.ts'
import type { SessionId } from '../../domain/ids.ts'
import type { ModelRegistry } from '../../domain/model.ts'
import type { Clock, Random, Telemetry } from '../../domain/ports.ts'
import type { Principal, Scope } from '../../domain/principal.ts'
import type { SessionReads } from '../../projection/reads.ts'
import type { SessionSummary } from '../../projection/session-summary.ts'
import type { Gate } from '../../stream/gate.ts'
import type { Hub } from '../../stream/hub.ts'
import type { LogReader } from '../../stream/log-reader.ts'
import { authorize } from '../../domain/principal.ts'
import { ConvokeError } from '../../domain/errors.ts'
import { parseSessionId } from '../../domain/ids.ts'

/** Everything that `/v1` reads and calls. */
export interface V1Context {
  readonly commands: CommandService
  readonly purger: Purger
  readonly store: LogReader
  readonly reads: SessionReads
  readonly hub: Hub
  readonly models: ModelRegistry
  readonly clock: Clock
  readonly random: Random
  readonly telemetry: Telemetry
  readonly version: string
  readonly startedAtMs: number
  readonly autoApproveMode: 'none' | 'all' | 'custom'
  readonly agents: readonly string[]
  readonly resolveCwd: (cwd: string) => Promise<string>
  /** Open event streams and sockets; new ones are refused above `streamsMax`. */
  readonly streams: Set<{ end(): void }>
  readonly streamsMax: number
  /** What streams and sockets pass before they are opened. @see openingTurn */
  readonly openings: Gate
  readonly onSessionCreated: (id: SessionId) => void
}

/** The session id of a path. @throws {ConvokeError} `invalid_id` */
export function sessionIdOf(text: string): SessionId {
  const id = parseSessionId(text)
  if (id === undefined) throw new ConvokeError('invalid_id', 'a session id is a UUID')
  return id
}

/** The session in which `principal` may act with `scope`. @throws {ConvokeError} `invalid_id`, `not_found`, `forbidden` */
export async function findSession(context: V1Context, text: string, principal: Principal, scope: Scope = 'sessions:read'): Promise<SessionSummary> {
  return authorizedSession(principal, scope, await context.reads.session(sessionIdOf(text)))
}

/** The session that was read, if `principal` may act in it with `scope`. @throws {ConvokeError} `not_found`, `forbidden` */
export function authorizedSession(principal: Principal, scope: Scope, summary: SessionSummary | undefined): SessionSummary {
  authorize(principal, scope, summary?.owner)
  return summary as SessionSummary
}

/** Streams and sockets that are opened in one turn of the loop. */
export const OPENINGS_PER_TURN = 8

/** Waits for a turn to open a stream: a thousand readers that come back at once must not hold up everybody else for as long as all of them take (P9). */
export function openingTurn({ openings, clock }: Pick<V1Context, 'openings' | 'clock'>): Promise<void> {
  return openings.run(() => clock.turn())
}

/** Before a stream or a socket is opened. @throws {ConvokeError} `too_many_streams` */
export function requireStreamPlace(context: V1Context): void {
  if (context.streams.size < context.streamsMax) return
  throw new ConvokeError('too_many_streams', `the server holds ${context.streamsMax} streams already`, { retryAfterMs: 5000 })
}

/** Calls `end` when the credential of `principal` stops to count. The returned function takes that back. */
export function atExpiry({ clock }: Pick<V1Context, 'clock'>, { expiresMs }: Principal, end: () => void): () => void {
  return expiresMs === undefined ? () => undefined : clock.after(expiresMs - clock.nowMs(), end)
}
