import { describe, expect, test } from 'vitest'
import { userId } from './ids.ts'
import { USER_SCOPES, authorize, hasScope, requireScope, type Principal, type Scope } from './principal.ts'

const SCOPES: readonly Scope[] = ['sessions:read', 'sessions:write', 'approvals:decide', 'admin']
const alice = (...scopes: Scope[]): Principal => ({ user: userId('alice'), scopes })

/** The code that is thrown, or `undefined`. */
function refusal(act: () => void): unknown {
  try {
    act()
    return undefined
  } catch (error) {
    return (error as { code?: unknown }).code
  }
}

describe('a scope', () => {
  test.each(SCOPES.flatMap((held) => SCOPES.map((asked) => [held, asked] as const)))('%s grants %s only if it is that or admin', (held, asked) => {
    const granted = held === asked || held === 'admin'
    expect(hasScope(alice(held), asked)).toBe(granted)
    expect(refusal(() => requireScope(alice(held), asked))).toBe(granted ? undefined : 'forbidden')
  })

  test('is not granted by none', () => {
    for (const scope of SCOPES) expect(hasScope(alice(), scope)).toBe(false)
  })

  test('that a plain key has is everything but administration', () => {
    expect(USER_SCOPES).toEqual(['sessions:read', 'sessions:write', 'approvals:decide'])
  })
})

describe('a stream of one owner', () => {
  test.each<[string, Principal, string | undefined, string | undefined]>([
    ['its owner with the scope', alice('sessions:read'), 'alice', undefined],
    ['its owner as an administrator', alice('admin'), 'alice', undefined],
    ['its owner without the scope', alice('sessions:write'), 'alice', 'forbidden'],
    ['another', alice('sessions:read'), 'bob', 'not_found'],
    ['another without the scope: nothing tells that there is something', alice(), 'bob', 'not_found'],
    ['an administrator of another name', alice('admin'), 'bob', 'not_found'],
    ['somebody whose name differs in case', alice('sessions:read'), 'Alice', 'not_found'],
    ['anybody, when there is no stream', alice('admin'), undefined, 'not_found'],
  ])('meets %s', (_what, principal, owner, code) => {
    expect(refusal(() => authorize(principal, 'sessions:read', owner === undefined ? undefined : userId(owner)))).toBe(code)
  })
})
