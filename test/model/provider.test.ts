/** What a provider is sent: address, key, history and tools, in its own words. */
import { afterEach, beforeEach, expect, test } from 'vitest'
import { gather, say, startFakeProvider, type FakeProvider, type FakeRequest } from '../support/fake-provider.ts'
import type { FakeWire } from '../support/fake-wire.ts'
import type { Message, Part } from '../../src/domain/message.ts'
import type { ModelPart, ModelRequest } from '../../src/domain/model.ts'
import { loadProvider } from '../../src/model/provider.ts'
import { sdkModel } from '../../src/model/sdk-model.ts'

const WIRES = ['openai', 'openai-compatible', 'anthropic', 'google'] as const
const BASH = {
  name: 'bash',
  description: 'Runs a command',
  inputSchema: { type: 'object', properties: { command: { type: 'string' } }, required: ['command'] },
}

let fake: FakeProvider
beforeEach(async () => {
  fake = await startFakeProvider()
})
afterEach(() => fake.close())

async function sent(wire: FakeWire, request: Partial<ModelRequest>): Promise<FakeRequest> {
  fake.script(say(wire, { blocks: [{ text: ['ok'] }] }))
  await ask(wire, request)
  return fake.requests.at(-1) as FakeRequest
}

async function ask(wire: FakeWire, request: Partial<ModelRequest>): Promise<readonly ModelPart[]> {
  const maker = await loadProvider('corp', { kind: wire, baseURL: `${fake.url}/base`, apiKey: 'sk-1' })
  const model = sdkModel('corp/some-model', maker('some-model'), { info: undefined, nowMs: () => 0 })
  return gather(model.stream({ system: '', messages: [{ role: 'user', content: 'hi' }], tools: [], signal: new AbortController().signal, ...request }))
}

test.each([
  ['openai', '/base/responses', 'authorization', 'Bearer sk-1'],
  ['openai-compatible', '/base/chat/completions', 'authorization', 'Bearer sk-1'],
  ['anthropic', '/base/messages', 'x-api-key', 'sk-1'],
  ['google', '/base/models/some-model:streamGenerateContent?alt=sse', 'x-goog-api-key', 'sk-1'],
] as const)('%s: the call goes to the configured address with the key in its header only', async (wire, path, header, value) => {
  const request = await sent(wire, {})
  expect(request).toMatchObject({ method: 'POST', path, headers: { [header]: value } })
  expect(request.path).not.toContain('sk-1')
  expect(JSON.stringify(request.json)).not.toContain('sk-1')
  if (wire !== 'google') expect(request.json).toMatchObject({ model: 'some-model', stream: true })
})

test('a compatible server without a key is asked without one', async () => {
  fake.script(say('openai-compatible', { blocks: [{ text: ['ok'] }] }))
  const maker = await loadProvider('local', { kind: 'openai-compatible', baseURL: fake.url })
  const model = sdkModel('local/m', maker('m'), { info: undefined, nowMs: () => 0 })
  await gather(model.stream({ system: '', messages: [{ role: 'user', content: 'hi' }], tools: [], signal: new AbortController().signal }))
  expect(fake.requests[0]?.headers).not.toHaveProperty('authorization')
  expect(fake.requests[0]?.json).toMatchObject({ stream_options: { include_usage: true } })
})

test.each([
  ['openai', { tools: [{ type: 'function', name: 'bash', description: 'Runs a command', parameters: BASH.inputSchema }], tool_choice: 'auto' }],
  ['openai-compatible', { tools: [{ function: { name: 'bash', description: 'Runs a command', parameters: BASH.inputSchema } }], tool_choice: 'auto' }],
  ['anthropic', { tools: [{ name: 'bash', description: 'Runs a command', input_schema: BASH.inputSchema }], tool_choice: { type: 'auto' } }],
  ['google', { tools: [{ functionDeclarations: [{ name: 'bash', description: 'Runs a command' }] }], toolConfig: { functionCallingConfig: { mode: 'AUTO' } } }],
] as const)('%s: tools are told with their schema, and their use is left to the model', async (wire, expected) => {
  expect((await sent(wire, { tools: [BASH] })).json).toMatchObject(expected)
})

test.each(WIRES)('%s: without tools none is mentioned', async (wire) => {
  const { json } = await sent(wire, {})
  for (const key of ['tools', 'tool_choice', 'toolConfig']) expect(json).not.toHaveProperty(key)
})

test.each([
  ['openai', { max_output_tokens: 321 }],
  ['openai-compatible', { max_tokens: 321 }],
  ['anthropic', { max_tokens: 321 }],
  ['google', { generationConfig: { maxOutputTokens: 321 } }],
] as const)('%s: the bound of the answer is told', async (wire, expected) => {
  expect((await sent(wire, { maxOutputTokens: 321 })).json).toMatchObject(expected)
})

test.each([
  ['openai', { input: [{ role: 'system', content: 'Be brief.' }, { role: 'user' }] }],
  ['openai-compatible', { messages: [{ role: 'system', content: 'Be brief.' }, { role: 'user' }] }],
  ['anthropic', { system: [{ type: 'text', text: 'Be brief.' }], messages: [{ role: 'user' }] }],
  ['google', { systemInstruction: { parts: [{ text: 'Be brief.' }] }, contents: [{ role: 'user' }] }],
] as const)('%s: the system text goes where it belongs', async (wire, expected) => {
  expect((await sent(wire, { system: 'Be brief.' })).json).toMatchObject(expected)
})

/** A first answer that thought and called, gathered as the agent gathers it, and the result of its call. */
async function history(wire: FakeWire): Promise<readonly Message[]> {
  fake.script(
    say(wire, {
      blocks: [
        { thinking: ['I must', ' look.'], signature: 'SIGNED' },
        { text: ['I look.'] },
        { call: 'call_1', name: 'bash', input: ['{"command":"ls"}'], signature: 'SIGNED-CALL' },
      ],
    }),
  )
  const content: Part[] = []
  for (const part of await ask(wire, { tools: [BASH] })) {
    if (part.type === 'thinking_end')
      content.push({ type: 'thinking', text: 'I must look.', ...(part.metadata === undefined ? {} : { metadata: part.metadata }) })
    if (part.type === 'text_end') content.push({ type: 'text', text: 'I look.' })
    if (part.type === 'tool_call') content.push(part)
  }
  const answer: Part = { type: 'tool_result', toolCallId: 'call_1', toolName: 'bash', content: 'a.txt', isError: false }
  return [
    { role: 'user', content: 'what is there?' },
    { role: 'assistant', content },
    { role: 'tool', content: [answer] },
  ]
}

test('anthropic: the next call hands back the thought with its signature, the call and the result', async () => {
  const { json } = await sent('anthropic', { messages: await history('anthropic'), tools: [BASH] })
  expect(json.messages).toMatchObject([
    { role: 'user', content: [{ type: 'text', text: 'what is there?' }] },
    {
      role: 'assistant',
      content: [
        { type: 'thinking', thinking: 'I must look.', signature: 'SIGNED' },
        { type: 'text', text: 'I look.' },
        { type: 'tool_use', id: 'call_1', name: 'bash', input: { command: 'ls' } },
      ],
    },
    { role: 'user', content: [{ type: 'tool_result', tool_use_id: 'call_1', content: 'a.txt' }] },
  ])
})

test('openai: the next call refers to the thought that the provider keeps, and repeats the call', async () => {
  const { json } = await sent('openai', { messages: await history('openai'), tools: [BASH] })
  expect(json.input).toMatchObject([
    { role: 'user', content: [{ type: 'input_text', text: 'what is there?' }] },
    { type: 'item_reference', id: 'SIGNED' },
    { role: 'assistant', content: 'I look.' },
    { type: 'function_call', call_id: 'call_1', name: 'bash', arguments: '{"command":"ls"}' },
    { type: 'function_call_output', call_id: 'call_1', output: 'a.txt' },
  ])
})

test('google: the next call hands back the signatures of the thought and of the call', async () => {
  const { json } = await sent('google', { messages: await history('google'), tools: [BASH] })
  expect(json.contents).toMatchObject([
    { role: 'user', parts: [{ text: 'what is there?' }] },
    {
      role: 'model',
      parts: [
        { text: 'I must look.', thought: true, thoughtSignature: 'SIGNED' },
        { text: 'I look.' },
        { functionCall: { name: 'bash', args: { command: 'ls' } }, thoughtSignature: 'SIGNED-CALL' },
      ],
    },
    { role: 'user', parts: [{ functionResponse: { name: 'bash', response: { content: 'a.txt' } } }] },
  ])
})

test('openai-compatible: the next call hands back the call and its result', async () => {
  const { json } = await sent('openai-compatible', { messages: await history('openai-compatible'), tools: [BASH] })
  expect(json.messages).toMatchObject([
    { role: 'user', content: 'what is there?' },
    { role: 'assistant', content: 'I look.', tool_calls: [{ id: 'call_1', function: { name: 'bash', arguments: '{"command":"ls"}' } }] },
    { role: 'tool', tool_call_id: 'call_1', content: 'a.txt' },
  ])
})

test.each(WIRES.flatMap((to) => WIRES.filter((from) => from !== to).map((from) => ({ from, to }))))(
  'a history that $from made can go on with $to',
  async ({ from, to }) => {
    const { json } = await sent(to, { messages: await history(from), tools: [BASH] })
    const text = JSON.stringify(json)
    expect(text).toContain('what is there?')
    expect(text).toContain('a.txt')
    // A signature is worth nothing to another provider, and some refuse it. Gemini has an address of the compatible kind, which takes its own.
    if (from !== 'google' || to !== 'openai-compatible') expect(text).not.toContain('SIGNED')
  },
)

test('arguments that could not be parsed are handed back as an object', async () => {
  const call: Part = { type: 'tool_call', id: 'c', name: 'bash', arguments: '{"comm', invalid: 'not JSON' }
  const { json } = await sent('anthropic', {
    messages: [
      { role: 'user', content: 'go' },
      { role: 'assistant', content: [call] },
    ],
  })
  expect(json.messages[1].content).toMatchObject([{ type: 'tool_use', input: { input: '{"comm' } }])
  expect(json.messages[2].content).toMatchObject([{ type: 'tool_result', tool_use_id: 'c', is_error: true, content: 'no result was recorded' }])
})

test.each(['openai', 'anthropic'] as const)('%s: an address in the environment is not looked at', async (kind) => {
  const name = `${kind.toUpperCase()}_BASE_URL`
  const before = process.env[name]
  process.env[name] = fake.url
  try {
    const maker = await loadProvider('corp', { kind, apiKey: 'sk-1' })
    // Nothing is called: the model's own configuration says where it would go.
    const { config } = maker('some-model') as unknown as { config: { baseURL?: string; url?: (asked: { path: string; modelId: string }) => string } }
    const address = config.url?.({ path: '/x', modelId: 'some-model' }) ?? config.baseURL
    expect(address).toMatch(`https://api.${kind}.com/v1`)
  } finally {
    if (before === undefined) delete process.env[name]
    else process.env[name] = before
  }
})
