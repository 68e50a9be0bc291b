/** The demo model: the same answer to the same request, tools when they are asked for, at its pace. */
import { expect, test } from 'vitest'
import type { Message, Part } from '../domain/message.ts'
import type { Model, ModelPart, ModelRequest } from '../domain/model.ts'
import { manualClock } from '../testing/manual-clock.ts'
import { demoModel } from './demo.ts'

async function gather(stream: AsyncIterable<ModelPart>): Promise<readonly ModelPart[]> {
  const parts: ModelPart[] = []
  for await (const part of stream) parts.push(part)
  return parts
}

const TOOLS = ['bash', 'read', 'write', 'edit', 'todo'].map((name) => ({ name, description: name, inputSchema: {} }))
const model = demoModel(manualClock(), 0)
const user = (content: string): Message => ({ role: 'user', content })

function request(messages: readonly Message[], more: Partial<ModelRequest> = {}): ModelRequest {
  return { system: '', messages, tools: TOOLS, signal: new AbortController().signal, ...more }
}

const ask = (text: string, more: Partial<ModelRequest> = {}) => gather(model.stream(request([user(text)], more)))

function textOf(parts: readonly ModelPart[], type: 'text_delta' | 'thinking_delta' = 'text_delta'): string {
  return parts.flatMap((part) => (part.type === type ? [part.delta] : [])).join('')
}

const callsOf = (parts: readonly ModelPart[]) => parts.filter((part) => part.type === 'tool_call')

/** The messages that a call adds to a history: what was said and asked for, and the answers. */
function turn(parts: readonly ModelPart[], answers: readonly string[], isError = false): readonly Message[] {
  const calls = callsOf(parts)
  const said: Part[] = [{ type: 'text', text: textOf(parts) }, ...calls]
  const results = calls.map((call, index): Part => ({ type: 'tool_result', toolCallId: call.id, toolName: call.name, content: answers[index] ?? '', isError }))
  return [
    { role: 'assistant', content: said },
    { role: 'tool', content: results },
  ]
}

test('it thinks aloud, then echoes, then finishes', async () => {
  const parts = await ask('What is up?')
  expect(textOf(parts, 'thinking_delta')).toBe('There is no request for a tool in this message, so I echo it.')
  expect(textOf(parts)).toBe('This is the demo model of Convoke, not a real one. You said: What is up?')
  expect(parts.map(({ type }) => type).filter((type, index, all) => type !== all[index - 1])).toEqual([
    'thinking_delta',
    'thinking_end',
    'text_delta',
    'text_end',
    'finish',
  ])
  expect(parts.at(-1)).toEqual({ type: 'finish', reason: 'stop', usage: { inputTokens: 3, outputTokens: 14 + 16, totalTokens: 33 } })
})

test.each(['What is up?', 'run ls', 'count to 20', '', 'read a and read b then run ls'])('the answer to "%s" is the same each time', async (text) => {
  expect(await ask(text)).toEqual(await ask(text))
})

test('its text comes word by word, and nothing of it is lost', async () => {
  const text = 'spaces   and\ttabs\nand lines, ünïcode 🌍  '
  const parts = await ask(text)
  expect(textOf(parts)).toBe(`This is the demo model of Convoke, not a real one. You said: ${text}`)
  expect(parts.filter(({ type }) => type === 'text_delta').length).toBeGreaterThan(15)
})

test('it counts as far as it is asked to', async () => {
  expect(textOf(await ask('count to 5'))).toBe('1 2 3 4 5')
  const parts = await ask('Count to 3000')
  expect(parts.filter(({ type }) => type === 'text_delta')).toHaveLength(3000)
})

test.each([
  ['run ls -la', 'bash', { command: 'ls -la' }],
  ['write notes.txt: hello there', 'write', { path: 'notes.txt', content: 'hello there\n' }],
  ['read notes.txt', 'read', { path: 'notes.txt' }],
  ['edit notes.txt: hello => bye', 'edit', { path: 'notes.txt', old_text: 'hello', new_text: 'bye' }],
  ['todo: sleep', 'todo', { todos: [{ text: 'sleep', status: 'pending' }] }],
])('on "%s" it calls the tool, after its words', async (text, name, args) => {
  const parts = await ask(text)
  expect(parts.slice(-2)).toEqual([
    { type: 'tool_call', id: 'demo_1_1', name, arguments: args },
    expect.objectContaining({ type: 'finish', reason: 'tool_calls' }),
  ])
  expect(textOf(parts)).toBe(`I will use ${name}.`)
})

test('without the tool it only echoes', async () => {
  const parts = await ask('run ls', { tools: [] })
  expect(callsOf(parts)).toEqual([])
  expect(textOf(parts)).toMatch(/You said: run ls$/)
})

test('requests joined by "and" come in one turn, those joined by "then" one after the other, then it sums up', async () => {
  const messages: Message[] = [user('read a.txt and read b.txt then run ls')]
  const first = await gather(model.stream(request(messages)))
  expect(callsOf(first).map(({ arguments: args }) => args)).toEqual([{ path: 'a.txt' }, { path: 'b.txt' }])
  messages.push(...turn(first, ['1\tA', '1\tB']))
  const second = await gather(model.stream(request(messages)))
  expect(callsOf(second).map(({ arguments: args }) => args)).toEqual([{ command: 'ls' }])
  messages.push(...turn(second, ['a.txt\nb.txt\n3\n4\n5\n6']))
  const last = await gather(model.stream(request(messages)))
  expect(callsOf(last)).toEqual([])
  expect(textOf(last)).toBe('Done. read answered:\n1\tA\n\nread answered:\n1\tB\n\nbash answered:\na.txt\nb.txt\n3\n4\n5')
  expect(last.at(-1)).toMatchObject({ reason: 'stop' })
  const ids = [...callsOf(first), ...callsOf(second)].map(({ id }) => id)
  expect(new Set(ids).size).toBe(3)
})

test('a tool that failed is told as such', async () => {
  const messages: Message[] = [user('run nonsense')]
  messages.push(...turn(await gather(model.stream(request(messages))), ['[exit code 127]'], true))
  expect(textOf(await gather(model.stream(request(messages))))).toBe('Done. bash did not work:\n[exit code 127]')
})

test('a new message begins anew, with ids that were not given before', async () => {
  const messages: Message[] = [user('run ls')]
  const first = await gather(model.stream(request(messages)))
  messages.push(...turn(first, ['a']), { role: 'assistant', content: 'Done.' }, user('run pwd'))
  const second = await gather(model.stream(request(messages)))
  expect(callsOf(second)).toMatchObject([{ arguments: { command: 'pwd' } }])
  expect(callsOf(second)[0]?.id).not.toBe(callsOf(first)[0]?.id)
})

test('a history without a question is echoed as empty', async () => {
  expect(textOf(await gather(model.stream(request([]))))).toBe('This is the demo model of Convoke, not a real one. You said: ')
})

test('usage counts the words of the history and of the answer', async () => {
  const messages = [user('one two three'), { role: 'assistant', content: 'four five' } as const, user('count to 4')]
  const parts = await gather(model.stream(request(messages)))
  expect(parts.at(-1)).toMatchObject({ usage: { inputTokens: 8, outputTokens: 6, totalTokens: 14 } })
})

/** Reads one part while the clock stands still but for what the test advances. */
async function pacedBy(paced: Model, signal: AbortSignal) {
  return paced.stream(request([user('count to 3')], { signal }))[Symbol.asyncIterator]()
}

test('between two words it waits for the clock', async () => {
  const clock = manualClock()
  const parts = await pacedBy(demoModel(clock, 30), new AbortController().signal)
  const words: string[] = []
  for (let word = 0; word < 2 + 3; word++) {
    let arrived = false
    const next = parts.next().then((part) => ((arrived = true), part))
    await expect.poll(() => clock.pending, { interval: 1, timeout: 10_000 }).toBe(1)
    clock.advance(29)
    await Promise.resolve()
    expect(arrived).toBe(false)
    clock.advance(1)
    const { value } = await next
    if (value.type === 'text_delta' || value.type === 'thinking_delta') words.push(value.delta)
    if (word === 1) expect((await parts.next()).value).toEqual({ type: 'thinking_end' })
  }
  expect(words).toEqual(['I', ' count.', '1', ' 2', ' 3'])
  expect(clock.nowMs() - manualClock().nowMs()).toBe(150)
})

test('an abort while it waits throws the reason and leaves no timer', async () => {
  const clock = manualClock()
  const stop = new AbortController()
  const parts = await pacedBy(demoModel(clock, 30), stop.signal)
  const next = parts.next()
  await expect.poll(() => clock.pending, { interval: 1, timeout: 10_000 }).toBe(1)
  const reason = new Error('stop')
  stop.abort(reason)
  await expect(next).rejects.toBe(reason)
  expect(clock.pending).toBe(0)
})

test('an abort between two words throws the reason, also without a pace', async () => {
  const stop = new AbortController()
  const parts = model.stream(request([user('hello')], { signal: stop.signal }))[Symbol.asyncIterator]()
  await parts.next()
  stop.abort(new Error('stop'))
  await expect(parts.next()).rejects.toThrow('stop')
})
