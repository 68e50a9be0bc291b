/** Codes for errors that no server can be made to send on demand. */
import { expect, test } from 'vitest'
import { ConvokeError } from '../domain/errors.ts'
import { classify } from './errors.ts'

const NOW_MS = 1_700_000_000_000
const withCode = (message: string, code: string, cause?: unknown) => Object.assign(new Error(message, { cause }), { code })
const named = (name: string, message = 'no') => Object.assign(new Error(message), { name })

test.each([
  ['a refused connection', new TypeError('fetch failed', { cause: withCode('connect ECONNREFUSED 127.0.0.1:1', 'ECONNREFUSED') })],
  ['a name that is not found', withCode('Cannot connect to API: getaddrinfo', 'ENOTFOUND')],
  ['a name server that does not answer', withCode('getaddrinfo', 'EAI_AGAIN')],
  ['no headers for too long', new TypeError('fetch failed', { cause: withCode('Headers Timeout Error', 'UND_ERR_HEADERS_TIMEOUT') })],
  [
    'no headers for too long, as a package wraps it',
    new Error('Cannot connect to API: Headers Timeout Error', { cause: withCode('', 'UND_ERR_HEADERS_TIMEOUT') }),
  ],
  ['a body that stands still for too long', new TypeError('terminated', { cause: withCode('Body Timeout Error', 'UND_ERR_BODY_TIMEOUT') })],
  ['a closed socket', withCode('other side closed', 'UND_ERR_SOCKET')],
  ['a certificate that has expired', new Error('Cannot connect to API', { cause: withCode('certificate has expired', 'CERT_HAS_EXPIRED') })],
  ['a certificate of nobody', withCode('self-signed certificate', 'DEPTH_ZERO_SELF_SIGNED_CERT')],
  ['a certificate that cannot be verified', withCode('unable to verify', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE')],
  ['a break inside a good answer', Object.assign(new Error('Failed to process', { cause: withCode('read ECONNRESET', 'ECONNRESET') }), { statusCode: 200 })],
  ['a break three causes deep', new Error('a', { cause: new Error('b', { cause: withCode('c', 'EPIPE') }) })],
])('%s is model_unavailable', (_what, thrown) => {
  expect(classify(thrown, NOW_MS)).toMatchObject({ code: 'model_unavailable', cause: thrown })
})

test.each([
  ['a missing key', named('AI_LoadAPIKeyError'), 'model_auth'],
  ['a feature that the model lacks', named('AI_UnsupportedFunctionalityError'), 'model_refused'],
  ['a prompt that cannot be sent', named('AI_InvalidPromptError'), 'model_refused'],
  ['an address of a picture that is none', withCode('Invalid URL', 'ERR_INVALID_URL'), 'model_refused'],
  ['an answer of another shape', named('AI_TypeValidationError'), 'model_protocol'],
  ['JSON that is none', named('AI_JSONParseError', 'JSON parsing failed: ECONNRESET network socket'), 'model_protocol'],
  ['a broken argument of Node', withCode('bad', 'ERR_INVALID_ARG_TYPE'), 'model_protocol'],
  ['a text', 'it broke', 'model_protocol'],
  ['nothing', undefined, 'model_protocol'],
  ['null', null, 'model_protocol'],
  ['a number', 429, 'model_protocol'],
])('%s has its code', (_what, thrown, code) => {
  expect(classify(thrown, NOW_MS).code).toBe(code)
})

test('an error that has a code keeps it', () => {
  const own = new ConvokeError('model_refused', 'no')
  expect(classify(own, NOW_MS)).toBe(own)
})

test('causes that go round in a circle end', () => {
  const circle = new Error('a')
  circle.cause = circle
  expect(classify(circle, NOW_MS).code).toBe('model_protocol')
})

test('the text is cut at 500 characters of the provider', () => {
  expect(classify(new Error('x'.repeat(10_000)), NOW_MS).message).toBe(`the model provider answered: ${'x'.repeat(500)}`)
})

test('an error of ours that a package has wrapped stays what it is', () => {
  const ours = new ConvokeError('model_refused', 'too long')
  expect(classify(Object.assign(new Error('Failed to process', { cause: ours }), { statusCode: 200 }), NOW_MS)).toBe(ours)
})

test.each(['-5', '5, 5', '1e3', '0x10', 'May 5', '12', ''])('a time to try again of %j is no date', (value) => {
  const thrown = Object.assign(new Error('slow down'), { statusCode: 429, responseHeaders: { 'retry-after': value } })
  expect(classify(thrown, NOW_MS).retryAfterMs).toBe(value === '12' ? 12_000 : undefined)
})

test.each(['Thu, 16 Nov 2023 00:00:00 GMT', 'Thursday, 16-Nov-23 00:00:00 GMT', 'Thu Nov 16 00:00:00 2023 GMT'])(
  'a time to try again of %j is a date',
  (value) => {
    const thrown = Object.assign(new Error('slow down'), { statusCode: 429, responseHeaders: { 'retry-after': value } })
    expect(classify(thrown, Date.UTC(2023, 10, 15, 23, 59)).retryAfterMs).toBe(60_000)
  },
)
