import { describe, expect, test } from 'vitest'
import type { Message } from '../domain/message.ts'
import { sessionId } from '../domain/ids.ts'
import type { SessionReads } from '../projection/reads.ts'
import type { TranscriptMessage } from '../projection/transcript.ts'
import { systemClock } from '../system/clock.ts'
import { MESSAGE_CHARS, PROMPT_CHARS_MAX, PROMPT_MESSAGES_MAX, PromptMemory, REMEMBERED_CHARS_MAX, systemPrompt, withinBudget } from './prompt.ts'

const S1 = sessionId('s1')
const user = (content: string): Message => ({ role: 'user', content })
const assistant = (content: string): Message => ({ role: 'assistant', content: [{ type: 'text', text: content }] })
const tool = (content: string): Message => ({ role: 'tool', content: [{ type: 'tool_result', toolCallId: 'c', toolName: 'act', content, isError: false }] })

/** A transcript with a message at each position, and the questions that were asked of it. */
function transcript(length: number, content = (index: number) => `m${index + 1}`) {
  const messages = Array.from({ length }, (_, index): TranscriptMessage => ({ position: index + 1, atMs: 0, message: user(content(index)) }))
  const asked: string[] = []
  const reads = {
    async history(id, upTo, limit, after = 0) {
      asked.push(`${id} ${after}-${upTo}`)
      const found = messages.filter(({ position }) => position <= upTo && position > after)
      return found.slice(Math.max(0, found.length - limit))
    },
  } satisfies Pick<SessionReads, 'history'>
  const unused = () => Promise.reject(new Error('a prompt reads only the history'))
  const memory = new PromptMemory({ ...reads, session: unused, sessionAt: unused, sessions: unused, messages: unused, sessionIds: unused }, () =>
    systemClock.turn(),
  )
  return { memory, asked }
}

const texts = (messages: readonly Message[]) => messages.map(({ content }) => content)

describe('the memory of prompts', () => {
  test('reads a session that it does not know from its start, up to the run', async () => {
    const { memory, asked } = transcript(5)
    expect(texts(await memory.load(S1, 3))).toEqual(['m1', 'm2', 'm3'])
    expect(asked).toEqual(['s1 0-3'])
  })

  test('reads only what is new in a session that it knows', async () => {
    const { memory, asked } = transcript(6)
    const messages = await memory.load(S1, 2)
    messages.push(user('m3'))
    memory.keep(S1, 3, messages)
    expect(texts(await memory.load(S1, 5))).toEqual(['m1', 'm2', 'm3', 'm4', 'm5'])
    expect(asked).toEqual(['s1 0-2', 's1 3-5'])
  })

  test('hands a prompt out once: two runs never share one', async () => {
    const { memory, asked } = transcript(4)
    memory.keep(S1, 2, [user('m1'), user('m2')])
    const first = await memory.load(S1, 2)
    const second = await memory.load(S1, 2)
    expect(second).not.toBe(first)
    expect(texts(second)).toEqual(texts(first))
    expect(asked).toEqual(['s1 2-2', 's1 0-2'])
  })

  test('reads anew what it knows further than the run began', async () => {
    const { memory, asked } = transcript(6)
    memory.keep(S1, 5, [user('m1'), user('m2'), user('m3'), user('m4'), user('m5')])
    expect(texts(await memory.load(S1, 3))).toEqual(['m1', 'm2', 'm3'])
    expect(asked).toEqual(['s1 0-3'])
  })

  test('keeps sessions apart', async () => {
    const { memory, asked } = transcript(2)
    memory.keep(S1, 2, [user('other')])
    expect(texts(await memory.load(sessionId('s2'), 2))).toEqual(['m1', 'm2'])
    expect(asked).toEqual(['s2 0-2'])
  })

  test('reads a long session in pages from its end', async () => {
    const { memory, asked } = transcript(450)
    const messages = await memory.load(S1, 450)
    expect(texts(messages)).toEqual(Array.from({ length: 450 }, (_, index) => `m${index + 1}`))
    expect(asked).toEqual(['s1 0-450', 's1 0-250', 's1 0-50'])
  })

  test('reads no further back than any model could see', async () => {
    const { memory, asked } = transcript(1000, () => 'x'.repeat(PROMPT_CHARS_MAX / 300))
    expect(await memory.load(S1, 1000)).toHaveLength(400)
    expect(asked).toHaveLength(2)
  })

  test('holds no more than the newest messages of a long session', async () => {
    const { memory } = transcript(PROMPT_MESSAGES_MAX + 3)
    const messages = await memory.load(S1, PROMPT_MESSAGES_MAX + 3)
    expect(messages).toHaveLength(PROMPT_MESSAGES_MAX)
    expect(messages[0]?.content).toBe('m4')
  })
})

describe('the bound of the memory', () => {
  const half = () => [user('x'.repeat(REMEMBERED_CHARS_MAX / 2 - MESSAGE_CHARS))]
  const isKnown = async ({ memory, asked }: ReturnType<typeof transcript>, name: string) => {
    await memory.load(sessionId(name), 1)
    return asked.at(-1) === `${name} 1-1`
  }

  test('many short messages count for what they cost, not for their text alone', async () => {
    const kit = transcript(1)
    const short = () => Array.from({ length: REMEMBERED_CHARS_MAX / MESSAGE_CHARS / 2 }, () => user('x'))
    kit.memory.keep(sessionId('a'), 1, short())
    kit.memory.keep(sessionId('b'), 1, short())
    expect([await isKnown(kit, 'a'), await isKnown(kit, 'b')]).toEqual([false, true])
  })

  test('what fits exactly is kept', async () => {
    const kit = transcript(1)
    kit.memory.keep(sessionId('a'), 1, half())
    kit.memory.keep(sessionId('b'), 1, half())
    expect([await isKnown(kit, 'a'), await isKnown(kit, 'b')]).toEqual([true, true])
  })

  test('one character more drops the session that was kept first', async () => {
    const kit = transcript(1)
    kit.memory.keep(sessionId('a'), 1, half())
    kit.memory.keep(sessionId('b'), 1, half())
    kit.memory.keep(sessionId('c'), 1, [user('x')])
    expect([await isKnown(kit, 'a'), await isKnown(kit, 'b'), await isKnown(kit, 'c')]).toEqual([false, true, true])
  })

  test('a session that is kept again is the newest, and counts once', async () => {
    const kit = transcript(1)
    kit.memory.keep(sessionId('a'), 1, half())
    kit.memory.keep(sessionId('b'), 1, half())
    kit.memory.keep(sessionId('a'), 1, half())
    kit.memory.keep(sessionId('c'), 1, [user('x')])
    expect([await isKnown(kit, 'a'), await isKnown(kit, 'b')]).toEqual([true, false])
  })

  test('a session that alone is too large is not kept and drops nobody', async () => {
    const kit = transcript(1)
    kit.memory.keep(sessionId('a'), 1, [user('x')])
    kit.memory.keep(sessionId('b'), 1, [user('x'.repeat(REMEMBERED_CHARS_MAX + 1))])
    expect([await isKnown(kit, 'a'), await isKnown(kit, 'b')]).toEqual([true, false])
  })

  test('a prompt that was handed out makes room', async () => {
    const kit = transcript(1)
    kit.memory.keep(sessionId('a'), 1, half())
    await kit.memory.load(sessionId('a'), 1)
    kit.memory.keep(sessionId('b'), 1, half())
    kit.memory.keep(sessionId('c'), 1, half())
    expect([await isKnown(kit, 'b'), await isKnown(kit, 'c')]).toEqual([true, true])
  })
})

describe('the part of a history that a model is shown', () => {
  // 0.7 of the context, at 3.5 characters per token: 100 tokens take 245 characters.
  const TOKENS = 100
  const chars = (count: number) => 'x'.repeat(count)

  test.each<[string, readonly Message[], number]>([
    ['all of it, where it fits exactly', [user(chars(200)), assistant(''), user(chars(13))], 0],
    ['from a user’s message on, where it does not', [user(chars(200)), assistant(''), user(chars(14)), assistant('')], 2],
    ['no tool result without its call', [user(chars(240)), assistant('call'), tool('result'), user('b')], 3],
    ['at least from the last user’s message on, however long it is', [user('a'), user(chars(500)), assistant('b'), tool('c')], 1],
    ['all of a history without a user', [assistant(chars(300)), assistant(chars(300))], 0],
    ['nothing of nothing', [], 0],
  ])('%s', (_what, messages, from) => {
    expect(withinBudget(messages, TOKENS)).toEqual(messages.slice(from))
  })
})

describe('the system prompt', () => {
  test('is ours, unless the run has its own', () => {
    expect(systemPrompt({})).toMatch(/^You are a helpful agent\./)
    expect(systemPrompt({ systemPrompt: 'Be terse.' })).toBe('Be terse.')
    expect(systemPrompt({ systemPrompt: '' })).toBe('')
  })

  test('holds the context that the sender handed over, by priority, then in its order', () => {
    const item = (name: string, priority: 'high' | 'normal' | 'low') => ({ name, content: `about ${name}`, priority })
    const context = [item('low', 'low'), item('n1', 'normal'), item('high', 'high'), item('n2', 'normal')]
    const prompt = systemPrompt({ systemPrompt: 'S', context })
    expect(prompt.match(/<context name="[^"]+">/g)).toEqual(['<context name="high">', '<context name="n1">', '<context name="n2">', '<context name="low">'])
    expect(prompt).toContain('S\n\n<context name="high">\nabout high\n</context>\n\n')
  })

  test('a name cannot break out of its place', () => {
    expect(systemPrompt({ systemPrompt: '', context: [{ name: 'a"> b', content: 'c', priority: 'normal' }] })).toContain('<context name="a\\"> b">')
  })
})
