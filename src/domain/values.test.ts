/** The small values that everything else is made of: ids, usage, messages, errors. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ConvokeError, ERROR_CODES, isRetryable, type ErrorCode } from './errors.ts'
import { isUuid, parseRunId, parseSessionId } from './ids.ts'
import { textOf, type Part } from './message.ts'
import { unreachable } from './unreachable.ts'
import { NO_USAGE, addUsage, type Usage } from './usage.ts'

const ID = '01900000-0000-7000-8000-00000000abcd'

describe('an id from outside', () => {
  test.each([
    ['as we make them', ID],
    ['in capitals', ID.toUpperCase()],
    ['of an older version', '6ba7b810-9dad-11d1-80b4-00c04fd430c8'],
    ['of nothing', '00000000-0000-0000-0000-000000000000'],
  ])('is a UUID %s, and is kept in small letters', (_what, text) => {
    expect(isUuid(text)).toBe(true)
    expect([parseSessionId(text), parseRunId(text)]).toEqual([text.toLowerCase(), text.toLowerCase()])
  })

  test.each([
    ['empty', ''],
    ['without dashes', ID.replaceAll('-', '')],
    ['too short', ID.slice(1)],
    ['too long', `${ID}0`],
    ['with another letter', ID.replace('a', 'g')],
    ['with a blank before', ` ${ID}`],
    ['with a line end', `${ID}\n`],
    ['in braces', `{${ID}}`],
    ['with dashes elsewhere', '0190000-00000-7000-8000-00000000abcd'],
    ['that climbs', '../../etc/passwd'],
  ])('is none when it is %s', (_what, text) => {
    expect(isUuid(text)).toBe(false)
    expect([parseSessionId(text), parseRunId(text)]).toEqual([undefined, undefined])
  })
})

describe('usage', () => {
  const full: Usage = { inputTokens: 1, outputTokens: 2, totalTokens: 3, cachedInputTokens: 4, cacheWriteTokens: 5, reasoningTokens: 6, cost: 0.5 }
  const count = fc.nat(1_000_000)
  const aUsage: fc.Arbitrary<Usage> = fc.record(
    { inputTokens: count, outputTokens: count, totalTokens: count, cachedInputTokens: count, cacheWriteTokens: count, reasoningTokens: count, cost: count },
    { requiredKeys: ['inputTokens', 'outputTokens', 'totalTokens'] },
  )

  test('adds up field by field', () => {
    expect(addUsage(full, full)).toEqual({
      inputTokens: 2,
      outputTokens: 4,
      totalTokens: 6,
      cachedInputTokens: 8,
      cacheWriteTokens: 10,
      reasoningTokens: 12,
      cost: 1,
    })
  })

  test('has a detail where either side has it, and no other: an unknown price is not a price of nothing', () => {
    const plain: Usage = { inputTokens: 1, outputTokens: 1, totalTokens: 2 }
    expect(addUsage(plain, plain)).toEqual({ inputTokens: 2, outputTokens: 2, totalTokens: 4 })
    expect(addUsage(plain, { ...plain, cost: 0 })).toEqual({ inputTokens: 2, outputTokens: 2, totalTokens: 4, cost: 0 })
    expect(addUsage({ ...plain, reasoningTokens: 7 }, plain)).toEqual({ inputTokens: 2, outputTokens: 2, totalTokens: 4, reasoningTokens: 7 })
  })

  test('is the same in any order and in any grouping, and nothing added changes nothing', () => {
    fc.assert(
      fc.property(aUsage, aUsage, aUsage, (a, b, c) => {
        expect(addUsage(a, b)).toEqual(addUsage(b, a))
        expect(addUsage(addUsage(a, b), c)).toEqual(addUsage(a, addUsage(b, c)))
        expect(addUsage(a, NO_USAGE)).toEqual(a)
      }),
    )
  })
})

describe('the text of a message', () => {
  const text = (said: string): Part => ({ type: 'text', text: said })

  test.each<[string, string | readonly Part[], string]>([
    ['plain text', 'hello', 'hello'],
    ['nothing', [], ''],
    ['one part', [text('hello')], 'hello'],
    ['several parts', [text('a'), text('b')], 'a\n\nb'],
    [
      'its text parts only',
      [
        { type: 'thinking', text: 'hm' },
        text('a'),
        { type: 'image', url: 'data:,' },
        { type: 'tool_call', id: 'c', name: 't', arguments: {} },
        { type: 'tool_result', toolCallId: 'c', toolName: 't', content: 'x', isError: false },
        text('b'),
      ],
      'a\n\nb',
    ],
  ])('is %s', (_what, content, expected) => {
    expect(textOf({ role: 'user', content })).toBe(expected)
  })
})

describe('an error', () => {
  test('says its code, its words, and what it was told besides', () => {
    const cause = new Error('disk')
    const error = new ConvokeError('overloaded', 'try again', { cause, retryAfterMs: 1000, errors: [{ pointer: '/a', detail: 'is missing' }] })
    expect(error).toMatchObject({ name: 'ConvokeError', code: 'overloaded', message: 'try again', cause, retryAfterMs: 1000 })
    expect(error.errors).toEqual([{ pointer: '/a', detail: 'is missing' }])
    expect(error).toBeInstanceOf(Error)
  })

  test('has no cause, no pointers and no pause unless it was told', () => {
    const error = new ConvokeError('not_found', 'no')
    expect([Object.hasOwn(error, 'cause'), error.errors, error.retryAfterMs]).toEqual([false, [], undefined])
  })

  test('may be tried again exactly where the same request can succeed later', () => {
    const retryable = (Object.keys(ERROR_CODES) as ErrorCode[]).filter(isRetryable)
    expect(retryable.toSorted()).toEqual([
      'input_pending',
      'model_protocol',
      'model_rate_limited',
      'model_unavailable',
      'overloaded',
      'queue_full',
      'request_timeout',
      'session_already_running',
      'shutting_down',
      'store_unknown',
      'too_many_streams',
    ])
  })

  test('has a code of small letters and low lines', () => {
    for (const code of Object.keys(ERROR_CODES)) expect(code).toMatch(/^[a-z]+(_[a-z]+)*$/)
  })
})

test('a value that no case knows is named, not passed over', () => {
  expect(() => unreachable({ type: 'Surprise' } as never)).toThrow('unreachable: {"type":"Surprise"}')
})
