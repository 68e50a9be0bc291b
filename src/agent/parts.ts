/** What the built-in agent is made of, and its limits. */
import type { SessionId } from '../domain/ids.ts'
import type { SessionState } from '../domain/session.ts'
import type { ModelRegistry } from '../domain/model.ts'
import type { Clock, Random, Telemetry } from '../domain/ports.ts'
import type { Tool } from '../domain/tool.ts'
import type { SessionReads } from '../projection/reads.ts'
import type { ApprovalPolicy } from './policy.ts'

/** Turns of one run, unless the run says otherwise. */
export const MAX_TURNS_DEFAULT = 64
/** Tries of one model call. */
export const ATTEMPTS_MAX = 3
/** First pause between tries, in ms; doubled each time. */
export const BACKOFF_MS = 2_000
/** Longest pause that we choose ourselves, in ms. */
export const BACKOFF_MS_MAX = 30_000
/** Longest pause that a provider may ask for, in ms; one that asks for more has failed. */
export const RETRY_AFTER_MS_MAX = 300_000
/** Calls that may run side by side in one turn. */
export const PARALLEL_CALLS_MAX = 8
/** How long a call may take to end after it was told to, in ms; then its run goes on without it. */
export const DEAF_MS = 1_000
/** Progress events of one call; later ones are dropped, the result has all. */
export const PROGRESS_EVENTS_MAX = 500

/** The folders of one session's tools. Both exist when this resolves. */
export interface Folders {
  readonly workspace: string
  readonly outputFolder: string
}

/** What the agent needs. */
export interface AgentParts {
  readonly state: (session: SessionId) => Promise<SessionState | undefined>
  readonly reads: SessionReads
  readonly models: ModelRegistry
  readonly tools: readonly Tool[]
  readonly policy: ApprovalPolicy
  readonly clock: Clock
  readonly random: Random
  readonly telemetry: Telemetry
  readonly folders: (session: SessionId) => Promise<Folders>
}
