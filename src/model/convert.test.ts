/** Our messages as a prompt: each call has exactly one result, each result its call. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Message, Part } from '../domain/message.ts'
import { NO_RESULT, toPrompt } from './convert.ts'

const user = (content: Message['content']): Message => ({ role: 'user', content })
const assistant = (...content: readonly Part[]): Message => ({ role: 'assistant', content })
const call = (id: string, args: Part & { type: 'tool_call' } extends { arguments: infer A } ? A : never = { n: 1 }): Part => ({
  type: 'tool_call',
  id,
  name: 'bash',
  arguments: args,
})
const result = (id: string, content: string | number | object = 'ok', isError = false): Message => ({
  role: 'tool',
  content: [{ type: 'tool_result', toolCallId: id, toolName: 'bash', content: content as string, isError }],
})
const prompt = (...messages: readonly Message[]) => toPrompt({ system: '', messages })

test('the system text comes first, and an empty one is left out', () => {
  expect(toPrompt({ system: 'Be brief.', messages: [user('hi')] })[0]).toEqual({ role: 'system', content: 'Be brief.' })
  expect(prompt(user('hi'))).toEqual([{ role: 'user', content: [{ type: 'text', text: 'hi' }] }])
})

test('a system message inside the history keeps its place', () => {
  expect(prompt(user('a'), { role: 'system', content: 'b' }, user('c')).map(({ role }) => role)).toEqual(['user', 'system', 'user'])
})

test.each([
  ['a data URL', { type: 'image', url: 'data:image/png;base64,AAAA' }, { type: 'file', mediaType: 'image/png', data: { type: 'data', data: 'AAAA' } }],
  ['a URL', { type: 'image', url: 'https://x.test/a.png' }, { type: 'file', mediaType: 'image', data: { type: 'url', url: new URL('https://x.test/a.png') } }],
  ['a text', { type: 'text', text: 'see' }, { type: 'text', text: 'see' }],
] as const)('a user part that is %s is handed on', (_what, part, expected) => {
  expect(prompt(user([part]))).toEqual([{ role: 'user', content: [expected] }])
})

test.each([
  ['no parts', []],
  ['only parts that no user can say', [{ type: 'thinking', text: 'hm' }]],
] as const)('a user message with %s becomes a blank, since providers refuse an empty one', (_what, content) => {
  expect(prompt(user(content))).toEqual([{ role: 'user', content: [{ type: 'text', text: ' ' }] }])
})

test('options for the provider travel with their message and their part', () => {
  const providerOptions = { anthropic: { cacheControl: { type: 'ephemeral' } } }
  const message: Message = { role: 'user', content: [{ type: 'text', text: 'a', providerOptions }], providerOptions }
  expect(prompt(message)).toEqual([{ role: 'user', content: [{ type: 'text', text: 'a', providerOptions }], providerOptions }])
})

test.each([
  ['an empty text', assistant({ type: 'text', text: '' }), []],
  ['a thought without its signature', assistant({ type: 'thinking', text: 'hm' }), []],
  ['a plain text', { role: 'assistant', content: 'yes' } as Message, [{ role: 'assistant', content: [{ type: 'text', text: 'yes' }] }]],
  [
    'a signed thought',
    assistant({ type: 'thinking', text: 'hm', metadata: { anthropic: { signature: 's' } } }),
    [{ role: 'assistant', content: [{ type: 'reasoning', text: 'hm', providerOptions: { anthropic: { signature: 's' } } }] }],
  ],
] as const)('of an assistant message, %s goes as %#', (_what, message, expected) => {
  expect(prompt(message)).toEqual(expected)
})

test.each([
  ['an object', { command: 'ls' }, { command: 'ls' }],
  ['raw text that could not be parsed', '{"comm', { input: '{"comm' }],
  ['a list', [1, 2], { input: [1, 2] }],
  ['nothing', null, { input: null }],
])('arguments that are %s go as an object', (_what, args, input) => {
  expect(prompt(assistant(call('c1', args)), result('c1'))[0]).toEqual({
    role: 'assistant',
    content: [{ type: 'tool-call', toolCallId: 'c1', toolName: 'bash', input }],
  })
})

test.each([
  ['text', 'ok', false, { type: 'text', value: 'ok' }],
  ['an error text', 'no', true, { type: 'error-text', value: 'no' }],
  ['JSON', { rows: 3 }, false, { type: 'json', value: { rows: 3 } }],
  ['error JSON', { rows: 3 }, true, { type: 'error-json', value: { rows: 3 } }],
])('a result that is %s says so', (_what, content, isError, output) => {
  expect(prompt(assistant(call('c1')), result('c1', content, isError))[1]).toEqual({
    role: 'tool',
    content: [{ type: 'tool-result', toolCallId: 'c1', toolName: 'bash', output }],
  })
})

test('what must be handed back with a call is handed back', () => {
  const metadata = { google: { thoughtSignature: 's' } }
  const made = prompt(assistant({ type: 'tool_call', id: 'c1', name: 'bash', arguments: {}, metadata }), result('c1'))
  expect(made[0]).toMatchObject({ content: [{ providerOptions: metadata }] })
})

describe('pairs of calls and results', () => {
  const ids = (made: ReturnType<typeof toPrompt>) =>
    made.map((message) => [
      message.role,
      ...(typeof message.content === 'string' ? [] : message.content.map((part) => ('toolCallId' in part ? part.toolCallId : part.type))),
    ])

  test('results in messages of their own go as one', () => {
    expect(ids(prompt(assistant(call('a'), call('b')), result('b'), result('a')))).toEqual([
      ['assistant', 'a', 'b'],
      ['tool', 'b', 'a'],
    ])
  })

  test('a call without a result is answered with an error, at the end and in the middle', () => {
    const made = prompt(assistant(call('a'), call('b')), result('a'), user('and?'), assistant(call('c')))
    expect(ids(made)).toEqual([
      ['assistant', 'a', 'b'],
      ['tool', 'a', 'b'],
      ['user', 'text'],
      ['assistant', 'c'],
      ['tool', 'c'],
    ])
    expect(made[1]).toMatchObject({ content: [{ output: { type: 'text' } }, { output: { type: 'error-text', value: 'no result was recorded' } }] })
    expect(NO_RESULT).toBe('no result was recorded')
  })

  test('a result without a call, a second one, and one that comes too late are left out', () => {
    expect(ids(prompt(result('x'), user('go'), assistant(call('a')), result('a'), result('a', 'again'), user('so'), result('a', 'late')))).toEqual([
      ['user', 'text'],
      ['assistant', 'a'],
      ['tool', 'a'],
      ['user', 'text'],
    ])
  })

  test('a result that came after something else was said goes right behind its call: what was done is not told as undone', () => {
    const made = prompt(assistant(call('a')), user('by the way'), assistant(call('b')), result('a', 'did a'), result('b', 'did b'))
    expect(ids(made)).toEqual([
      ['assistant', 'a'],
      ['tool', 'a'],
      ['user', 'text'],
      ['assistant', 'b'],
      ['tool', 'b'],
    ])
    expect(made[1]).toMatchObject({ content: [{ output: { type: 'text', value: 'did a' } }] })
  })

  test('a call takes the first result behind it, also where a later call has the same id', () => {
    const made = prompt(assistant(call('a')), result('a', 'one'), assistant(call('a')), user('and'), result('a', 'two'))
    expect(made.flatMap(({ role, content }) => (role === 'tool' ? content.map((part) => 'output' in part && part.output) : []))).toEqual([
      { type: 'text', value: 'one' },
      { type: 'text', value: 'two' },
    ])
  })

  test('two assistant messages in a row each have their own results', () => {
    expect(ids(prompt(assistant(call('a')), assistant(call('b')), result('b')))).toEqual([
      ['assistant', 'a'],
      ['tool', 'a'],
      ['assistant', 'b'],
      ['tool', 'b'],
    ])
  })

  const anyId = fc.constantFrom('a', 'b', 'c', 'd')
  const anyMessage = fc.oneof(
    fc.constant(user('u')),
    anyId.map((id) => result(id)),
    fc.uniqueArray(anyId, { maxLength: 3 }).map((calls) => assistant({ type: 'text', text: 't' }, ...calls.map((id) => call(id)))),
  )

  test('in any history, each call is followed by exactly one result before anything else is said', () => {
    fc.assert(
      fc.property(fc.array(anyMessage, { maxLength: 12 }), (messages) => {
        const made = prompt(...messages)
        made.forEach((message, index) => {
          const called = message.role === 'assistant' ? message.content.flatMap((part) => (part.type === 'tool-call' ? [part.toolCallId] : [])) : []
          const next = made[index + 1]
          const answered = next?.role === 'tool' ? next.content.flatMap((part) => (part.type === 'tool-result' ? [part.toolCallId] : [])) : []
          if (message.role !== 'tool') expect(answered.toSorted()).toEqual(called.toSorted())
          else expect(made[index - 1]?.role).toBe('assistant')
        })
        expect(made.filter(({ role }) => role === 'user')).toHaveLength(messages.filter(({ role }) => role === 'user').length)
      }),
    )
  })
})
