import { describe, expect, test } from 'vitest'
import { ConvokeError, ERROR_CODES, isRetryable, type ErrorCode } from '../domain/errors.ts'
import { problemOf, STATUS } from './errors.ts'

/** Frozen: clients choose by these. */
const FROZEN: Readonly<Record<number, readonly string[]>> = {
  400: [
    'invalid_request',
    'invalid_json',
    'invalid_id',
    'invalid_cursor',
    'invalid_message_role',
    'invalid_context',
    'invalid_overrides',
    'invalid_model',
    'invalid_idempotency_key',
  ],
  401: ['unauthorized'],
  403: ['forbidden', 'forbidden_host', 'forbidden_origin', 'cwd_not_allowed'],
  404: ['not_found', 'route_not_found', 'tool_call_not_found'],
  405: ['method_not_allowed'],
  409: [
    'session_deleted',
    'session_exists',
    'session_already_running',
    'session_not_running',
    'run_mismatch',
    'decision_conflict',
    'idempotency_key_reused',
    'sandbox_unavailable',
    'input_pending',
  ],
  413: ['payload_too_large'],
  415: ['unsupported_media_type'],
  422: ['invalid_body', 'invalid_fork_point'],
  429: ['queue_full'],
  431: ['headers_too_large'],
  500: [
    'config_invalid',
    'agent_failed',
    'agent_changed',
    'step_interrupted',
    'crash_loop',
    'run_interrupted',
    'store_failed',
    'store_locked',
    'store_newer',
    'store_damaged',
    'internal_error',
  ],
  502: ['model_auth', 'model_refused', 'model_context_overflow', 'model_protocol', 'model_unavailable'],
  503: ['model_rate_limited', 'too_many_streams', 'request_timeout', 'overloaded', 'shutting_down', 'store_unknown'],
}
const place = { requestId: 'req-1', path: '/v1/x' }
const CODES = Object.keys(ERROR_CODES) as ErrorCode[]

test('every code has the status that clients know', () => {
  const byStatus = Object.groupBy(CODES, (code) => STATUS[code])
  for (const [status, codes] of Object.entries(FROZEN)) expect([status, byStatus[Number(status)]?.toSorted()]).toEqual([status, [...codes].sort()])
  expect(Object.keys(byStatus)).toEqual(Object.keys(FROZEN))
})

test('no code of a caller’s fault is a server’s status, but for a configuration, which no request can show', () => {
  const odd = CODES.filter((code) => ERROR_CODES[code].fault === 'caller' && STATUS[code] >= 500)
  expect(odd.sort()).toEqual(['config_invalid'])
})

describe.each(CODES)('%s', (code) => {
  test('is a problem of RFC 9457 that also says error, code and request id', () => {
    const { status, body, headers } = problemOf(new ConvokeError(code, 'why'), place)
    expect(JSON.parse(body)).toEqual({
      type: `urn:convoke:error:${code}`,
      title: code.replaceAll('_', ' '),
      status,
      detail: 'why',
      instance: '/v1/x',
      error: 'why',
      code,
      request_id: 'req-1',
    })
    expect(headers).toMatchObject({ 'content-type': 'application/problem+json', 'x-request-id': 'req-1', 'cache-control': 'no-store' })
  })

  test('says when to come again where its status is 503', () => {
    expect(problemOf(new ConvokeError(code, 'why'), place).headers['retry-after']).toBe(STATUS[code] === 503 ? '1' : undefined)
    expect(STATUS[code] !== 503 || isRetryable(code)).toBe(true)
  })
})

test.each([
  [0, '1'],
  [1, '1'],
  [1000, '1'],
  [1001, '2'],
  [90_000, '90'],
])('%i ms to wait are %s whole seconds', (retryAfterMs, seconds) => {
  expect(problemOf(new ConvokeError('queue_full', 'why', { retryAfterMs }), place).headers['retry-after']).toBe(seconds)
})

test('only a missing key is asked for', () => {
  const asking = CODES.filter((code) => problemOf(new ConvokeError(code, ''), place).headers['www-authenticate'] !== undefined)
  expect(asking).toEqual(['unauthorized'])
})

test('places in the input come along, and are left out where there are none', () => {
  const errors = [{ pointer: '/a', detail: 'is missing' }]
  expect(JSON.parse(problemOf(new ConvokeError('invalid_body', 'x', { errors }), place).body).errors).toEqual(errors)
  expect(JSON.parse(problemOf(new ConvokeError('invalid_body', 'x'), place).body)).not.toHaveProperty('errors')
})

test.each([new Error('secret'), new TypeError('secret'), 'secret', { secret: 1 }, undefined, null])(
  '%j, which is none of ours, is an internal error without its text',
  (thrown) => {
    const { status, body } = problemOf(thrown, place)
    expect([status, JSON.parse(body).code]).toEqual([500, 'internal_error'])
    expect(body).not.toContain('secret')
  },
)
