/** Which models there are, what their names mean, and that nothing is waited for. */
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { gather, refuse, say, silence, startFakeProvider, type FakeProvider } from '../support/fake-provider.ts'
import type { ModelRegistry } from '../../src/domain/model.ts'
import { manualClock } from '../../src/testing/manual-clock.ts'
import { createModelRegistry, type RegistryOptions } from '../../src/model/registry.ts'

const KEY = 'sk-secret-key'
const clock = manualClock()

function registryOf(options: Partial<RegistryOptions> = {}): ModelRegistry {
  const registry = createModelRegistry({
    providers: {},
    aliases: {},
    catalog: {},
    apiKeys: {},
    clock,
    telemetry: { log: () => undefined },
    demoPaceMs: 0,
    discover: false,
    ...options,
  })
  onTestFinished(() => registry.close())
  return registry
}

const ids = (registry: ModelRegistry) => registry.list().map(({ provider, id }) => `${provider}/${id}`)

describe('the default model', () => {
  test.each([
    ['nothing is configured', {}, 'demo/convoke'],
    ['there is a key of Anthropic', { apiKeys: { anthropic: KEY } }, 'anthropic/claude-sonnet-4-5'],
    ['there is a key of OpenAI', { apiKeys: { openai: KEY } }, 'openai/gpt-5.1'],
    ['there is a key of Google', { apiKeys: { google: KEY } }, 'google/gemini-2.5-pro'],
    ['there are all three keys', { apiKeys: { google: KEY, openai: KEY, anthropic: KEY } }, 'anthropic/claude-sonnet-4-5'],
    ['there are two keys', { apiKeys: { google: KEY, openai: KEY } }, 'openai/gpt-5.1'],
    ['a provider has a name of its own', { providers: { corp: { kind: 'google', apiKey: KEY } } }, 'corp/gemini-2.5-pro'],
    ['the only provider is a compatible one', { providers: { local: { kind: 'openai-compatible', baseURL: 'http://x' } } }, 'demo/convoke'],
    ['one is configured', { apiKeys: { openai: KEY }, defaultModel: 'openai/o9' }, 'openai/o9'],
    ['an alias is configured', { apiKeys: { openai: KEY }, defaultModel: 'fast', aliases: { fast: 'openai/gpt-5-mini' } }, 'openai/gpt-5-mini'],
    ['an id alone is configured', { apiKeys: { openai: KEY }, defaultModel: 'gpt-5-mini' }, 'openai/gpt-5-mini'],
  ] as const)('when %s, is the right one', (_when, options, id) => {
    expect(registryOf(options).defaultModel).toBe(id)
  })

  test.each(['nobody/gpt', 'openai/', ''])('that is configured as %j stops the start', (defaultModel) => {
    expect(() => registryOf({ apiKeys: { openai: KEY }, defaultModel })).toThrow(expect.objectContaining({ code: 'invalid_model' }))
  })
})

describe('a name', () => {
  const registry = () =>
    registryOf({
      apiKeys: { openai: KEY, anthropic: KEY },
      defaultModel: 'smart',
      aliases: { smart: 'anthropic/claude-opus-4-5', mini: 'gpt-5-mini', 'openai/old': 'openai/gpt-5.1', stale: 'gone/x' },
    })

  test.each([
    ['a full id', 'openai/gpt-5.1', 'openai/gpt-5.1'],
    ['any id of a known provider', 'openai/gpt-99-preview', 'openai/gpt-99-preview'],
    ['an id with slashes', 'openai/org/model:tag', 'openai/org/model:tag'],
    ['an alias', 'smart', 'anthropic/claude-opus-4-5'],
    ['an alias that looks like an id', 'openai/old', 'openai/gpt-5.1'],
    ['an id alone, of the provider of the default', 'claude-haiku-4-5', 'anthropic/claude-haiku-4-5'],
    ['an alias of an id alone', 'mini', 'anthropic/gpt-5-mini'],
    ['the demo', 'demo/convoke', 'demo/convoke'],
    ['a name of 200 characters', `openai/${'x'.repeat(193)}`, `openai/${'x'.repeat(193)}`],
    ['a name that objects have', 'toString', 'anthropic/toString'],
  ])('that is %s resolves', (_what, name, id) => {
    expect(registry().resolve(name)).toBe(id)
  })

  test.each([
    ['of an unknown provider', 'nobody/gpt'],
    ['without an id', 'openai/'],
    ['without a provider', '/gpt'],
    ['of nothing', ''],
    ['of 201 characters', `openai/${'x'.repeat(194)}`],
    ['whose alias leads nowhere', 'stale'],
  ])('%s is invalid_model', (_what, name) => {
    expect(() => registry().resolve(name)).toThrow(expect.objectContaining({ code: 'invalid_model' }))
  })

  test('of an unknown provider is refused with the names of those that are known', () => {
    expect(() => registry().resolve('nobody/gpt')).toThrow(
      'there is no model provider "nobody"; known are openai, anthropic, demo'.replace('openai, anthropic', 'anthropic, openai'),
    )
    try {
      registry().resolve('nobody/gpt')
    } catch (error) {
      expect((error as Error).message).not.toContain(KEY)
    }
  })
})

describe('the list', () => {
  test('always ends with the demo', () => {
    expect(ids(registryOf())).toEqual(['demo/convoke'])
    expect(ids(registryOf({ apiKeys: { openai: KEY } }))).toEqual(['openai/gpt-5.1', 'openai/gpt-5-mini', 'demo/convoke'])
  })

  test('names models by the name of their provider', () => {
    expect(ids(registryOf({ providers: { corp: { kind: 'google', apiKey: KEY } } }))).toEqual(['corp/gemini-2.5-pro', 'corp/gemini-2.5-flash', 'demo/convoke'])
  })

  test('holds models of the configured catalogue, of known providers only', () => {
    const registry = registryOf({
      providers: { local: { kind: 'openai-compatible', baseURL: 'http://x' } },
      catalog: { 'local/qwen': { context: 32_000 }, 'nobody/x': { context: 1 } },
    })
    expect(ids(registry)).toEqual(['local/qwen', 'demo/convoke'])
    expect(registry.list()[0]).toEqual({ id: 'qwen', name: 'qwen', provider: 'local', reasoning: false, limit: { context: 32_000, output: 8192 } })
  })

  test('shows a model of ours with the facts of the configured catalogue', () => {
    const registry = registryOf({ apiKeys: { openai: KEY }, catalog: { 'openai/gpt-5.1': { context: 1000, cost: { input: 9, output: 99 } } } })
    expect(registry.list()[0]).toMatchObject({ id: 'gpt-5.1', limit: { context: 1000, output: 128_000 }, cost: { input: 9, output: 99 } })
  })
})

describe('facts', () => {
  test.each([
    ['openai/gpt-5.1', { name: 'GPT-5.1', limit: { context: 400_000, output: 128_000 }, cost: { input: 1.25, output: 10 } }],
    ['anthropic/claude-opus-4-5', { name: 'Claude Opus 4.5', limit: { context: 200_000, output: 64_000 }, cost: { input: 5, output: 25 } }],
    ['demo/convoke', { provider: 'demo', limit: { context: 1_000_000, output: 100_000 } }],
  ])('of %s come from the catalogue', (id, facts) => {
    expect(registryOf({ apiKeys: { openai: KEY, anthropic: KEY } }).info(id)).toMatchObject(facts)
  })

  test.each(['openai/unknown', 'google/gemini-2.5-pro', 'nobody/x', 'x'])('of %s are not known here', (id) => {
    expect(registryOf({ apiKeys: { openai: KEY } }).info(id)).toBeUndefined()
  })

  test('of the configured catalogue win, one by one', () => {
    const catalog = { 'openai/gpt-5.1': { output: 5 }, 'openai/new': { context: 7, output: 8, cost: { input: 1, output: 2 } } }
    const registry = registryOf({ apiKeys: { openai: KEY }, catalog })
    expect(registry.info('openai/gpt-5.1')).toMatchObject({ name: 'GPT-5.1', limit: { context: 400_000, output: 5 }, cost: { input: 1.25, output: 10 } })
    expect(registry.info('openai/new')).toEqual({
      id: 'new',
      name: 'new',
      provider: 'openai',
      reasoning: false,
      limit: { context: 7, output: 8 },
      cost: { input: 1, output: 2 },
    })
  })
})

describe('with a provider', () => {
  let fake: FakeProvider
  beforeEach(async () => {
    fake = await startFakeProvider()
  })
  afterEach(() => fake.close())

  const ask = async (registry: ModelRegistry, id: string) => {
    const model = await registry.get(id)
    return gather(model.stream({ system: '', messages: [{ role: 'user', content: 'hi' }], tools: [], signal: new AbortController().signal }))
  }

  test('a model is called at its address, with its key and its id, and its cost is told', async () => {
    fake.script(say('anthropic', { blocks: [{ text: ['ok'] }], usage: { input: 1_000_000, cached: 0, output: 1_000_000, reasoning: 0 } }))
    const registry = registryOf({ providers: { corp: { kind: 'anthropic', baseURL: fake.url, apiKey: KEY } } })
    const parts = await ask(registry, 'corp/claude-haiku-4-5')
    expect(parts.at(-1)).toMatchObject({ type: 'finish', usage: { cost: 6 } })
    expect(fake.requests[0]).toMatchObject({ path: '/messages', headers: { 'x-api-key': KEY }, json: { model: 'claude-haiku-4-5' } })
  })

  test('a key of the environment serves the configured provider of that name', async () => {
    fake.script(say('openai', { blocks: [{ text: ['ok'] }] }))
    const registry = registryOf({ apiKeys: { openai: KEY }, providers: { openai: { kind: 'openai', baseURL: fake.url } } })
    await ask(registry, 'openai/gpt-5.1')
    expect(fake.requests[0]?.headers.authorization).toBe(`Bearer ${KEY}`)
  })

  test('a key that the provider echoes is in no error', async () => {
    fake.script(refuse(401, { error: { message: `bad key ${KEY}` } }))
    const registry = registryOf({ providers: { corp: { kind: 'openai-compatible', baseURL: fake.url, apiKey: KEY } } })
    await expect(ask(registry, 'corp/m')).rejects.toMatchObject({ code: 'model_auth', message: 'the model provider answered: bad key [redacted]' })
  })

  test('an id with slashes reaches the provider whole', async () => {
    fake.script(say('openai-compatible', { blocks: [{ text: ['ok'] }] }))
    await ask(registryOf({ providers: { hub: { kind: 'openai-compatible', baseURL: fake.url } } }), 'hub/org/model:tag')
    expect(fake.requests[0]?.json.model).toBe('org/model:tag')
  })

  test('getting a model asks nobody, and an unknown one is invalid_model', async () => {
    const registry = registryOf({ providers: { corp: { kind: 'openai', baseURL: fake.url, apiKey: KEY } } })
    expect((await registry.get('corp/x')).id).toBe('corp/x')
    expect((await registry.get('demo/convoke')).id).toBe('demo/convoke')
    expect(fake.requests).toEqual([])
    for (const id of ['nobody/x', 'x', '']) await expect(registry.get(id)).rejects.toMatchObject({ code: 'invalid_model' })
  })

  test('a check asks each provider once, and its answers name no key', async () => {
    fake.script(refuse(200, { data: [] }))
    const registry = registryOf({ providers: { corp: { kind: 'openai', baseURL: fake.url, apiKey: KEY }, bare: { kind: 'google' } } })
    const found = await registry.check(new AbortController().signal)
    expect(found).toEqual([
      { provider: 'corp', ok: true, detail: `answers at ${fake.url}` },
      { provider: 'bare', ok: false, detail: 'has no key' },
    ])
    expect(fake.requests).toMatchObject([{ method: 'GET', path: '/models' }])
  })
})

describe('servers on this machine', () => {
  const OLLAMA = 'http://127.0.0.1:11434'
  const LM_STUDIO = 'http://127.0.0.1:1234'
  let fakes: Readonly<Record<string, FakeProvider>>
  let asked: string[]
  let settled: Promise<unknown>[]

  // The two places are fixed ports that may be in use here: what is sent there is led to a provider of the test.
  beforeEach(async () => {
    fakes = { [OLLAMA]: await startFakeProvider(), [LM_STUDIO]: await startFakeProvider() }
    asked = []
    settled = []
    const real = globalThis.fetch
    vi.stubGlobal('fetch', (url: string, init?: RequestInit) => {
      asked.push(url)
      const place = new URL(url).origin
      const answer = real(url.replace(place, fakes[place]?.url ?? place), init)
      settled.push(answer.catch(() => undefined))
      return answer
    })
  })
  afterEach(async () => {
    vi.unstubAllGlobals()
    await Promise.all(Object.values(fakes).map((fake) => fake.close()))
  })

  const models = (...names: readonly unknown[]) => refuse(200, { object: 'list', data: names.map((id) => ({ id, object: 'model' })) })
  const found = (registry: ModelRegistry, count: number) => expect.poll(() => ids(registry).length, { interval: 2, timeout: 10_000 }).toBe(count)

  test('are listed once they answer, between the configured ones and the demo, and are never the default', async () => {
    fakes[OLLAMA]?.script(models('llama3:8b', 'qwen3'))
    fakes[LM_STUDIO]?.script(models('phi'))
    const registry = registryOf({ discover: true })
    expect(ids(registry)).toEqual(['demo/convoke'])
    expect(registry.defaultModel).toBe('demo/convoke')
    expect(() => registry.resolve('ollama/llama3:8b')).toThrow(expect.objectContaining({ code: 'invalid_model' }))
    await found(registry, 4)
    expect(ids(registry)).toEqual(['ollama/llama3:8b', 'ollama/qwen3', 'lmstudio/phi', 'demo/convoke'])
    expect(registry.defaultModel).toBe('demo/convoke')
    expect(registry.resolve('ollama/other')).toBe('ollama/other')
    expect(asked).toEqual([`${OLLAMA}/v1/models`, `${LM_STUDIO}/v1/models`])
  })

  test('can be called without a key', async () => {
    fakes[OLLAMA]?.script(models('llama3'), say('openai-compatible', { blocks: [{ text: ['ok'] }] }))
    const registry = registryOf({ discover: true })
    await found(registry, 2)
    const model = await registry.get('ollama/llama3')
    const parts = await gather(model.stream({ system: '', messages: [{ role: 'user', content: 'hi' }], tools: [], signal: new AbortController().signal }))
    expect(parts[0]).toEqual({ type: 'text_delta', delta: 'ok' })
    expect(fakes[OLLAMA]?.requests[1]).toMatchObject({ path: '/v1/chat/completions', json: { model: 'llama3' } })
    expect(fakes[OLLAMA]?.requests[1]?.headers).not.toHaveProperty('authorization')
  })

  test('do not take the place of a configured provider of their name', async () => {
    fakes[OLLAMA]?.script(models('llama3'))
    const registry = registryOf({
      discover: true,
      providers: { ollama: { kind: 'openai-compatible', baseURL: 'http://127.0.0.1:9/own' } },
      catalog: { 'ollama/mine': {} },
    })
    await found(registry, 3)
    const model = await registry.get('ollama/llama3')
    await expect(gather(model.stream({ system: '', messages: [], tools: [], signal: new AbortController().signal }))).rejects.toMatchObject({
      code: 'model_unavailable',
    })
    expect(fakes[OLLAMA]?.requests).toHaveLength(1)
  })

  test.each([
    ['an error', refuse(500, { data: [{ id: 'x' }] })],
    ['a page', refuse(200, '<html>')],
    ['JSON of another shape', refuse(200, { models: [1] })],
    ['JSON null', refuse(200, 'null')],
    ['an endless answer', refuse(200, `{"data":[{"id":"x"}],"pad":"${'x'.repeat(1_100_000)}"}`)],
  ])('that answer %s list no models', async (_what, reply) => {
    fakes[OLLAMA]?.script(reply)
    fakes[LM_STUDIO]?.script(models('phi'))
    const registry = registryOf({ discover: true })
    await found(registry, 2)
    expect(ids(registry)).toEqual(['lmstudio/phi', 'demo/convoke'])
  })

  test('list at most 200 models, and only those with a name', async () => {
    fakes[OLLAMA]?.script(models('', 7, null, ...Array.from({ length: 500 }, (_, index) => `m${index}`)))
    const registry = registryOf({ discover: true })
    await found(registry, 198)
    expect(ids(registry)[0]).toBe('ollama/m0')
  })

  test('that do not answer in time are not there, and nobody waits for them', async () => {
    const timer = manualClock()
    fakes[OLLAMA]?.script(silence)
    fakes[LM_STUDIO]?.script(models('phi'))
    const registry = registryOf({ discover: true, clock: timer })
    expect(timer.pending).toBe(2)
    const request = await fakes[OLLAMA]!.next()
    await expect.poll(() => timer.pending, { interval: 2, timeout: 10_000 }).toBe(1)
    timer.advance(1500)
    await request.closed
    await found(registry, 2)
    expect(timer.pending).toBe(0)
  })

  test('are asked no longer once the registry is closed', async () => {
    fakes[OLLAMA]?.script(silence)
    fakes[LM_STUDIO]?.script(silence)
    const registry = registryOf({ discover: true })
    const requests = await Promise.all(Object.values(fakes).map((fake) => fake.next()))
    registry.close()
    await Promise.all([...requests.map((request) => request.closed), ...settled])
    expect(ids(registry)).toEqual(['demo/convoke'])
  })

  test('are not looked for when that is switched off', () => {
    registryOf({ discover: false })
    expect(asked).toEqual([])
  })
})
