/** Errors on the wire: RFC 9457 problems with a stable code. */
import type { ErrorCode } from '../domain/errors.ts'
import { ConvokeError } from '../domain/errors.ts'

/** The status of each code. Total: a code without a row does not compile. */
export const STATUS: Readonly<Record<ErrorCode, number>> = {
  invalid_request: 400,
  invalid_json: 400,
  invalid_id: 400,
  invalid_cursor: 400,
  invalid_message_role: 400,
  invalid_context: 400,
  invalid_overrides: 400,
  invalid_model: 400,
  invalid_idempotency_key: 400,
  unauthorized: 401,
  forbidden: 403,
  forbidden_host: 403,
  forbidden_origin: 403,
  cwd_not_allowed: 403,
  not_found: 404,
  route_not_found: 404,
  tool_call_not_found: 404,
  method_not_allowed: 405,
  session_deleted: 409,
  session_exists: 409,
  session_already_running: 409,
  session_not_running: 409,
  run_mismatch: 409,
  decision_conflict: 409,
  idempotency_key_reused: 409,
  sandbox_unavailable: 409,
  input_pending: 409,
  payload_too_large: 413,
  unsupported_media_type: 415,
  invalid_body: 422,
  invalid_fork_point: 422,
  queue_full: 429,
  headers_too_large: 431,
  config_invalid: 500,
  agent_failed: 500,
  agent_changed: 500,
  step_interrupted: 500,
  crash_loop: 500,
  run_interrupted: 500,
  store_failed: 500,
  store_locked: 500,
  store_newer: 500,
  store_damaged: 500,
  internal_error: 500,
  model_auth: 502,
  model_refused: 502,
  model_context_overflow: 502,
  model_protocol: 502,
  model_unavailable: 502,
  model_rate_limited: 503,
  request_timeout: 503,
  overloaded: 503,
  too_many_streams: 503,
  shutting_down: 503,
  store_unknown: 503,
}

/** Where a problem happened. */
export interface ProblemPlace {
  readonly requestId: string
  readonly path: string
}

/** A problem's answer: body and headers. */
export interface ProblemAnswer {
  readonly status: number
  readonly body: string
  readonly headers: Record<string, string>
}

/** The answer for anything that was thrown. What is not ours becomes `internal_error`, without its text. */
export function problemOf(thrown: unknown, place: ProblemPlace): ProblemAnswer {
  const error = thrown instanceof ConvokeError ? thrown : new ConvokeError('internal_error', 'the server failed; the request id finds it in the log')
  const status = STATUS[error.code]
  const headers: Record<string, string> = { 'content-type': 'application/problem+json', 'x-request-id': place.requestId, 'cache-control': 'no-store' }
  if (error.code === 'unauthorized') headers['www-authenticate'] = 'Bearer'
  const retryMs = error.retryAfterMs ?? (status === 503 ? 1000 : undefined)
  if (retryMs !== undefined) headers['retry-after'] = String(Math.max(1, Math.ceil(retryMs / 1000)))
  const body = {
    type: `urn:convoke:error:${error.code}`,
    title: error.code.replaceAll('_', ' '),
    status,
    detail: error.message,
    instance: place.path,
    error: error.message,
    code: error.code,
    request_id: place.requestId,
    ...(error.errors.length === 0 ? {} : { errors: error.errors }),
  }
  return { status, body: JSON.stringify(body), headers }
}
