import { createHash } from 'node:crypto'
import type { Principal } from '../domain/principal.ts'
import type { Call } from './route.ts'
import { ConvokeError } from '../domain/errors.ts'
import { readJson } from './body.ts'

/** What a call is made from. */
export interface CallParts extends Omit<Call, 'json' | 'idempotency' | 'principal'> {
  readonly principal: Principal | undefined
  readonly bodyBytesMax: number
  readonly method: string
}

/** Characters of an idempotency key: 1 to 255, visible ASCII. */
const IDEMPOTENCY_KEY = /^[\x21-\x7e]{1,255}$/

/** The call that a handler sees. */
export function makeCall(parts: CallParts): Call {
  const { principal, bodyBytesMax, method, ...rest } = parts
  return {
    ...rest,
    get principal() {
      if (principal === undefined) throw new ConvokeError('internal_error', 'a public route asked who is calling')
      return principal
    },
    json: (schema) => readJson(rest.incoming, bodyBytesMax, schema),
    idempotency(body) {
      const key = rest.header('idempotency-key')
      if (key === undefined) return undefined
      if (!IDEMPOTENCY_KEY.test(key)) throw new ConvokeError('invalid_idempotency_key', 'an idempotency key has 1 to 255 visible ASCII characters')
      return { scope: `${principal?.user ?? ''} ${method.toUpperCase()} ${scopePath(rest.url)}`, key, fingerprint: fingerprint(body) }
    },
  }
}

/** Two names of one route are one place, and so is a session whose id is written in another case. */
function scopePath(url: URL): string {
  return url.pathname.replace(/\/tools\/resolve$/, '/tools/decisions').replace(/\/[\da-f-]{36}(?=\/|$)/i, (id) => id.toLowerCase())
}

/** A hash of the parsed body: white space, key order and unknown fields do not matter. */
function fingerprint(body: unknown): string {
  return createHash('sha256').update(canonical(body)).digest('base64url')
}

function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value) ?? 'null'
  const entries = Object.entries(value).filter(([, child]) => child !== undefined)
  entries.sort(([a], [b]) => (a < b ? -1 : 1))
  return `{${entries.map(([key, child]) => `${JSON.stringify(key)}:${canonical(child)}`).join(',')}}`
}
