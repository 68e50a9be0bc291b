/** What the routes of `/v1` stand on. */
import type { CommandService } from '../../command/service.ts'
import type { SessionId } from '../../domain/ids.ts'
import type { ModelRegistry } from '../../domain/model.ts'
import type { Clock, Random, Telemetry } from '../../domain/ports.ts'
import type { Principal } from '../../domain/principal.ts'
import type { Store } from '../../log/store.ts'
import type { SessionReads } from '../../projection/reads.ts'
import type { SessionSummary } from '../../projection/session-summary.ts'
import type { Hub } from '../../stream/hub.ts'
import { authorize } from '../../domain/principal.ts'
import { ConvokeError } from '../../domain/errors.ts'
import { parseSessionId } from '../../domain/ids.ts'

/** Everything that `/v1` reads and calls. */
export interface V1Context {
  readonly commands: CommandService
  readonly store: Store
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
  readonly onSessionCreated: (id: SessionId) => void
}

/** The session id of a path. @throws {ConvokeError} `invalid_id` */
export function sessionIdOf(text: string): SessionId {
  const id = parseSessionId(text)
  if (id === undefined) throw new ConvokeError('invalid_id', 'a session id is a UUID')
  return id
}

/** The session that `principal` may read. @throws {ConvokeError} `invalid_id`, `not_found`, `forbidden` */
export async function readableSession(context: V1Context, text: string, principal: Principal): Promise<SessionSummary> {
  const summary = await context.reads.session(sessionIdOf(text))
  authorize(principal, 'sessions:read', summary?.owner)
  return summary as SessionSummary
}
