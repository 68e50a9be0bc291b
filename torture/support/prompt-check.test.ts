import { describe, expect, test } from 'vitest'
import { judgePrompt, type PromptMessage } from './prompt-check.ts'

const USER: PromptMessage = { role: 'user', content: 'hello' }
const SYSTEM: PromptMessage = { role: 'system', content: 'you are' }
const says = (...ids: readonly string[]): PromptMessage => ({
  role: 'assistant',
  content: 'x',
  ...(ids.length === 0 ? {} : { tool_calls: ids.map((id) => ({ id, function: { name: 'pay', arguments: '{}' } })) }),
})
const result = (id: string, content = 'done'): PromptMessage => ({ role: 'tool', tool_call_id: id, content })

describe('a history', () => {
  test.each<[string, readonly PromptMessage[]]>([
    ['of one question', [SYSTEM, USER]],
    ['whose calls are answered, in any order', [SYSTEM, USER, says('a', 'b'), result('b'), result('a')]],
    ['with a steering message behind the answers', [USER, says('a'), result('a'), USER]],
    ['with two messages of the user', [USER, USER]],
    ['of two runs', [USER, says(), USER]],
  ])('%s is valid', (_, messages) => {
    expect(judgePrompt(messages)).toEqual([])
  })

  test.each<[string, readonly PromptMessage[], string]>([
    ['whose call has no answer', [USER, says('a', 'b'), result('a')], 'the call b has no answer'],
    ['whose call is answered too late', [USER, says('a'), USER, result('a')], 'message 3 of 4 (user) comes before the answer to the call a'],
    ['with an answer twice', [USER, says('a'), result('a'), result('a')], 'message 4 of 4 (tool) answers a, which has its answer'],
    ['with an answer to nothing', [USER, result('z')], 'message 2 of 2 (tool) answers z, which is no call of the message before'],
    ['with a result that was forgotten', [USER, says('a'), result('a', 'no result was recorded')], 'message 3 of 3 (tool): the result of a was forgotten'],
    ['that ends with the model', [USER, says()], "the last message is the assistant's"],
    ['with a system message in the middle', [USER, SYSTEM, USER], 'message 2 of 3 (system) is not the first'],
    ['with one id for two calls', [USER, says('a', 'a'), result('a')], 'message 2 of 3 (assistant) calls one id twice'],
    ['without messages', [], 'the last message is missing'],
  ])('%s is refused', (_, messages, complaint) => {
    expect(judgePrompt(messages)).toContain(complaint)
  })

  test('with arguments that are no object is refused', () => {
    const call = { role: 'assistant', tool_calls: [{ id: 'a', function: { name: 'pay', arguments: '{"ms"' } }] }
    expect(judgePrompt([USER, call, result('a')])).toEqual(['message 2 of 3 (assistant): the arguments of a are no object'])
  })
})
