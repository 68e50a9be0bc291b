/** A route as data: what validates, answers, and documents it. */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { z } from 'zod'
import type { ErrorCode } from '../domain/errors.ts'
import type { Principal } from '../domain/principal.ts'

/** Makes a command take effect once: what the log keeps of an `Idempotency-Key`. */
export interface IdempotencyClaim {
  /** Who and where: user, method and path. */
  readonly scope: string
  readonly key: string
  /** Hash of the parsed body. */
  readonly fingerprint: string
}

/** One request, as a handler sees it. */
export interface Call {
  readonly principal: Principal
  readonly requestId: string
  readonly url: URL
  param(name: string): string
  header(name: string): string | undefined
  /** The parsed body. @throws {ConvokeError} `unsupported_media_type`, `payload_too_large`, `invalid_json`, `invalid_body` */
  json<T>(schema: z.ZodType<T>): Promise<T>
  /** What the `Idempotency-Key` header asks for with this body. @throws {ConvokeError} `invalid_idempotency_key` */
  idempotency(body: unknown): IdempotencyClaim | undefined
  readonly incoming: IncomingMessage
  /** For streams, which write to it themselves and answer `'streaming'`. */
  readonly outgoing: ServerResponse
  /** Headers that the middleware wants on a stream's head too. */
  readonly extraHeaders: Readonly<Record<string, string>>
}

/** An answer with JSON, text or nothing. */
export interface Answer {
  readonly status: number
  readonly json?: unknown
  readonly text?: string
  readonly headers?: Readonly<Record<string, string>>
}

/** What a documented status answers. */
export interface DocumentedAnswer {
  readonly description: string
  readonly schema?: z.ZodType
  /** Default `application/json`. */
  readonly contentType?: string
  /** Headers worth telling of, in the document's own shape. */
  readonly headers?: Readonly<Record<string, { readonly description: string; readonly schema: { readonly type: 'string' } }>>
}

/** One route. Paths are written as in OpenAPI: `/v1/sessions/{id}`. */
export interface Route {
  readonly method: 'get' | 'post' | 'patch' | 'put' | 'delete'
  readonly path: string
  readonly id: string
  readonly summary: string
  readonly tag: string
  readonly public?: boolean
  /** Streams and long waits have no time limit. */
  readonly unbounded?: boolean
  readonly params?: z.ZodObject
  readonly query?: z.ZodObject
  readonly headers?: z.ZodObject
  readonly body?: z.ZodType
  readonly answers: Readonly<Record<number, DocumentedAnswer>>
  readonly errors: readonly ErrorCode[]
  handle(call: Call): Promise<Answer | 'streaming'>
}
