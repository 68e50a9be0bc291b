import { describe, expect, test } from 'vitest'
import type { Part } from '../domain/message.ts'
import type { ModelPart } from '../domain/model.ts'
import { askTools, stop, text, thinking, tokens, toolCall } from '../testing/scripted-model.ts'
import { Answer } from './answer.ts'

function answerOf(parts: readonly ModelPart[]): Answer {
  const answer = new Answer()
  for (const part of parts) answer.add(part)
  return answer
}

const call = (id: string, args = {}): Part => ({ type: 'tool_call', id, name: 'act', arguments: args })

describe('the message', () => {
  test.each<[string, readonly ModelPart[], readonly Part[]]>([
    ['nothing is an empty message', [], []],
    ['deltas are joined to one text', [...text('Hel', 'lo'), stop()], [{ type: 'text', text: 'Hello' }]],
    [
      'blocks stay apart',
      [...text('a'), ...text('b'), stop()],
      [
        { type: 'text', text: 'a' },
        { type: 'text', text: 'b' },
      ],
    ],
    ['an empty block is left out', [...text(), ...thinking(), stop()], []],
    [
      'a hidden thought is kept for what must be handed back',
      [{ type: 'thinking_end', metadata: { anthropic: { redactedData: 'x' } } }, stop()],
      [{ type: 'thinking', text: '', metadata: { anthropic: { redactedData: 'x' } } }],
    ],
    ['text without its end is closed by the finish', [{ type: 'text_delta', delta: 'a' }, stop()], [{ type: 'text', text: 'a' }]],
    ['thinking without its end too', [{ type: 'thinking_delta', delta: 'h' }, stop()], [{ type: 'thinking', text: 'h' }]],
    [
      'thinking goes before text that is open with it',
      [{ type: 'text_delta', delta: 'a' }, { type: 'thinking_delta', delta: 'h' }, stop()],
      [
        { type: 'thinking', text: 'h' },
        { type: 'text', text: 'a' },
      ],
    ],
    ['a call closes the text before it', [{ type: 'text_delta', delta: 'a' }, toolCall('c', 'act'), askTools()], [{ type: 'text', text: 'a' }, call('c')]],
    [
      'parts keep their order',
      [...thinking('h'), ...text('a'), toolCall('c', 'act', { x: 1 }), ...text('b'), stop()],
      [{ type: 'thinking', text: 'h' }, { type: 'text', text: 'a' }, call('c', { x: 1 }), { type: 'text', text: 'b' }],
    ],
  ])('%s', (_what, parts, content) => {
    expect(answerOf(parts).message()).toEqual({ role: 'assistant', content })
  })

  test('the signature of a thought is kept with it, and the metadata of a call', () => {
    const parts = [
      { type: 'thinking_delta', delta: 'h' },
      { type: 'thinking_end', metadata: { sign: 1 } },
      { ...toolCall('c', 'act'), metadata: { m: 2 } },
    ] as const
    expect(answerOf(parts as readonly ModelPart[]).message().content).toEqual([
      { type: 'thinking', text: 'h', metadata: { sign: 1 } },
      { ...call('c'), metadata: { m: 2 } },
    ])
  })

  test('a hidden thought is kept for its signature; one without either is none', () => {
    expect(answerOf([{ type: 'thinking_end', metadata: { sign: 1 } }]).message().content).toEqual([{ type: 'thinking', text: '', metadata: { sign: 1 } }])
    expect(answerOf([{ type: 'thinking_end' }]).message().content).toEqual([])
  })

  test('it holds text that is still open, and the same text once when it ends', () => {
    const answer = answerOf([{ type: 'text_delta', delta: 'a' }])
    expect(answer.message().content).toEqual([{ type: 'text', text: 'a' }])
    answer.add({ type: 'text_end' })
    expect(answer.message().content).toEqual([{ type: 'text', text: 'a' }])
  })
})

describe('what is known of it', () => {
  test('usage and reason come with the finish', () => {
    const answer = answerOf(text('a'))
    expect([answer.finish, answer.usage]).toEqual([undefined, tokens(0, 0)])
    answer.add({ type: 'finish', reason: 'max_output_tokens', usage: tokens(4, 2) })
    expect([answer.finish, answer.usage]).toEqual(['max_output_tokens', tokens(4, 2)])
  })

  test('its calls are those that the model asked for, in order, with what is wrong with them', () => {
    const wrong = { ...toolCall('b', 'act', '{"x'), invalid: 'not JSON' } as const
    expect(answerOf([toolCall('a', 'act'), ...text('t'), wrong as ModelPart, askTools()]).calls).toEqual([
      call('a'),
      { ...call('b'), arguments: '{"x', invalid: 'not JSON' },
    ])
  })

  test('open text is the text of the block alone', () => {
    const answer = answerOf([...text('a'), { type: 'text_delta', delta: 'b' }, { type: 'text_delta', delta: 'c' }])
    expect(answer.openText).toBe('bc')
    answer.add({ type: 'text_end' })
    expect(answer.openText).toBe('')
  })
})

describe('an answer that was cut off', () => {
  test.each<[string, readonly ModelPart[], readonly string[] | undefined]>([
    ['nothing leaves no message', [], undefined],
    ['a thought leaves no message', [{ type: 'thinking_delta', delta: 'h' }], undefined],
    ['a whole thought leaves no message', thinking('h'), undefined],
    ['a call leaves no message', [toolCall('c', 'act')], undefined],
    ['open text is kept', [{ type: 'text_delta', delta: 'a' }], ['a']],
    ['text is kept without thoughts and calls', [...thinking('h'), ...text('a'), toolCall('c', 'act'), { type: 'text_delta', delta: 'b' }], ['a', 'b']],
  ])('%s', (_what, parts, kept) => {
    const message = kept === undefined ? undefined : { role: 'assistant', content: kept.map((part) => ({ type: 'text', text: part })) }
    expect(answerOf(parts).partialMessage()).toEqual(message)
  })
})

describe('the id of a call', () => {
  const idsOf = (given: readonly string[], taken: readonly string[] = []) => {
    const answer = new Answer(taken)
    for (const id of given) answer.add(toolCall(id, 'act'))
    return answer.calls.map(({ id }) => id)
  }

  test.each<[string, readonly string[], readonly string[], readonly string[]]>([
    ['is taken over', ['toolu_01', 'call.2:x|y'], [], ['toolu_01', 'call.2:x|y']],
    ['is one of its own where an earlier call of the run has it', ['call_0', 'call_1'], ['call_0', 'call_0-2'], ['call_0-3', 'call_1']],
    ['is one of its own where another call of the answer has it', ['a', 'a', 'a-2', 'a'], [], ['a', 'a-2', 'a-2-2', 'a-3']],
    ['is made where there is none', ['', ''], [], ['call', 'call-2']],
    [
      'is made where none can be: in a path, as a key, at any length',
      ['.', '..', '__proto__', 'a b', 'ü', 'x'.repeat(201)],
      [],
      ['call', 'call-2', 'call-3', 'call-4', 'call-5', 'call-6'],
    ],
  ])('%s', (_what, given, taken, ids) => {
    expect(idsOf(given, taken)).toEqual(ids)
  })

  test('is the same in the message and in what is proposed', () => {
    const answer = new Answer(['a'])
    answer.add(toolCall('a', 'act'))
    expect(answer.message().content).toEqual(answer.calls)
  })
})
