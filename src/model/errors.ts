/** What went wrong with a provider, in our codes: whether to try again depends on the code alone. */
import { ConvokeError, type ErrorCode } from '../domain/errors.ts'

/** Longest text of a provider that is shown, in characters. */
const MESSAGE_CHARS_MAX = 500

interface CallError {
  readonly statusCode?: number
  readonly responseHeaders?: Readonly<Record<string, string>>
  readonly responseBody?: string
  readonly message?: string
  readonly cause?: unknown
}

const NETWORK = /fetch failed|ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|socket|terminated|network|other side closed/i
const OVERFLOW = /context.{0,20}(length|window)|maximum context|too many tokens|prompt is too long|input is too long/i

/** The error for whatever a provider's package threw. */
export function classify(thrown: unknown, nowMs: number): ConvokeError {
  if (thrown instanceof ConvokeError) return thrown
  const error = (typeof thrown === 'object' && thrown !== null ? thrown : {}) as CallError
  const text = (error.message ?? String(thrown)).slice(0, MESSAGE_CHARS_MAX)
  const code = codeOf(error, text)
  const retryAfterMs = retryAfter(error.responseHeaders, nowMs)
  return new ConvokeError(code, `the model provider answered: ${text}`, { cause: thrown, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) })
}

function codeOf(error: CallError, text: string): ErrorCode {
  const status = error.statusCode
  if (status === 401 || status === 403) return 'model_auth'
  if (status === 429) return 'model_rate_limited'
  if (status !== undefined && (status >= 500 || status === 408 || status === 409)) return 'model_unavailable'
  if (status !== undefined && status >= 400) return OVERFLOW.test(`${text} ${error.responseBody ?? ''}`) ? 'model_context_overflow' : 'model_refused'
  if (status === undefined && NETWORK.test(`${text} ${String((error.cause as Error | undefined)?.message ?? '')}`)) return 'model_unavailable'
  return 'model_protocol'
}

/** When the provider asked us to come back, in ms from now (RFC 9110, section 10.2.3). */
function retryAfter(headers: Readonly<Record<string, string>> | undefined, nowMs: number): number | undefined {
  const ms = Number(headers?.['retry-after-ms'])
  if (Number.isFinite(ms) && ms >= 0 && headers?.['retry-after-ms'] !== undefined) return ms
  const value = headers?.['retry-after']
  if (value === undefined) return undefined
  if (/^\d+(\.\d+)?$/.test(value)) return Number(value) * 1000
  const date = Date.parse(value)
  return Number.isNaN(date) ? undefined : Math.max(0, date - nowMs)
}
