import { expect, test } from 'vitest'
import { newRequestId, requestIdOf } from './request-id.ts'

test.each(['a', 'req_1', 'A-Z.0_9', 'x'.repeat(128)])('%j may go into headers and logs', (id) => {
  expect(requestIdOf(id)).toBe(id)
})

test.each([undefined, '', ' ', 'a b', 'a\nb', 'a\r\nset-cookie: x', 'é', '<b>', 'a/b', 'a:b', 'a,b', 'x'.repeat(129), ['a', 'b']])('%j may not', (id) => {
  expect(requestIdOf(id)).toBeUndefined()
})

test('a new one is the prefix and the digits of a UUID, and passes its own check', () => {
  const id = newRequestId({ uuid: () => '01900000-0000-7000-8000-0000000000ab', fraction: () => 0 })
  expect(id).toBe('req_019000000000700080000000000000ab')
  expect(requestIdOf(id)).toBe(id)
})
