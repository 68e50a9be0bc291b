import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Json } from '../domain/message.ts'
import { STEP_RESULT_BYTES_MAX, hashOf, jsonOf } from './journal-value.ts'

describe('a value of the journal', () => {
  test('is what JSON makes of it, whatever JSON it is', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        expect(jsonOf(value, 'it')).toEqual(JSON.parse(JSON.stringify(value)))
      }),
    )
  })

  test('is a copy: what is changed later was not answered', () => {
    const value = { list: [1] }
    const kept = jsonOf(value, 'it')
    value.list.push(2)
    expect(kept).toEqual({ list: [1] })
  })

  test('keeps a name that means something to JavaScript', () => {
    const value = JSON.parse('{"__proto__": {"a": 1}}') as unknown
    expect(JSON.stringify(jsonOf(value, 'it'))).toBe('{"__proto__":{"a":1}}')
  })

  test('is as large as allowed, and no larger', () => {
    const most = 'x'.repeat(STEP_RESULT_BYTES_MAX - 2)
    expect(jsonOf(most, 'it')).toBe(most)
    expect(() => jsonOf(`${most}x`, 'it')).toThrow('it has 262145 bytes as JSON, 262144 is the most')
  })

  test.each([
    [new Date(0), 'a Date'],
    [Symbol('s'), 'a symbol'],
    [Number.POSITIVE_INFINITY, 'Infinity'],
    [new (class Money {})(), 'a Money'],
    [[() => 1], 'a function'],
  ])('is not %o', (value, what) => {
    expect(() => jsonOf(value, 'the answer')).toThrow(`the answer is not JSON: it holds ${what}`)
  })
})

describe('a hash', () => {
  test('is the same for the same JSON in any order of fields', () => {
    expect(hashOf({ a: 1, b: [{ c: 2, d: 3 }] })).toBe(hashOf({ b: [{ d: 3, c: 2 }], a: 1 }))
  })

  // Stored with every run that is under way: it must stay what it is.
  test.each<[Json, string]>([
    [null, 'dCNOmK_nSY-12vHzasLXis'],
    [{ a: 1, b: 2 }, 'QyWM_3g_5wNtikMDP4MK38'],
  ])('of %j is frozen', (value, hash) => {
    expect(hashOf(value)).toBe(hash)
  })

  test('tells lists by their order, and text from numbers', () => {
    expect(new Set([[1, 2], [2, 1], '1', 1, [1], { 0: 1 }, {}, []].map((value) => hashOf(value as Json))).size).toBe(8)
  })
})
