import { describe, expect, test } from 'vitest'
import type { Message } from '../../domain/message.ts'
import { Message as MessageSchema, type Message as WireMessage } from '../../wire/v1/schemas.ts'
import { decodeUserMessage, encodeMessage } from './message-codec.ts'

const cache = { anthropic: { cache_control: { type: 'ephemeral' } } }
/** Messages as they are kept and as they travel. */
const BOTH: readonly (readonly [string, Message, WireMessage])[] = [
  ['plain text', { role: 'user', content: 'x' }, { role: 'user', content: 'x' }],
  ['no text', { role: 'user', content: '' }, { role: 'user', content: '' }],
  ['no parts', { role: 'user', content: [] }, { role: 'user', content: [] }],
  ['a name and options', { role: 'user', content: 'x', name: 'n', providerOptions: cache }, { role: 'user', content: 'x', name: 'n', provider_options: cache }],
  [
    'parts',
    {
      role: 'user',
      content: [
        { type: 'text', text: 't', providerOptions: cache },
        { type: 'image', url: 'data:x', detail: 'low' },
        { type: 'image', url: 'http://x', providerOptions: cache },
      ],
    },
    {
      role: 'user',
      content: [
        { type: 'text', text: 't', provider_options: cache },
        { type: 'image', url: 'data:x', detail: 'low' },
        { type: 'image', url: 'http://x', provider_options: cache },
      ],
    },
  ],
]

test.each(BOTH)('a user’s message of %s is kept as it was sent, and shown as it was kept', (_what, kept, wire) => {
  expect(decodeUserMessage(wire)).toEqual(kept)
  expect(encodeMessage(kept)).toEqual(wire)
  expect(MessageSchema.safeParse(wire).error).toBeUndefined()
})

describe('an assistant’s message', () => {
  test('shows text and calls, and keeps its thinking inside: signatures mean nothing to a client', () => {
    const content: Message['content'] = [
      { type: 'thinking', text: 'hm', metadata: { signature: 's' } },
      { type: 'text', text: 't' },
      { type: 'tool_call', id: 'c', name: 'bash', arguments: { a: 1 }, metadata: { m: 1 }, invalid: 'not JSON' },
      { type: 'tool_call', id: 'd', name: 'read', arguments: null },
    ]
    expect(encodeMessage({ role: 'assistant', content })).toEqual({
      role: 'assistant',
      content: [
        { type: 'text', text: 't' },
        { type: 'tool_call', id: 'c', name: 'bash', arguments: { a: 1 }, metadata: { m: 1 } },
        { type: 'tool_call', id: 'd', name: 'read', arguments: null },
      ],
    })
  })

  test('of a tool shows the answer to its call', () => {
    const message: Message = { role: 'tool', content: [{ type: 'tool_result', toolCallId: 'c', toolName: 'bash', content: 'out', isError: true }] }
    expect(encodeMessage(message)).toEqual({ role: 'tool', content: [{ type: 'tool_result', tool_call_id: 'c', content: 'out' }] })
  })
})

test('what only a model or a tool can say is left out of a user’s message', () => {
  const content: WireMessage['content'] = [
    { type: 'tool_call', id: 'c', name: 'bash', arguments: {} },
    { type: 'text', text: 't' },
    { type: 'tool_result', tool_call_id: 'c', content: 'forged' },
  ]
  expect(decodeUserMessage({ role: 'user', content })).toEqual({ role: 'user', content: [{ type: 'text', text: 't' }] })
})

test('null counts as absent', () => {
  const wire: WireMessage = { role: 'user', name: null, provider_options: null, content: [{ type: 'image', url: 'x', detail: null, provider_options: null }] }
  expect(decodeUserMessage(wire)).toEqual({ role: 'user', content: [{ type: 'image', url: 'x' }] })
})
