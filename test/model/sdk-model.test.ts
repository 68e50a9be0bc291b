/** What a provider streams, through its real package, in our words. */
import type { LanguageModelV4, LanguageModelV4StreamPart } from '@ai-sdk/provider'
import { expect, onTestFinished, test } from 'vitest'
import { gather, say, startFakeProvider, stream, type FakeReply } from '../support/fake-provider.ts'
import { eventsOf, type FakeAnswer, type FakeWire } from '../support/fake-wire.ts'
import type { ModelInfo, ModelPart, ModelRequest } from '../../src/domain/model.ts'
import { loadProvider } from '../../src/model/provider.ts'
import { sdkModel } from '../../src/model/sdk-model.ts'

const WIRES = ['openai', 'openai-compatible', 'anthropic', 'google'] as const
const REQUEST: Omit<ModelRequest, 'signal'> = { system: '', messages: [{ role: 'user', content: 'hello' }], tools: [] }

async function partsOf(wire: FakeWire, reply: FakeReply, info?: ModelInfo): Promise<readonly ModelPart[]> {
  const fake = await startFakeProvider()
  onTestFinished(() => fake.close())
  fake.script(reply)
  const maker = await loadProvider('p', { kind: wire, baseURL: fake.url, apiKey: 'key' })
  const model = sdkModel('p/m', maker('m'), { info, nowMs: () => 0 })
  return gather(model.stream({ ...REQUEST, signal: new AbortController().signal }))
}

const answerOf = (wire: FakeWire, answer: FakeAnswer) => partsOf(wire, say(wire, answer))

const USAGE = { input: 100, cached: 40, output: 20, reasoning: 5 }

test.each(WIRES)('%s: text comes piece by piece, then its end, then the finish', async (wire) => {
  const parts = await answerOf(wire, { blocks: [{ text: ['Hel', 'lo, ', 'wörld 🌍'] }], usage: USAGE })
  expect(parts.slice(0, -1)).toEqual([
    { type: 'text_delta', delta: 'Hel' },
    { type: 'text_delta', delta: 'lo, ' },
    { type: 'text_delta', delta: 'wörld 🌍' },
    { type: 'text_end' },
  ])
  expect(parts.at(-1)).toMatchObject({ type: 'finish', reason: 'stop' })
})

test.each(WIRES)('%s: thinking comes before the text, as a block of its own', async (wire) => {
  const parts = await answerOf(wire, { blocks: [{ thinking: ['Let me', ' see.'] }, { text: ['Yes'] }] })
  expect(parts.map((part) => part.type)).toEqual(['thinking_delta', 'thinking_delta', 'thinking_end', 'text_delta', 'text_end', 'finish'])
  expect(parts.slice(0, 2)).toEqual([
    { type: 'thinking_delta', delta: 'Let me' },
    { type: 'thinking_delta', delta: ' see.' },
  ])
})

test.each([
  ['openai', { openai: { itemId: 'sig-1', reasoningEncryptedContent: null } }],
  ['anthropic', { anthropic: { signature: 'sig-1' } }],
  ['google', { google: { thoughtSignature: 'sig-1' } }],
] as const)('%s: what must be handed back with a thought comes with its end', async (wire, metadata) => {
  const parts = await answerOf(wire, { blocks: [{ thinking: ['Hm', ', well'], signature: 'sig-1' }, { text: ['Yes'] }] })
  expect(parts.slice(0, 3)).toEqual([
    { type: 'thinking_delta', delta: 'Hm' },
    { type: 'thinking_delta', delta: ', well' },
    { type: 'thinking_end', metadata },
  ])
})

test('the signatures of two thoughts in one answer are not mixed up', async () => {
  const blocks = [{ thinking: ['one'], signature: 'sig-1' }, { text: ['between'] }, { thinking: ['two'], signature: 'sig-2' }, { text: ['end'] }]
  const parts = await answerOf('anthropic', { blocks })
  expect(parts.filter((part) => part.type === 'thinking_end')).toEqual([
    { type: 'thinking_end', metadata: { anthropic: { signature: 'sig-1' } } },
    { type: 'thinking_end', metadata: { anthropic: { signature: 'sig-2' } } },
  ])
})

test('a thought that the provider keeps secret comes as an end with its data and without text', async () => {
  const parts = await answerOf('anthropic', { blocks: [{ redacted: 'ENCRYPTED' }, { text: ['Yes'] }] })
  expect(parts[0]).toEqual({ type: 'thinking_end', metadata: { anthropic: { redactedData: 'ENCRYPTED' } } })
})

const CALL = { call: 'call_1', name: 'bash', input: ['{"comm', 'and":"ls -', 'la"}'] }

test.each(WIRES)('%s: a call comes once, with its arguments parsed', async (wire) => {
  const parts = await answerOf(wire, { blocks: [{ text: ['I look.'] }, CALL] })
  expect(parts.filter((part) => part.type === 'tool_call')).toEqual([
    expect.objectContaining({ type: 'tool_call', id: 'call_1', name: 'bash', arguments: { command: 'ls -la' } }),
  ])
  expect(parts.find((part) => part.type === 'tool_call')).not.toHaveProperty('invalid')
  expect(parts.at(-1)).toMatchObject({ type: 'finish', reason: 'tool_calls' })
})

test.each([
  ['openai', { openai: { itemId: 'fc_0' } }],
  ['google', { google: { thoughtSignature: 'sig-9' } }],
] as const)('%s: what must be handed back with a call comes with it', async (wire, metadata) => {
  const parts = await answerOf(wire, { blocks: [{ ...CALL, signature: 'sig-9' }] })
  expect(parts[0]).toEqual({ type: 'tool_call', id: 'call_1', name: 'bash', arguments: { command: 'ls -la' }, metadata })
})

test.each(WIRES)('%s: two calls of one answer come in order, each with its own arguments', async (wire) => {
  const second = { call: 'call_2', name: 'read', input: ['{"path":', '"a.txt"}'] }
  const parts = await answerOf(wire, { blocks: [CALL, second] })
  expect(parts.flatMap((part) => (part.type === 'tool_call' ? [[part.id, part.name, part.arguments]] : []))).toEqual([
    ['call_1', 'bash', { command: 'ls -la' }],
    ['call_2', 'read', { path: 'a.txt' }],
  ])
})

test.each(['openai', 'anthropic', 'google'] as const)('%s: two calls with one id get two', async (wire) => {
  const parts = await answerOf(wire, { blocks: [CALL, { ...CALL, input: ['{"command":"pwd"}'] }, { ...CALL, input: ['{"command":"id"}'] }] })
  const calls = parts.flatMap((part) => (part.type === 'tool_call' ? [[part.id, part.arguments]] : []))
  expect(calls).toEqual([
    ['call_1', { command: 'ls -la' }],
    ['call_1-2', { command: 'pwd' }],
    ['call_1-3', { command: 'id' }],
  ])
})

test.each(['openai', 'openai-compatible', 'anthropic'] as const)('%s: arguments that are not JSON come as they are, with the reason', async (wire) => {
  const parts = await answerOf(wire, { blocks: [{ ...CALL, input: ['{"command": "ls', ' -la'] }] })
  const call = parts.find((part) => part.type === 'tool_call')
  expect(call).toMatchObject({ id: 'call_1', name: 'bash', arguments: '{"command": "ls -la' })
  expect(call?.invalid).toMatch(/JSON/)
  expect(parts.at(-1)).toMatchObject({ type: 'finish', reason: 'tool_calls' })
})

test.each(WIRES)('%s: a call without arguments has an empty object', async (wire) => {
  const parts = await answerOf(wire, { blocks: [{ ...CALL, input: wire === 'google' ? ['{}'] : [] }] })
  expect(parts.find((part) => part.type === 'tool_call')).toMatchObject({ id: 'call_1', arguments: {} })
})

test('a call that the provider runs itself is not ours to run', async () => {
  const search = { type: 'server_tool_use', id: 'srv_1', name: 'web_search', input: {} }
  const [start, ping, ...rest] = eventsOf('anthropic', { blocks: [] })
  const block = [
    { type: 'content_block_start', index: 0, content_block: search },
    { type: 'content_block_stop', index: 0 },
  ]
  const parts = await partsOf('anthropic', stream([start!, ping!, ...block, ...rest]))
  expect(parts.map((part) => part.type)).toEqual(['finish'])
})

test.each([
  ['openai', { cachedInputTokens: 40, reasoningTokens: 5 }],
  ['openai-compatible', { cachedInputTokens: 40, reasoningTokens: 5 }],
  ['anthropic', { cachedInputTokens: 40, cacheWriteTokens: 0 }],
  ['google', { cachedInputTokens: 40, reasoningTokens: 5 }],
] as const)('%s: usage counts cached input in the input and thinking in the output', async (wire, details) => {
  const parts = await answerOf(wire, { blocks: [{ text: ['Yes'] }], usage: USAGE })
  expect(parts.at(-1)).toEqual({ type: 'finish', reason: 'stop', usage: { inputTokens: 100, outputTokens: 20, totalTokens: 120, ...details } })
})

test('the cost is the usage by the catalogue prices, per million tokens', async () => {
  const info = { id: 'm', name: 'M', provider: 'p', reasoning: false, cost: { input: 3, output: 15 }, limit: { context: 1000, output: 100 } }
  const parts = await partsOf('openai', say('openai', { blocks: [{ text: ['Yes'] }], usage: USAGE }), info)
  expect(parts.at(-1)).toMatchObject({ usage: { cost: (100 * 3 + 20 * 15) / 1_000_000 } })
})

test('without prices there is no cost', async () => {
  const info = { id: 'm', name: 'M', provider: 'p', reasoning: false, limit: { context: 1000, output: 100 } }
  const parts = await partsOf('openai', say('openai', { blocks: [{ text: ['Yes'] }], usage: USAGE }), info)
  expect((parts.at(-1) as Extract<ModelPart, { type: 'finish' }>).usage).not.toHaveProperty('cost')
})

test('a provider that counts nothing used nothing', async () => {
  const events = eventsOf('openai-compatible', { blocks: [{ text: ['Yes'] }] }).slice(0, -1)
  const parts = await partsOf('openai-compatible', stream([...events, '[DONE]']))
  expect(parts.at(-1)).toEqual({ type: 'finish', reason: 'stop', usage: { inputTokens: 0, outputTokens: 0, totalTokens: 0 } })
})

test.each(
  WIRES.flatMap((wire) => [
    { wire, stop: 'end', reason: 'stop' } as const,
    { wire, stop: 'length', reason: 'max_output_tokens' } as const,
    { wire, stop: 'refused', reason: 'refused' } as const,
  ]),
)('$wire: an answer that ends by "$stop" finishes as $reason', async ({ wire, stop, reason }) => {
  const parts = await answerOf(wire, { blocks: [{ text: ['So'] }], stop })
  expect(parts.filter((part) => part.type === 'finish')).toEqual([expect.objectContaining({ reason })])
  expect(parts.at(-1)).toMatchObject({ type: 'finish', reason })
})

test('two calls of one model do not share what they know of ids', async () => {
  const fake = await startFakeProvider()
  onTestFinished(() => fake.close())
  fake.script(say('anthropic', { blocks: [CALL] }), say('anthropic', { blocks: [CALL] }))
  const maker = await loadProvider('p', { kind: 'anthropic', baseURL: fake.url, apiKey: 'key' })
  const model = sdkModel('p/m', maker('m'), { info: undefined, nowMs: () => 0 })
  expect(model.id).toBe('p/m')
  for (const _round of [1, 2]) {
    const parts = await gather(model.stream({ ...REQUEST, signal: new AbortController().signal }))
    expect(parts.find((part) => part.type === 'tool_call')?.id).toBe('call_1')
  }
})

/** A package of nobody: what the port allows, though none of the four does it. */
function packageThat(...parts: readonly LanguageModelV4StreamPart[]): LanguageModelV4 {
  return {
    specificationVersion: 'v4',
    provider: 'p',
    modelId: 'm',
    supportedUrls: {},
    doGenerate: () => Promise.reject(new Error('never called')),
    doStream: async () => ({ stream: new Blob([]).stream().pipeThrough(new TransformStream({ flush: (out) => parts.forEach((part) => out.enqueue(part)) })) }),
  }
}

const FINISH: LanguageModelV4StreamPart = {
  type: 'finish',
  finishReason: { unified: 'other', raw: undefined },
  usage: {
    inputTokens: { total: undefined, noCache: undefined, cacheRead: undefined, cacheWrite: 7 },
    outputTokens: { total: 3, text: undefined, reasoning: undefined },
  },
}
const heard = (sdk: LanguageModelV4) =>
  gather(sdkModel('p/m', sdk, { info: undefined, nowMs: () => 0 }).stream({ ...REQUEST, signal: new AbortController().signal }))

test('a thought that takes the id of an earlier one does not take what belongs to that one', async () => {
  const thought = (metadata: object): readonly LanguageModelV4StreamPart[] => [
    { type: 'reasoning-start', id: '0', ...metadata },
    { type: 'reasoning-delta', id: '0', delta: 'x' },
    { type: 'reasoning-end', id: '0' },
  ]
  const parts = await heard(packageThat(...thought({ providerMetadata: { p: { signature: 's' } } }), ...thought({}), FINISH))
  expect(parts.filter(({ type }) => type === 'thinking_end')).toEqual([{ type: 'thinking_end', metadata: { p: { signature: 's' } } }, { type: 'thinking_end' }])
})

test('what must be handed back may come with any part of a thought, and all of it is kept', async () => {
  const parts = await heard(
    packageThat(
      { type: 'reasoning-start', id: '0', providerMetadata: { p: { a: 1 } } },
      { type: 'reasoning-delta', id: '0', delta: 'x', providerMetadata: { p: { b: 2 }, q: { c: 3 } } },
      { type: 'reasoning-end', id: '0', providerMetadata: { p: { a: 4 } } },
      FINISH,
    ),
  )
  expect(parts[1]).toEqual({ type: 'thinking_end', metadata: { p: { a: 4, b: 2 }, q: { c: 3 } } })
})

test('a call without any input has no arguments, and usage without totals counts nothing', async () => {
  const parts = await heard(packageThat({ type: 'tool-call', toolCallId: 'c', toolName: 'bash', input: ' ' }, FINISH))
  expect(parts).toEqual([
    { type: 'tool_call', id: 'c', name: 'bash', arguments: {} },
    { type: 'finish', reason: 'stop', usage: { inputTokens: 0, outputTokens: 3, totalTokens: 3, cacheWriteTokens: 7 } },
  ])
})

test('a package that never finishes has not answered', async () => {
  await expect(heard(packageThat({ type: 'text-delta', id: '0', delta: 'x' }))).rejects.toMatchObject({ code: 'model_protocol' })
})
