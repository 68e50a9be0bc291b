import type { Random } from '../domain/ports.ts'

const REQUEST_ID = /^[A-Za-z0-9._-]{1,128}$/

/** The request id that a caller gave, if it is one that may go into headers and logs. */
export function requestIdOf(given: string | readonly string[] | undefined): string | undefined {
  return typeof given === 'string' && REQUEST_ID.test(given) ? given : undefined
}

/** A new request id: `req_` and 32 hex digits. */
export function newRequestId(random: Random): string {
  return `req_${random.uuid().replaceAll('-', '')}`
}
