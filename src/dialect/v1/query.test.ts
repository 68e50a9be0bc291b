import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { intQuery, parseQuery } from './query.ts'

const SCHEMA = z.object({ limit: intQuery(1, 1000).optional(), view: z.enum(['a', 'b']).optional() })
const parse = (query: string) => parseQuery(new URL(`http://x/?${query}`), SCHEMA)

test.each([
  ['', {}],
  ['limit=1', { limit: 1 }],
  ['limit=1000', { limit: 1000 }],
  ['limit=0007', { limit: 7 }],
  ['limit=%37', { limit: 7 }],
  ['view=a&unknown=x&__proto__=y', { view: 'a' }],
  ['limit=1&limit=2', { limit: 2 }],
])('%j is read', (query, expected) => {
  expect(parse(query)).toEqual(expected)
})

describe('refused is', () => {
  test.each([
    'limit=',
    'limit=0',
    'limit=1001',
    'limit=-1',
    'limit=1.5',
    'limit=1e2',
    'limit=0x10',
    'limit=%201',
    'limit=99999999999999999',
    'limit=%D9%A1',
    'view=',
    'view=A',
  ])('%s', (query) => {
    const name = query.split('=')[0]
    expect(() => parse(query)).toThrow(expect.objectContaining({ code: 'invalid_request', errors: [{ pointer: `?${name}`, detail: expect.any(String) }] }))
  })
})
