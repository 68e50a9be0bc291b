/** What goes wrong with a provider, through its real package, in our codes. */
import { afterEach, beforeEach, expect, onTestFinished, test, vi } from 'vitest'
import {
  errorBody,
  gather,
  hangUp,
  refuse,
  say,
  sayOnly,
  silence,
  startFakeProvider,
  stream,
  type FakeProvider,
  type FakeReply,
} from '../support/fake-provider.ts'
import { eventsOf, type FakeAnswer, type FakeWire } from '../support/fake-wire.ts'
import { ConvokeError } from '../../src/domain/errors.ts'
import type { ModelPart } from '../../src/domain/model.ts'
import { loadProvider } from '../../src/model/provider.ts'
import { sdkModel } from '../../src/model/sdk-model.ts'

const WIRES = ['openai', 'openai-compatible', 'anthropic', 'google'] as const
const KEY = 'sk-live-0123456789abcdef'
const NOW_MS = Date.UTC(2026, 0, 1, 12, 0, 0)
const ANSWER: FakeAnswer = { blocks: [{ text: ['Hel', 'lo'] }] }
/** Events of each wire up to and with the first text. */
const UP_TO_TEXT = { openai: 4, 'openai-compatible': 2, anthropic: 4, google: 1 } as const

let fake: FakeProvider
beforeEach(async () => {
  fake = await startFakeProvider()
})
afterEach(() => fake.close())

async function call(
  wire: FakeWire,
  options: { readonly signal?: AbortSignal; readonly apiKey?: string; readonly text?: string } = {},
): Promise<AsyncIterable<ModelPart>> {
  const { signal = new AbortController().signal, apiKey = KEY, text = 'hello' } = options
  const maker = await loadProvider('p', { kind: wire, baseURL: fake.url, apiKey })
  const model = sdkModel('p/m', maker('m'), { info: undefined, nowMs: () => NOW_MS, secret: apiKey })
  return model.stream({ system: '', messages: [{ role: 'user', content: text }], tools: [], signal })
}

/** What the call throws, and what it had said before. */
async function failure(
  wire: FakeWire,
  reply: FakeReply,
  apiKey: string = KEY,
): Promise<{ readonly error: ConvokeError; readonly parts: readonly ModelPart[] }> {
  fake.script(reply)
  const parts: ModelPart[] = []
  try {
    for await (const part of await call(wire, { apiKey })) parts.push(part)
  } catch (error) {
    expect(error).toBeInstanceOf(ConvokeError)
    return { error: error as ConvokeError, parts }
  }
  throw new Error('the call did not fail')
}

test.each(
  WIRES.flatMap((wire) => [
    { wire, status: 400, code: 'model_refused' },
    { wire, status: 401, code: 'model_auth' },
    { wire, status: 402, code: 'model_refused' },
    { wire, status: 403, code: 'model_auth' },
    { wire, status: 404, code: 'model_refused' },
    { wire, status: 408, code: 'model_unavailable' },
    { wire, status: 413, code: 'model_refused' },
    { wire, status: 422, code: 'model_refused' },
    { wire, status: 429, code: 'model_rate_limited' },
    { wire, status: 500, code: 'model_unavailable' },
    { wire, status: 503, code: 'model_unavailable' },
    { wire, status: 529, code: 'model_unavailable' },
  ]),
)('$wire: status $status is $code', async ({ wire, status, code }) => {
  const { error, parts } = await failure(wire, refuse(status, errorBody(wire, 'something about it')))
  expect(error).toMatchObject({ code, retryAfterMs: undefined })
  expect(error.message).toContain('something about it')
  expect(parts).toEqual([])
  expect(fake.requests).toHaveLength(1)
})

test.each([
  ['a page of a proxy', '<html>Bad gateway</html>'],
  ['nothing', ''],
  ['JSON of another shape', '{"oops":true}'],
])('an error whose body is %s is told by its status', async (_what, body) => {
  expect((await failure('openai', refuse(502, body))).error.code).toBe('model_unavailable')
})

test.each([
  ['seconds', { 'retry-after': '7' }, 7000],
  ['parts of a second', { 'retry-after': '0.5' }, 500],
  ['a date', { 'retry-after': 'Thu, 01 Jan 2026 12:00:30 GMT' }, 30_000],
  ['a date that is past', { 'retry-after': 'Thu, 01 Jan 2026 11:00:00 GMT' }, 0],
  ['milliseconds, which win', { 'retry-after': '7', 'retry-after-ms': '1250' }, 1250],
  ['nothing that can be read', { 'retry-after': 'soon' }, undefined],
  ['milliseconds that cannot be read, and seconds', { 'retry-after': '3', 'retry-after-ms': 'x' }, 3000],
])('the time to try again is read when it is %s', async (_what, headers, retryAfterMs) => {
  const { error } = await failure('anthropic', refuse(429, errorBody('anthropic', 'slow down'), headers as Record<string, string>))
  expect(error).toMatchObject({ code: 'model_rate_limited', retryAfterMs })
})

test('a provider that is overloaded may say when to come back, too', async () => {
  const { error } = await failure('anthropic', refuse(529, errorBody('anthropic', 'overloaded'), { 'retry-after': '2' }))
  expect(error).toMatchObject({ code: 'model_unavailable', retryAfterMs: 2000 })
})

test.each([
  ['openai', `This model's maximum context length is 128000 tokens.`],
  ['openai', 'Your input exceeds the context window of this model.'],
  ['anthropic', 'prompt is too long: 208310 tokens > 200000 maximum'],
  ['google', 'The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).'],
  ['openai-compatible', 'the request exceeds the available context size. try increasing the context size'],
] as const)('%s: "%s" is model_context_overflow', async (wire, message) => {
  expect((await failure(wire, refuse(400, errorBody(wire, message)))).error.code).toBe('model_context_overflow')
})

test.each([
  ['overloaded_error', 'model_unavailable'],
  ['api_error', 'model_unavailable'],
  ['rate_limit_error', 'model_rate_limited'],
  ['authentication_error', 'model_auth'],
  ['invalid_request_error', 'model_refused'],
] as const)('anthropic: %s in a stream is %s, before and after the first words', async (type, code) => {
  const event = errorBody('anthropic', 'Overloaded', type)
  const early = await failure('anthropic', stream([event]))
  expect(early.error).toMatchObject({ code, message: expect.stringContaining('Overloaded') })
  const late = await failure('anthropic', stream([...eventsOf('anthropic', ANSWER).slice(0, UP_TO_TEXT.anthropic), event]))
  expect(late.error).toMatchObject({ code, message: expect.stringContaining('Overloaded') })
  expect(late.parts).toEqual([{ type: 'text_delta', delta: 'Hel' }])
})

test.each([
  ['server_error', 'model_unavailable'],
  ['rate_limit_exceeded', 'model_rate_limited'],
  ['invalid_prompt', 'model_refused'],
])('openai: a response that fails by %s is %s', async (type, code) => {
  const failed = { type: 'response.failed', sequence_number: 9, response: { error: { code: type, message: 'it broke' } } }
  const late = await failure('openai', stream([...eventsOf('openai', ANSWER).slice(0, UP_TO_TEXT.openai), failed]))
  expect(late.error).toMatchObject({ code, message: expect.stringContaining('it broke') })
  expect(late.parts).toEqual([{ type: 'text_delta', delta: 'Hel' }])
  expect((await failure('openai', stream([failed]))).error.code).toBe(code)
})

test.each([
  [429, 'model_rate_limited'],
  [401, 'model_auth'],
  [502, 'model_unavailable'],
] as const)('openai-compatible: an error %i in a stream is %s', async (status, code) => {
  const event = { error: { message: 'the upstream broke', code: status } }
  const { error, parts } = await failure('openai-compatible', stream([...eventsOf('openai-compatible', ANSWER).slice(0, 2), event]))
  expect(error).toMatchObject({ code, message: expect.stringContaining('the upstream broke') })
  expect(parts).toEqual([{ type: 'text_delta', delta: 'Hel' }])
})

test.each([
  [503, 'UNAVAILABLE', 'model_unavailable'],
  [429, 'RESOURCE_EXHAUSTED', 'model_rate_limited'],
] as const)('google: an error %i in a stream is told by it', async (status, name, code) => {
  const event = { error: { code: status, message: 'try later', status: name } }
  const { error } = await failure('google', stream([...eventsOf('google', ANSWER).slice(0, 1), event]))
  expect(error).toMatchObject({ code, message: expect.stringContaining('try later') })
})

test.each(WIRES)('%s: a connection that is reset before an answer is model_unavailable', async (wire) => {
  expect((await failure(wire, hangUp)).error.code).toBe('model_unavailable')
})

test.each(WIRES)('%s: a connection that is reset inside an answer is model_unavailable', async (wire) => {
  const { error } = await failure(wire, sayOnly(UP_TO_TEXT[wire], wire, ANSWER, 'cut'))
  expect(error.code).toBe('model_unavailable')
})

test('a provider that nobody runs is model_unavailable', async () => {
  await fake.close()
  await expect(gather(await call('openai'))).rejects.toMatchObject({ code: 'model_unavailable' })
})

test.each(WIRES)('%s: an answer that ends in good order but without a reason is model_protocol', async (wire) => {
  const { error, parts } = await failure(wire, sayOnly(UP_TO_TEXT[wire], wire, ANSWER, 'end'))
  expect(error.code).toBe('model_protocol')
  expect(parts.some((part) => part.type === 'finish')).toBe(false)
})

test.each(WIRES)('%s: an empty stream is model_protocol', async (wire) => {
  expect((await failure(wire, stream([]))).error.code).toBe('model_protocol')
})

test.each(WIRES)('%s: bad JSON in a stream is model_protocol, whatever it holds', async (wire) => {
  const good = eventsOf(wire, ANSWER).slice(0, UP_TO_TEXT[wire])
  expect((await failure(wire, stream([...good, '{"network": "socket hang', ...eventsOf(wire, ANSWER)]))).error.code).toBe('model_protocol')
  expect((await failure(wire, stream(['not json']))).error.code).toBe('model_protocol')
})

test.each(WIRES)('%s: a good status without a stream is model_protocol', async (wire) => {
  expect((await failure(wire, refuse(200, '<html>Sign in</html>'))).error.code).toBe('model_protocol')
})

test.each(WIRES)('%s: the key is in no error, also when the provider echoes it', async (wire) => {
  const echo = `Incorrect API key provided: ${KEY}. You can find your key elsewhere; not at ${KEY}.`
  const { error } = await failure(wire, refuse(401, errorBody(wire, echo)))
  expect(error.code).toBe('model_auth')
  expect(error.message).toContain('Incorrect API key provided')
  expect(error.message).not.toContain(KEY)
})

test('a key that no header can carry is not shown by the refusal to send it', async () => {
  const key = 'sk-live-01\n234'
  await expect(gather(await call('openai', { apiKey: key }))).rejects.toSatisfy((error: ConvokeError) => !error.message.includes('234'))
  expect(fake.requests).toEqual([])
})

test('a long text of a provider is cut, and a key at the cut is still hidden', async () => {
  const { error } = await failure('openai', refuse(400, errorBody('openai', `${'x'.repeat(490)} ${KEY} ${'y'.repeat(5000)}`)))
  expect(error.message.length).toBeLessThan(600)
  expect(error.message).not.toContain(KEY.slice(0, 8))
})

test.each([
  ['before the answer has begun', silence],
  ['while the answer stands still', 'half'],
] as const)('aborting %s throws the reason and closes the connection', async (_when, how) => {
  for (const wire of WIRES) {
    fake.script(how === 'half' ? sayOnly(UP_TO_TEXT[wire], wire, ANSWER, 'silence') : how)
    const stop = new AbortController()
    const reason = new Error('the user cancelled')
    const parts = (await call(wire, { signal: stop.signal }))[Symbol.asyncIterator]()
    if (how === 'half') expect(await parts.next()).toEqual({ done: false, value: { type: 'text_delta', delta: 'Hel' } })
    const waiting = parts.next()
    const request = await fake.next()
    stop.abort(reason)
    await expect(waiting).rejects.toBe(reason)
    await request.closed
  }
})

test('a call that is aborted before it begins asks nobody', async () => {
  const reason = new Error('too late')
  await expect(gather(await call('openai', { signal: AbortSignal.abort(reason) }))).rejects.toBe(reason)
  expect(fake.requests).toEqual([])
})

test.each(WIRES)('%s: a reader that stops reading closes the connection', async (wire) => {
  fake.script(sayOnly(UP_TO_TEXT[wire], wire, ANSWER, 'silence'))
  for await (const part of await call(wire)) {
    expect(part).toEqual({ type: 'text_delta', delta: 'Hel' })
    break
  }
  await (
    await fake.next()
  ).closed
})

test('an abort after the last part changes nothing', async () => {
  fake.script(say('anthropic', ANSWER))
  const stop = new AbortController()
  const parts = await gather(await call('anthropic', { signal: stop.signal }))
  stop.abort()
  expect(parts.at(-1)).toMatchObject({ type: 'finish', reason: 'stop' })
})

test.each(['openai', 'anthropic', 'google'] as const)('%s: without a key nothing is sent, not even a key of the environment', async (wire) => {
  for (const name of ['OPENAI_API_KEY', 'ANTHROPIC_API_KEY', 'GOOGLE_GENERATIVE_AI_API_KEY']) vi.stubEnv(name, 'sk-of-the-environment')
  onTestFinished(() => void vi.unstubAllEnvs())
  const load = async () => {
    const maker = await loadProvider('corp', { kind: wire, baseURL: fake.url })
    const model = sdkModel('corp/m', maker('m'), { info: undefined, nowMs: () => NOW_MS })
    return gather(model.stream({ system: '', messages: [], tools: [], signal: new AbortController().signal }))
  }
  await expect(load()).rejects.toMatchObject({ code: 'model_auth', message: expect.stringContaining('corp') })
  expect(fake.requests).toEqual([])
})
