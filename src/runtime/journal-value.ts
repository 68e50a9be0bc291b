/** Values of the journal: JSON, bounded, the same when they are read again. */
import { createHash } from 'node:crypto'
import type { Json } from '../domain/message.ts'
import { ConvokeError } from '../domain/errors.ts'

/** Bytes of one step's result, as JSON in UTF-8. */
export const STEP_RESULT_BYTES_MAX = 256 * 1024
/** How deep a result may be nested. */
const DEPTH_MAX = 64

/** `value` as it will be read again: `undefined` is null, and absent in objects. @throws {ConvokeError} `agent_failed` for what is not JSON or too large; `what` names it */
export function jsonOf(value: unknown, what: string): Json {
  const json = value === undefined ? null : copy(value, what, 0)
  const bytes = Buffer.byteLength(JSON.stringify(json))
  if (bytes > STEP_RESULT_BYTES_MAX)
    throw refused(`${what} has ${bytes} bytes as JSON, ${STEP_RESULT_BYTES_MAX} is the most: store it elsewhere and answer where`)
  return json
}

function copy(value: unknown, what: string, depth: number): Json {
  if (value === null || typeof value === 'string' || typeof value === 'boolean') return value
  // JSON knows no negative zero.
  if (typeof value === 'number' && Number.isFinite(value)) return value === 0 ? 0 : value
  if (depth > DEPTH_MAX) throw refused(`${what} is nested more than ${DEPTH_MAX} deep, or holds itself`)
  if (Array.isArray(value)) return value.map((item: unknown) => (item === undefined ? null : copy(item, what, depth + 1)))
  if (typeof value !== 'object' || !isPlain(value)) throw refused(`${what} is not JSON: it holds ${describe(value)}`)
  const entries = Object.entries(value).filter(([, item]) => item !== undefined)
  return Object.fromEntries(entries.map(([name, item]) => [name, copy(item, what, depth + 1)]))
}

/** A class would come back as another thing than it was. */
function isPlain(value: object): boolean {
  const prototype = Object.getPrototypeOf(value) as unknown
  // Of another realm too: a configuration may be evaluated in one of its own.
  return prototype === null || Object.getPrototypeOf(prototype) === null
}

function describe(value: unknown): string {
  if (typeof value === 'number') return String(value)
  if (typeof value !== 'object' || value === null) return `a ${typeof value}`
  return `a ${value.constructor?.name ?? 'strange object'}`
}

function refused(message: string): ConvokeError {
  return new ConvokeError('agent_failed', message)
}

/** A short name for `value`: equal for equal JSON, whatever the order of its fields. */
export function hashOf(value: Json): string {
  return createHash('sha256')
    .update(JSON.stringify(sorted(value)))
    .digest('base64url')
    .slice(0, 22)
}

function sorted(value: Json): unknown {
  if (typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return (value as readonly Json[]).map(sorted)
  const entries = Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1))
  return Object.fromEntries(entries.map(([name, item]) => [name, sorted(item as Json)]))
}
