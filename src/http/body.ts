/** Request bodies: bounded, JSON, UTF-8. */
import type { IncomingMessage } from 'node:http'
import { z } from 'zod'
import { ConvokeError } from '../domain/errors.ts'

/** Nesting of a JSON body, beyond which it is refused. */
export const JSON_DEPTH_MAX = 64

/**
 * The body of `request` as `schema` reads it. Unknown fields are dropped, as the contract says.
 *
 * @throws {ConvokeError} `unsupported_media_type`, `payload_too_large`, `invalid_request`, `invalid_json`, `invalid_body`
 */
export async function readJson<T>(request: IncomingMessage, bytesMax: number, schema: z.ZodType<T>): Promise<T> {
  const type = (request.headers['content-type'] ?? '').split(';')[0]?.trim().toLowerCase() ?? ''
  if (type !== 'application/json' && !/^application\/[\w.+-]+\+json$/.test(type)) {
    throw new ConvokeError('unsupported_media_type', 'send the body as application/json')
  }
  return parse(schema, parseJson(await readBytes(request, bytesMax)))
}

/** Refuses a request that announces a larger body, before anybody looks at it. @throws {ConvokeError} `payload_too_large` */
export function requireBounded(request: IncomingMessage, bytesMax: number): void {
  if (Number(request.headers['content-length'] ?? 0) > bytesMax) throw tooLarge(bytesMax)
}

function tooLarge(bytesMax: number): ConvokeError {
  return new ConvokeError('payload_too_large', `a body may have at most ${bytesMax} bytes`)
}

/** A body in chunks announces no length: it is counted as it comes. */
async function readBytes(request: IncomingMessage, bytesMax: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let size = 0
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      size += chunk.length
      if (size > bytesMax) throw tooLarge(bytesMax)
      chunks.push(chunk)
    }
  } catch (error) {
    if (error instanceof ConvokeError) throw error
    // A peer that goes away in the middle is no failure of the server's, and the answer reaches nobody.
    throw new ConvokeError('invalid_request', 'the body did not arrive whole', { cause: error })
  }
  return chunks.length === 1 ? (chunks[0] as Buffer) : Buffer.concat(chunks)
}

/** The JSON in `bytes`, no deeper than `JSON_DEPTH_MAX`: what comes behind it walks values by recursion. @throws {ConvokeError} `invalid_json` */
export function parseJson(bytes: Uint8Array, what = 'the body'): unknown {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes))
    if (depthOf(value, JSON_DEPTH_MAX) > JSON_DEPTH_MAX) throw new ConvokeError('invalid_json', `${what} is nested deeper than ${JSON_DEPTH_MAX}`)
    return value
  } catch (error) {
    if (error instanceof ConvokeError) throw error
    throw new ConvokeError('invalid_json', `${what} is not valid JSON in UTF-8`, { cause: error })
  }
}

function depthOf(value: unknown, most: number): number {
  if (typeof value !== 'object' || value === null) return 0
  if (most < 0) return 1
  let depth = 0
  for (const child of Object.values(value)) depth = Math.max(depth, depthOf(child, most - 1))
  return depth + 1
}

function parse<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const errors = result.error.issues.slice(0, 20).map((issue) => ({ pointer: pointerOf(issue.path), detail: issue.message }))
  const first = errors[0]
  throw new ConvokeError('invalid_body', first === undefined ? 'the body is not valid' : `${first.pointer || '/'}: ${first.detail}`, { errors })
}

/** A JSON pointer (RFC 6901). */
function pointerOf(path: readonly PropertyKey[]): string {
  return path.map((part) => `/${String(part).replaceAll('~', '~0').replaceAll('/', '~1')}`).join('')
}
