import { expect, test } from 'vitest'
import { judgeAnswer } from './half-sent.ts'

const REFUSED = 'HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\r\n{"code":"shutting_down"}'

test('a refusal that says when to come back is right', () => {
  expect(judgeAnswer(REFUSED)).toEqual([])
})

test.each([
  ['nothing', ''],
  ['work that was accepted', 'HTTP/1.1 201 Created\r\n\r\n{}'],
  ['another code', REFUSED.replace('shutting_down', 'overloaded')],
  ['another status', REFUSED.replace('503', '500')],
  ['no time to come back', REFUSED.replace('Retry-After: 1\r\n', '')],
])('%s is not', (_, answer) => {
  expect(judgeAnswer(answer)).toHaveLength(1)
})
