/**
 * The one error class and the table of its codes.
 *
 * Codes are public and stable; messages are for people. HTTP numbers do not live here: each wire has its own total table.
 */

/** Whose fault a code is, and whether the same request may succeed later without a change. */
interface CodeFacts {
  readonly fault: 'caller' | 'server' | 'provider'
  readonly retry: boolean
}

const caller: CodeFacts = { fault: 'caller', retry: false }
const busy: CodeFacts = { fault: 'caller', retry: true }
const server: CodeFacts = { fault: 'server', retry: false }
const overload: CodeFacts = { fault: 'server', retry: true }

/** Every code that this program may show, with its facts. */
export const ERROR_CODES = {
  invalid_request: caller,
  invalid_json: caller,
  invalid_id: caller,
  invalid_cursor: caller,
  invalid_message_role: caller,
  invalid_context: caller,
  invalid_overrides: caller,
  invalid_model: caller,
  invalid_idempotency_key: caller,
  invalid_fork_point: caller,
  unauthorized: caller,
  forbidden: caller,
  forbidden_host: caller,
  forbidden_origin: caller,
  cwd_not_allowed: caller,
  not_found: caller,
  route_not_found: caller,
  method_not_allowed: caller,
  tool_call_not_found: caller,
  payload_too_large: caller,
  headers_too_large: caller,
  unsupported_media_type: caller,
  invalid_body: caller,
  sandbox_unavailable: caller,
  session_deleted: caller,
  session_exists: caller,
  session_already_running: busy,
  session_not_running: caller,
  run_mismatch: caller,
  decision_conflict: caller,
  idempotency_key_reused: caller,
  queue_full: busy,
  too_many_streams: overload,
  input_pending: busy,
  request_timeout: overload,
  overloaded: overload,
  shutting_down: overload,
  store_unknown: overload,
  store_locked: server,
  store_newer: server,
  store_damaged: server,
  store_failed: server,
  config_invalid: caller,
  agent_failed: server,
  agent_changed: server,
  step_interrupted: server,
  crash_loop: server,
  run_interrupted: server,
  model_unavailable: { fault: 'provider', retry: true },
  model_rate_limited: { fault: 'provider', retry: true },
  model_auth: { fault: 'provider', retry: false },
  model_refused: { fault: 'provider', retry: false },
  model_context_overflow: { fault: 'provider', retry: false },
  model_protocol: { fault: 'provider', retry: true },
  internal_error: server,
} as const satisfies Record<string, CodeFacts>

/** One of the codes of `ERROR_CODES`. */
export type ErrorCode = keyof typeof ERROR_CODES

/** What may travel with an error besides its code and message. */
export interface ErrorOptions {
  readonly cause?: unknown
  /** Where in the input: JSON pointers with a reason each. */
  readonly errors?: readonly { readonly pointer: string; readonly detail: string }[]
  /** When to try again, in ms from now. */
  readonly retryAfterMs?: number
}

/** The error that this program throws on purpose. Anything else that is thrown is a server fault. */
export class ConvokeError extends Error {
  readonly code: ErrorCode
  readonly errors: readonly { readonly pointer: string; readonly detail: string }[]
  readonly retryAfterMs: number | undefined

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'ConvokeError'
    this.code = code
    this.errors = options.errors ?? []
    this.retryAfterMs = options.retryAfterMs
  }
}

/** Whether a later, unchanged try may succeed. */
export function isRetryable(code: ErrorCode): boolean {
  return ERROR_CODES[code].retry
}
