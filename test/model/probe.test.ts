import { afterEach, beforeEach, expect, test } from 'vitest'
import { hangUp, refuse, silence, startFakeProvider, stream, type FakeProvider } from '../support/fake-provider.ts'
import { probeProvider } from '../../src/model/probe.ts'

const KEY = 'sk-secret-key'
const signal = () => new AbortController().signal

let fake: FakeProvider
beforeEach(async () => {
  fake = await startFakeProvider()
})
afterEach(() => fake.close())

test.each([
  ['anthropic', { 'x-api-key': KEY, 'anthropic-version': '2023-06-01' }],
  ['openai', { authorization: `Bearer ${KEY}` }],
  ['google', { 'x-goog-api-key': KEY }],
  ['openai-compatible', { authorization: `Bearer ${KEY}` }],
] as const)('%s is asked for its models, with its key in a header', async (kind, headers) => {
  fake.script(refuse(200, { data: [] }))
  expect(await probeProvider({ kind, baseURL: `${fake.url}/v1/`, apiKey: KEY }, signal())).toEqual({ ok: true, detail: `answers at ${fake.url}/v1/` })
  expect(fake.requests).toMatchObject([{ method: 'GET', path: '/v1/models', headers }])
})

test('a compatible server is asked without a key if there is none', async () => {
  fake.script(refuse(200))
  expect((await probeProvider({ kind: 'openai-compatible', baseURL: fake.url }, signal())).ok).toBe(true)
  expect(fake.requests[0]?.headers).not.toHaveProperty('authorization')
})

test.each([
  [401, 'refuses the key (401 from URL)'],
  [403, 'refuses the key (403 from URL)'],
  [404, 'answered 404 at URL'],
  [500, 'answered 500 at URL'],
])('status %i is told', async (status, detail) => {
  fake.script(refuse(status, { error: { message: `no: ${KEY}` } }))
  const found = await probeProvider({ kind: 'openai', baseURL: fake.url, apiKey: KEY }, signal())
  expect(found).toEqual({ ok: false, detail: detail.replace('URL', fake.url) })
})

test('a redirect is told and not followed, with or without a key', async () => {
  fake.script(refuse(302, '', { location: `${fake.url}/elsewhere` }))
  const found = await probeProvider({ kind: 'anthropic', baseURL: fake.url, apiKey: KEY }, signal())
  expect(found).toEqual({ ok: false, detail: `answered 302 at ${fake.url}` })
  expect(fake.requests).toHaveLength(1)
})

test.each([
  ['anthropic', undefined, 'has no key'],
  ['openai', undefined, 'has no key'],
  ['openai-compatible', undefined, 'has no baseURL'],
] as const)('%s without what it needs is told, and nobody is asked', async (kind, baseURL, detail) => {
  expect(await probeProvider({ kind, baseURL }, signal())).toEqual({ ok: false, detail })
})

test('a provider that hangs up, or that nobody runs, cannot be reached', async () => {
  fake.script(hangUp)
  const config = { kind: 'openai', baseURL: fake.url, apiKey: KEY } as const
  expect(await probeProvider(config, signal())).toEqual({ ok: false, detail: `cannot be reached at ${fake.url}` })
  await fake.close()
  expect(await probeProvider(config, signal())).toEqual({ ok: false, detail: `cannot be reached at ${fake.url}` })
})

test('a probe that is given up closes its connection and answers', async () => {
  fake.script(silence)
  const stop = new AbortController()
  const probing = probeProvider({ kind: 'openai', baseURL: fake.url, apiKey: KEY }, stop.signal)
  const request = await fake.next()
  stop.abort()
  expect((await probing).ok).toBe(false)
  await request.closed
})

test('an answer without an end is not waited for, and its connection is closed', async () => {
  fake.script(stream([], 'silence'))
  expect((await probeProvider({ kind: 'openai', baseURL: fake.url, apiKey: KEY }, signal())).ok).toBe(true)
  await (
    await fake.next()
  ).closed
})

test('a key that no header can carry is an answer that does not show it', async () => {
  const found = await probeProvider({ kind: 'openai', baseURL: fake.url, apiKey: 'sk\n1' }, signal())
  expect(found).toEqual({ ok: false, detail: `cannot be reached at ${fake.url}` })
  expect(fake.requests).toEqual([])
})
