import fc from 'fast-check'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { describe, expect, test } from 'vitest'
import { userId } from '../domain/ids.ts'
import { makeCall } from './call.ts'

const SESSION = '01900000-0000-7000-8000-00000000abcd'
/** A call; neither its request nor its answer is looked at by what is tested here. */
function call(path: string, options: { readonly key?: string; readonly user?: string; readonly method?: string; readonly public?: boolean } = {}) {
  const { key, user = 'ann', method = 'post' } = options
  return makeCall({
    principal: options.public === true ? undefined : { user: userId(user), scopes: [] },
    requestId: 'r',
    url: new URL(`http://localhost${path}`),
    param: () => '',
    header: (name) => (name === 'idempotency-key' ? key : undefined),
    incoming: {} as IncomingMessage,
    outgoing: {} as ServerResponse,
    extraHeaders: {},
    bodyBytesMax: 1,
    method,
  })
}
const scopeOf = (path: string, options: Parameters<typeof call>[1] = {}) => call(path, { key: 'k', ...options }).idempotency({})?.scope
const printOf = (body: unknown) => call('/', { key: 'k' }).idempotency(body)?.fingerprint

describe('an idempotency key', () => {
  test('is not asked for', () => {
    expect(call('/').idempotency({})).toBeUndefined()
  })

  test('is taken as it is, in the place where it was used', () => {
    expect(call(`/v1/sessions/${SESSION}/messages?x=1`, { key: '"quoted"' }).idempotency({})).toMatchObject({
      scope: `ann POST /v1/sessions/${SESSION}/messages`,
      key: '"quoted"',
    })
  })

  test.each([
    ['another user', '/v1/sessions', { user: 'bob' }],
    ['another method', '/v1/sessions', { method: 'patch' }],
    ['another path', '/v1/session', {}],
  ])('is another one for %s', (_what, path, options) => {
    expect(scopeOf(path, options)).not.toBe(scopeOf('/v1/sessions'))
  })

  test.each([
    ['the query', '/v1/sessions?a=1', '/v1/sessions'],
    ['the alias of bulk decisions', `/v1/sessions/${SESSION}/tools/resolve`, `/v1/sessions/${SESSION}/tools/decisions`],
    ['the case of the session’s id', `/v1/sessions/${SESSION.toUpperCase()}/cancel`, `/v1/sessions/${SESSION}/cancel`],
  ])('is the same one, whatever %s', (_what, one, other) => {
    expect(scopeOf(one)).toBe(scopeOf(other))
  })

  test('of a call is another one where the call’s id is written in another case: it is free text', () => {
    expect(scopeOf(`/v1/sessions/${SESSION}/tools/Call/decision`)).not.toBe(scopeOf(`/v1/sessions/${SESSION}/tools/call/decision`))
    const [upper, lower] = [SESSION.toUpperCase(), SESSION]
    expect(scopeOf(`/v1/sessions/${SESSION}/tools/${upper}/decision`)).not.toBe(scopeOf(`/v1/sessions/${SESSION}/tools/${lower}/decision`))
  })

  test.each(['!', '~', 'a'.repeat(255)])('may be %j', (key) => {
    expect(call('/', { key }).idempotency({})?.key).toBe(key)
  })

  test.each(['', ' ', 'a b', 'a\tb', 'é', '\x7f', 'a'.repeat(256)])('may not be %j', (key) => {
    expect(() => call('/', { key }).idempotency({})).toThrow(expect.objectContaining({ code: 'invalid_idempotency_key' }))
  })
})

describe('the fingerprint of a body', () => {
  test('does not depend on the order of fields, nor on fields that say nothing', () => {
    const shuffled = (value: unknown): unknown => {
      if (Array.isArray(value)) return value.map(shuffled)
      if (typeof value !== 'object' || value === null) return value
      return Object.fromEntries([
        ...Object.entries(value)
          .reverse()
          .map(([key, child]) => [key, shuffled(child)]),
        ['nothing at all', undefined],
      ])
    }
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(printOf(shuffled(value))).toBe(printOf(value))
      }),
    )
  })

  test('is another one for another value', () => {
    const known = new Map<string | undefined, string>()
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = JSON.stringify(sorted(value))
        expect(known.get(printOf(value)) ?? text).toBe(text)
        known.set(printOf(value), text)
      }),
      { numRuns: 500 },
    )
  })

  test.each([
    [
      [1, 2],
      [2, 1],
    ],
    ['1', 1],
    [{ a: 'b' }, ['a', 'b']],
    [{}, []],
    [null, {}],
    [{ a: null }, {}],
    [{ a: '1,"b":2' }, { a: 1, b: 2 }],
    ['a', 'a '],
  ])('of %j is not that of %j', (one, other) => {
    expect(printOf(one)).not.toBe(printOf(other))
  })
})

/** The plain model: JSON with its keys in order. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  return Object.entries(value)
    .map(([key, child]) => [key, sorted(child)] as const)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .reduce<unknown[]>((list, entry) => [...list, { entry }], [{}])
}

test('a public route that asks who is calling is a failure of the server', () => {
  expect(() => call('/', { public: true }).principal).toThrow(expect.objectContaining({ code: 'internal_error' }))
  expect(call('/').principal.user).toBe('ann')
})
