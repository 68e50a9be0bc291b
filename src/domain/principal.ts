import type { UserId } from './ids.ts'
import { ConvokeError } from './errors.ts'

/** One permission. `admin` includes the others. */
export type Scope = 'sessions:read' | 'sessions:write' | 'approvals:decide' | 'admin'

/** Who is asking. */
export interface Principal {
  readonly user: UserId
  readonly scopes: readonly Scope[]
  /** When the credential stops to count, in ms since the epoch: what it opened ends then. */
  readonly expiresMs?: number
}

/** What a person with a plain key may do. */
export const USER_SCOPES: readonly Scope[] = ['sessions:read', 'sessions:write', 'approvals:decide']

/** Whether `principal` holds `scope`, by itself or through `admin`. */
export function hasScope(principal: Principal, scope: Scope): boolean {
  return principal.scopes.includes(scope) || principal.scopes.includes('admin')
}

/**
 * Lets `principal` act with `scope` on a stream of `owner`, or throws.
 *
 * @throws {ConvokeError} `not_found` for another's stream (P11: it looks like an unknown one), `forbidden` for a missing scope.
 */
export function authorize(principal: Principal, scope: Scope, owner: UserId | undefined): void {
  if (owner === undefined || owner !== principal.user) throw new ConvokeError('not_found', 'session not found')
  requireScope(principal, scope)
}

/** Lets `principal` do what no stream owns yet. @throws {ConvokeError} `forbidden` */
export function requireScope(principal: Principal, scope: Scope): void {
  if (!hasScope(principal, scope)) throw new ConvokeError('forbidden', `this needs the scope ${scope}`)
}
