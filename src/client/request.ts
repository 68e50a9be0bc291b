/** Requests with retries that are safe: each command carries a key, so that it takes effect once however often it is sent. */
import { ConvokeClientError, errorOf } from './errors.ts'

/** How often one request is tried. */
export const TRIES_MAX = 5
/** How often where a server that answered before is gone, or says that it stops: it comes back, and a stop alone may take 10 s. */
export const TRIES_MAX_RESTART = 9
/** First pause between tries, in ms; doubled each time, up to `PAUSE_MS_MAX`. */
export const PAUSE_MS = 200
/** Longest pause, in ms. */
export const PAUSE_MS_MAX = 5_000
/** Longest pause that a server can ask for, in ms: a wrong `Retry-After` must not silence a client for days. */
export const RETRY_AFTER_MS_MAX = 60_000

/** Calls `fn` once, later, `delayMs` from now; what it answers takes that back. */
export type Timer = (delayMs: number, fn: () => void) => () => void

/** How to reach the server. */
export interface Connection {
  /** Like `http://127.0.0.1:4096`. */
  readonly url: string
  readonly key?: string | undefined
  /** Another `fetch`, for tests and odd places. */
  readonly fetch?: typeof fetch | undefined
  /** Another timer, likewise. */
  readonly after?: Timer | undefined
  /** Gives up every request that is under way, and its retries. Streams of events have a signal of their own. */
  readonly signal?: AbortSignal | undefined
}

/** Connections over which a server has answered. */
const answered = new WeakSet<Connection>()

/** Sends a request and answers its JSON; `undefined` for an answer without a body. @throws {ConvokeClientError} */
export async function request<T>(connection: Connection, method: string, path: string, body?: unknown): Promise<T> {
  const { signal } = connection
  const headers = headersOf(connection, body !== undefined)
  if (method !== 'GET') headers['idempotency-key'] = newKey()
  for (let tries = 1; ; tries++) {
    const result = await attempt<T>(connection, path, {
      method,
      headers,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      ...(signal === undefined ? {} : { signal }),
    })
    if (!(result instanceof ConvokeClientError)) return result.value
    if (tries >= triesMax(connection, result) || !isTransient(result) || signal?.aborted === true) throw result
    await pause(connection, waitMs(result, tries), signal)
  }
}

function triesMax(connection: Connection, failure: ConvokeClientError): number {
  const restarts = failure.status === 0 || failure.code === 'shutting_down'
  return restarts && answered.has(connection) ? TRIES_MAX_RESTART : TRIES_MAX
}

/** One try: the answer, or what kept it away. */
async function attempt<T>(connection: Connection, path: string, init: RequestInit): Promise<{ readonly value: T } | ConvokeClientError> {
  try {
    const response = await (connection.fetch ?? fetch)(`${connection.url}${path}`, init)
    answered.add(connection)
    if (!response.ok) return await errorOf(response)
    // A body that breaks off is no answer either: the request is sent again.
    return answerOf(response.status, await response.text())
  } catch (cause) {
    return new ConvokeClientError({ code: 'unreachable', message: `no server answers at ${connection.url}`, status: 0, cause })
  }
}

function answerOf<T>(status: number, text: string): { readonly value: T } | ConvokeClientError {
  try {
    return { value: (status === 204 ? undefined : JSON.parse(text)) as T }
  } catch (cause) {
    return new ConvokeClientError({ code: 'bad_answer', message: 'the answer is not JSON', status, cause })
  }
}

/** Headers that every request carries. */
export function headersOf(connection: Connection, hasBody = false): Record<string, string> {
  return {
    ...(connection.key === undefined ? {} : { authorization: `Bearer ${connection.key}` }),
    ...(hasBody ? { 'content-type': 'application/json' } : {}),
  }
}

/** Whether the same request may succeed later. */
export function isTransient(error: ConvokeClientError): boolean {
  return error.status === 0 || error.status === 429 || error.status === 502 || error.status === 503 || error.status === 504
}

/** The pause after try number `tries`, with jitter so that many clients do not come back at once. */
export function pauseMs(tries: number): number {
  const full = Math.min(PAUSE_MS * 2 ** (tries - 1), PAUSE_MS_MAX)
  return full / 2 + (Math.random() * full) / 2
}

/** How long to wait after a failed try: what the server asks for, within bounds, else the usual pause. */
export function waitMs(error: unknown, tries: number): number {
  const asked = error instanceof ConvokeClientError ? error.retryAfterMs : undefined
  return asked === undefined ? pauseMs(tries) : Math.min(asked, RETRY_AFTER_MS_MAX)
}

/** Waits; ends early, without a word, when the signal is aborted. */
export function pause(connection: Connection, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) return resolve()
    const done = () => {
      takeBack()
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const takeBack = timerOf(connection)(ms, done)
    signal?.addEventListener('abort', done)
  })
}

/** The connection's timer. */
export function timerOf(connection: Connection): Timer {
  return connection.after ?? systemTimer
}

const systemTimer: Timer = (delayMs, fn) => {
  const timer = setTimeout(fn, delayMs)
  return () => clearTimeout(timer)
}

function newKey(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16))
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')
}
