/** Static keys: who holds one is its user. */
import { createHash, timingSafeEqual } from 'node:crypto'
import type { Principal, Scope } from '../domain/principal.ts'
import { ConvokeError } from '../domain/errors.ts'
import { LOCAL_USER, userId } from '../domain/ids.ts'
import { USER_SCOPES } from '../domain/principal.ts'

/** One configured key. */
export interface StaticKey {
  readonly user: string
  readonly key: string
  readonly scopes?: readonly Scope[]
  /** When it stops to count, in ms since the epoch. */
  readonly expiresMs?: number
}

/** A token of the `Server` class's own `auth` option: means the user `local`. */
export type TokenHandler = (token: string) => Promise<boolean> | boolean

/** How a listener knows its callers. */
export interface AccessOptions {
  readonly keys: readonly StaticKey[]
  readonly handler?: TokenHandler
  /** Requests without a key act as `local`. */
  readonly open: boolean
  readonly nowMs: () => number
}

/** Finds out who is asking, the same way for requests and for socket upgrades. */
export interface Access {
  /** Whether anyone may ask without a key. */
  readonly open: boolean
  /** @throws {ConvokeError} `unauthorized` */
  authenticate(header: (name: string) => string | undefined): Promise<Principal>
}

/** What the keyless user of a loopback listener is. */
export const LOCAL_PRINCIPAL: Principal = { user: LOCAL_USER, scopes: USER_SCOPES }

/** Access by static keys, a handler, or none. */
export function createAccess(options: AccessOptions): Access {
  const keys = options.keys.map((key) => ({ ...key, digest: digest(key.key) }))
  return {
    open: options.open,
    async authenticate(header) {
      const token = tokenOf(header)
      if (token === undefined || token === '') {
        if (options.open) return LOCAL_PRINCIPAL
        throw new ConvokeError('unauthorized', 'Unauthorized')
      }
      const asked = digest(token)
      // Every key is compared, so that the time taken does not tell which one was close.
      const found = keys.filter((key) => timingSafeEqual(key.digest, asked)).find((key) => key.expiresMs === undefined || key.expiresMs > options.nowMs())
      if (found !== undefined) {
        const { user, scopes = USER_SCOPES, expiresMs } = found
        return { user: userId(user), scopes, ...(expiresMs === undefined ? {} : { expiresMs }) }
      }
      if (options.handler !== undefined && (await accepts(options.handler, token))) return LOCAL_PRINCIPAL
      if (options.open && keys.length === 0 && options.handler === undefined) return LOCAL_PRINCIPAL
      throw new ConvokeError('unauthorized', 'Unauthorized')
    },
  }
}

function tokenOf(header: (name: string) => string | undefined): string | undefined {
  const authorization = header('authorization')
  if (authorization?.startsWith('Bearer ') === true) return authorization.slice('Bearer '.length)
  return header('x-api-key')
}

async function accepts(handler: TokenHandler, token: string): Promise<boolean> {
  try {
    return (await handler(token)) === true
  } catch {
    // A handler that fails has not accepted anybody.
    return false
  }
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
