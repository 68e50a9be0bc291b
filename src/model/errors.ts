/** What went wrong with a provider, in our codes: whether to try again depends on the code alone. */
import { ConvokeError, type ErrorCode } from '../domain/errors.ts'

/** Longest text of a provider that is shown, in characters. */
const MESSAGE_CHARS_MAX = 500

interface CallError {
  readonly name?: string
  readonly code?: unknown
  readonly statusCode?: number
  readonly responseHeaders?: Readonly<Record<string, string>>
  readonly responseBody?: string
  readonly message?: string
  readonly cause?: unknown
}

/** Codes of the network below: of the system, of DNS, of TLS, and of Node's HTTP client. */
const NETWORK = /^(?!ERR_(?!TLS))(E[A-Z_]+|UND_ERR_\w+|CERT_\w+|\w*SELF_SIGNED\w*|UNABLE_TO_\w+)$/
const NETWORK_TEXT = /fetch failed|^Cannot connect to API|^terminated$|socket hang up|other side closed/i
const OVERFLOW = /context.{0,20}(length|window|size)|maximum context|too many tokens|prompt is too long|input is too long|token count.{0,40}exceeds/i
/** Errors of the provider packages about our own request: the same request never works. */
const UNSENDABLE = /^AI_(UnsupportedFunctionality|InvalidPrompt|InvalidArgument|NoSuchModel)Error$/
/** How the three forms of a date begin (RFC 9110, section 5.6.7). */
const HTTP_DATE = /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*[, ]/
/** Causes that are looked at, from the outside in. */
const CAUSES_MAX = 5

/** The error for whatever a provider's package threw. `secret` is taken out of its text. */
export function classify(thrown: unknown, nowMs: number, secret = ''): ConvokeError {
  const ours = oursIn(thrown)
  if (ours !== undefined) return ours
  const error = (typeof thrown === 'object' && thrown !== null ? thrown : {}) as CallError
  const text = withoutSecret(error.message ?? String(thrown), secret.trim()).slice(0, MESSAGE_CHARS_MAX)
  const code = codeOf(error, text)
  const retryAfterMs = retryAfter(error.responseHeaders, nowMs)
  return new ConvokeError(code, `the model provider answered: ${text}`, { cause: thrown, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) })
}

/** An error of ours, which a package may have wrapped into its own. */
function oursIn(thrown: unknown): ConvokeError | undefined {
  let current = thrown
  for (let depth = 0; depth < CAUSES_MAX && typeof current === 'object' && current !== null; depth++) {
    if (current instanceof ConvokeError) return current
    current = (current as CallError).cause
  }
  return undefined
}

function withoutSecret(text: string, secret: string): string {
  return secret === '' ? text : text.replaceAll(secret, '[redacted]')
}

function codeOf(error: CallError, text: string): ErrorCode {
  // Compatible servers put the status into the code of an error that comes inside a stream.
  const told = error.statusCode ?? error.code
  // A package reports what breaks inside a good answer with the status of that answer.
  const status = typeof told === 'number' && told >= 300 ? told : undefined
  if (status === 401 || status === 403) return 'model_auth'
  if (status === 429) return 'model_rate_limited'
  if (status !== undefined && (status >= 500 || status === 408 || status === 409)) return 'model_unavailable'
  if (status !== undefined) return OVERFLOW.test(`${text} ${error.responseBody ?? ''}`) ? 'model_context_overflow' : 'model_refused'
  if (error.name === 'AI_LoadAPIKeyError') return 'model_auth'
  if (UNSENDABLE.test(error.name ?? '') || error.code === 'ERR_INVALID_URL') return 'model_refused'
  return isNetwork(error) ? 'model_unavailable' : 'model_protocol'
}

function isNetwork(error: CallError): boolean {
  let current: CallError | undefined = error
  for (let depth = 0; depth < CAUSES_MAX && typeof current === 'object' && current !== null; depth++) {
    if (typeof current.code === 'string' && NETWORK.test(current.code)) return true
    if (NETWORK_TEXT.test(current.message ?? '')) return true
    current = current.cause as CallError | undefined
  }
  return false
}

/** When the provider asked us to come back, in ms from now (RFC 9110, section 10.2.3). */
function retryAfter(headers: Readonly<Record<string, string>> | undefined, nowMs: number): number | undefined {
  const ms = Number(headers?.['retry-after-ms'])
  if (Number.isFinite(ms) && ms >= 0 && headers?.['retry-after-ms'] !== undefined) return ms
  const value = headers?.['retry-after']
  if (value === undefined) return undefined
  if (/^\d+(\.\d+)?$/.test(value)) return Number(value) * 1000
  // `Date.parse` takes much that is no date of HTTP: `-5` is a month to it.
  const date = HTTP_DATE.test(value) ? Date.parse(value) : Number.NaN
  return Number.isNaN(date) ? undefined : Math.max(0, date - nowMs)
}
