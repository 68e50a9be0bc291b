import { describe, expect, test } from 'vitest'
import { manualClock } from '../testing/manual-clock.ts'
import { LOCAL_PRINCIPAL, createAccess, type AccessOptions, type StaticKey } from './keys.ts'

const USER_SCOPES = ['sessions:read', 'sessions:write', 'approvals:decide']
const LOCAL = { user: 'local', scopes: USER_SCOPES }
const KEYS: readonly StaticKey[] = [
  { user: 'alice', key: 'alices-key' },
  { user: 'robot', key: 'robots-key', scopes: ['sessions:read'] },
  { user: 'root', key: 'roots-key', scopes: ['admin'] },
]

type Headers = Readonly<Record<string, string>>

/** Who `headers` are, or the code of the refusal. */
async function ask(headers: Headers, options: Partial<AccessOptions> = {}): Promise<unknown> {
  const access = createAccess({ keys: KEYS, open: false, nowMs: () => 0, ...options })
  try {
    return await access.authenticate((name) => headers[name])
  } catch (error) {
    return (error as { code?: unknown }).code
  }
}

const bearer = (token: string): Headers => ({ authorization: `Bearer ${token}` })

describe('a key', () => {
  test.each<[string, Headers, unknown]>([
    ['as a bearer token', bearer('alices-key'), { user: 'alice', scopes: USER_SCOPES }],
    ['in its own header', { 'x-api-key': 'alices-key' }, { user: 'alice', scopes: USER_SCOPES }],
    ['with scopes of its own', bearer('robots-key'), { user: 'robot', scopes: ['sessions:read'] }],
    ['of an administrator', bearer('roots-key'), { user: 'root', scopes: ['admin'] }],
    [
      'as a bearer token beside another header, which does not count',
      { ...bearer('alices-key'), 'x-api-key': 'robots-key' },
      { user: 'alice', scopes: USER_SCOPES },
    ],
    [
      'in its own header, beside another kind of authorization',
      { authorization: 'Basic YTpi', 'x-api-key': 'alices-key' },
      { user: 'alice', scopes: USER_SCOPES },
    ],
  ])('names its user: %s', async (_what, headers, who) => {
    expect(await ask(headers)).toEqual(who)
  })

  test.each<[string, Headers]>([
    ['none', {}],
    ['an empty one', bearer('')],
    ['an empty header', { 'x-api-key': '' }],
    ['a wrong one', bearer('bobs-key')],
    ['one that begins alike', bearer('alices-ke')],
    ['one that goes on', bearer('alices-key-')],
    ['another case', bearer('Alices-Key')],
    ['a blank before it', bearer(' alices-key')],
    ['the name of a user', bearer('alice')],
    ['another scheme', { authorization: 'Basic alices-key' }],
    ['the scheme in small letters, which the contract does not take', { authorization: 'bearer alices-key' }],
    ['no scheme', { authorization: 'alices-key' }],
    ['a wrong bearer token beside a right header', { ...bearer('wrong'), 'x-api-key': 'alices-key' }],
    ['an empty bearer token beside a right header', { ...bearer(''), 'x-api-key': 'alices-key' }],
    ['a very long one', bearer('x'.repeat(100_000))],
  ])('is needed: %s is unauthorized', async (_what, headers) => {
    expect(await ask(headers)).toBe('unauthorized')
  })

  test('of letters beyond ASCII is compared whole', async () => {
    const keys = [{ user: 'zoë', key: 'schlüssel-✓' }]
    expect(await ask(bearer('schlüssel-✓'), { keys })).toEqual({ user: 'zoë', scopes: USER_SCOPES })
    expect(await ask(bearer('schlussel-✓'), { keys })).toBe('unauthorized')
  })

  test('without scopes in an empty list may do nothing, which is not the same as the default', async () => {
    expect(await ask(bearer('k'), { keys: [{ user: 'u', key: 'k', scopes: [] }] })).toEqual({ user: 'u', scopes: [] })
  })

  test('of several people is the first one’s', async () => {
    const twins: readonly StaticKey[] = [
      { user: 'first', key: 'same' },
      { user: 'second', key: 'same' },
    ]
    expect(await ask(bearer('same'), { keys: twins })).toMatchObject({ user: 'first' })
  })

  test('is known for what it is by every one of many', async () => {
    const keys = Array.from({ length: 100 }, (_, index): StaticKey => ({ user: `user-${index}`, key: `key-${index}` }))
    for (const index of [0, 50, 99]) expect(await ask(bearer(`key-${index}`), { keys })).toMatchObject({ user: `user-${index}` })
    expect(await ask(bearer('key-100'), { keys })).toBe('unauthorized')
  })
})

describe('a key that expires', () => {
  test('counts until its time and not from then on', async () => {
    const clock = manualClock(1000)
    const access = createAccess({ keys: [{ user: 'alice', key: 'k', expiresMs: 1500 }], open: false, nowMs: () => clock.nowMs() })
    const who = async () => access.authenticate((name) => (name === 'x-api-key' ? 'k' : undefined)).catch((error: { code: string }) => error.code)
    clock.advance(499)
    expect(await who()).toMatchObject({ user: 'alice' })
    clock.advance(1)
    expect(await who()).toBe('unauthorized')
  })

  test('makes way for the same key with a later end', async () => {
    const keys: readonly StaticKey[] = [
      { user: 'old', key: 'k', expiresMs: 1000 },
      { user: 'new', key: 'k', expiresMs: 3000 },
    ]
    expect(await ask(bearer('k'), { keys, nowMs: () => 2000 })).toMatchObject({ user: 'new' })
    expect(await ask(bearer('k'), { keys, nowMs: () => 3000 })).toBe('unauthorized')
  })

  test('does not turn its holder into the local user of an open listener', async () => {
    const keys: readonly StaticKey[] = [{ user: 'old', key: 'k', expiresMs: 1000 }]
    expect(await ask(bearer('k'), { keys, open: true, nowMs: () => 2000 })).toBe('unauthorized')
  })
})

describe('an open listener', () => {
  test.each<[string, Headers]>([
    ['no key', {}],
    ['an empty key', bearer('')],
    ['another kind of authorization', { authorization: 'Basic YTpi' }],
  ])('takes a request with %s as the local user', async (_what, headers) => {
    expect(await ask(headers, { open: true })).toEqual(LOCAL)
    expect(await ask(headers, { open: true, keys: [] })).toEqual(LOCAL)
    expect(await ask(headers, { open: true, keys: [], handler: () => false })).toEqual(LOCAL)
  })

  test('knows its keys, and refuses a wrong one', async () => {
    expect(await ask(bearer('alices-key'), { open: true })).toMatchObject({ user: 'alice' })
    expect(await ask(bearer('wrong'), { open: true })).toBe('unauthorized')
  })

  test('without keys takes any token as the local user: clients that must send one may', async () => {
    expect(await ask(bearer('anything'), { open: true, keys: [] })).toEqual(LOCAL)
  })

  test('says that it is open', () => {
    for (const open of [true, false]) expect(createAccess({ keys: KEYS, open, nowMs: () => 0 }).open).toBe(open)
  })

  test('has a local user who may what a person with a plain key may', () => {
    expect(LOCAL_PRINCIPAL).toEqual(LOCAL)
  })
})

describe('a handler', () => {
  const knows = (token: string) => token === 'mine'

  test.each<[string, AccessOptions['handler'], unknown]>([
    ['that accepts', knows, LOCAL],
    ['that accepts later', async (token) => knows(token), LOCAL],
    ['that refuses', () => false, 'unauthorized'],
    ['that refuses later', async () => false, 'unauthorized'],
    [
      'that throws',
      () => {
        throw new Error('broken')
      },
      'unauthorized',
    ],
    ['that fails later', () => Promise.reject(new Error('broken')), 'unauthorized'],
    ['that answers something like yes', (() => 1) as unknown as AccessOptions['handler'], 'unauthorized'],
  ])('%s decides about tokens that are no key', async (_what, handler, who) => {
    expect(await ask(bearer('mine'), { keys: [], ...(handler === undefined ? {} : { handler }) })).toEqual(who)
    expect(await ask({ 'x-api-key': 'mine' }, { keys: [], ...(handler === undefined ? {} : { handler }) })).toEqual(who)
  })

  test('is not asked about keys, nor where there is no token', async () => {
    const asked: string[] = []
    const handler = (token: string) => asked.push(token) > 0
    expect(await ask(bearer('alices-key'), { handler })).toMatchObject({ user: 'alice' })
    expect(await ask({}, { handler })).toBe('unauthorized')
    expect(asked).toEqual([])
    expect(await ask(bearer('other'), { handler })).toEqual(LOCAL)
    expect(asked).toEqual(['other'])
  })

  test('that refuses is not overruled by an open listener', async () => {
    expect(await ask(bearer('wrong'), { open: true, keys: [], handler: () => false })).toBe('unauthorized')
  })
})
