/** A provider that does not stop, does not begin, or sends us elsewhere: what an answer may cost, through the real packages. */
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { gzipSync } from 'node:zlib'
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest'
import { gather, refuse, say, sayOnly, silence, startFakeProvider, stream, type FakeProvider, type FakeReply } from '../support/fake-provider.ts'
import { eventsOf, type FakeAnswer, type FakeWire } from '../support/fake-wire.ts'
import type { ModelPart } from '../../src/domain/model.ts'
import { loadProvider } from '../../src/model/provider.ts'
import { sdkModel } from '../../src/model/sdk-model.ts'
import { manualClock } from '../../src/testing/manual-clock.ts'

const WIRES = ['openai', 'openai-compatible', 'anthropic', 'google'] as const
const KEY = 'sk-live-0123456789abcdef'
const ANSWER: FakeAnswer = { blocks: [{ text: ['Hel', 'lo'] }] }
/** Events of each wire up to and with the first text. */
const UP_TO_TEXT = { openai: 4, 'openai-compatible': 2, anthropic: 4, google: 1 } as const

let fake: FakeProvider
beforeEach(async () => void (fake = await startFakeProvider()))
afterEach(() => fake.close())

async function call(wire: FakeWire, reply: FakeReply, clock = manualClock()): Promise<AsyncIterable<ModelPart>> {
  fake.script(reply)
  const maker = await loadProvider('p', { kind: wire, baseURL: fake.url, apiKey: KEY })
  const model = sdkModel('p/m', maker('m'), { info: undefined, nowMs: () => 0, secret: KEY, idle: { clock, ms: 1000 } })
  return model.stream({ system: '', messages: [{ role: 'user', content: 'hello' }], tools: [], signal: new AbortController().signal })
}

/** Sends `piece` until nobody takes it any more. */
function endless(head: string, piece: string): FakeReply {
  return (response: ServerResponse) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(head)
    const more = () => {
      while (!response.destroyed && response.write(piece));
    }
    response.on('drain', more)
    more()
  }
}
const framesOf = (wire: FakeWire, events: readonly object[]) =>
  events.map((event) => `${'type' in event ? `event: ${String(event.type)}\n` : ''}data: ${JSON.stringify(event)}\n\n`).join('')

test.each(WIRES)('%s: a model that says nothing has failed after its time, and its connection is closed', async (wire) => {
  const clock = manualClock()
  const parts = gather(await call(wire, silence, clock))
  const { closed } = await fake.next()
  clock.advance(999)
  clock.advance(1)
  await expect(parts).rejects.toMatchObject({ code: 'model_unavailable', message: expect.stringContaining('said nothing for 1000 ms') })
  await closed
  expect(clock.pending).toBe(0)
})

test.each(WIRES)('%s: an answer that stands still has failed after its time, counted from the last word', async (wire) => {
  const clock = manualClock()
  const parts = (await call(wire, sayOnly(UP_TO_TEXT[wire], wire, ANSWER, 'silence'), clock))[Symbol.asyncIterator]()
  const first = parts.next()
  await fake.next()
  expect(await first).toEqual({ done: false, value: { type: 'text_delta', delta: 'Hel' } })
  clock.advance(900)
  const second = parts.next()
  clock.advance(999)
  clock.advance(1)
  await expect(second).rejects.toMatchObject({ code: 'model_unavailable' })
})

test('what is done with a part takes as long as it takes: that is no silence of the model', async () => {
  const clock = manualClock()
  const said: ModelPart[] = []
  for await (const part of await call('openai-compatible', say('openai-compatible', ANSWER), clock)) {
    said.push(part)
    clock.advance(5_000)
  }
  expect(said.map(({ type }) => type)).toEqual(['text_delta', 'text_delta', 'text_end', 'finish'])
  expect(clock.pending).toBe(0)
})

test('an answer that goes on is not cut off, however long it takes, and leaves no timer', async () => {
  const clock = manualClock()
  let write: (text: string) => void = () => undefined
  let end = () => undefined as void
  const events = eventsOf('openai-compatible', { blocks: [{ text: ['a', 'b', 'c', 'd'] }] })
  const parts = (
    await call(
      'openai-compatible',
      (response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        write = (text) => void response.write(text)
        end = () => void response.end()
      },
      clock,
    )
  )[Symbol.asyncIterator]()
  const first = parts.next()
  await fake.next()
  let next: Promise<unknown> = first
  for (const event of events.slice(1, 5)) {
    clock.advance(800)
    write(framesOf('openai-compatible', [event]))
    await next
    next = parts.next()
  }
  write(framesOf('openai-compatible', events.slice(5)))
  end()
  await next
  for (let rest = await parts.next(); rest.done !== true; rest = await parts.next());
  expect(clock.pending).toBe(0)
})

test.each(WIRES)('%s: text without an end is refused at 4,194,304 characters, and the connection is closed', async (wire) => {
  const events = eventsOf(wire, { blocks: [{ text: ['x'.repeat(60_000)] }] })
  const at = UP_TO_TEXT[wire]
  let chars = 0
  const reply = endless(framesOf(wire, events.slice(0, at)), framesOf(wire, events.slice(at - 1, at)))
  const failure: unknown = await (async () => {
    for await (const part of await call(wire, reply)) if (part.type === 'text_delta') chars += part.delta.length
  })().catch((error: unknown) => error)
  expect(failure).toMatchObject({ code: 'model_refused', message: `the model's answer has more than 4194304 characters` })
  expect(chars).toBe(60_000 * 69)
  await (
    await fake.next()
  ).closed
})

test.each(['openai', 'openai-compatible', 'anthropic'] as const)('%s: arguments without an end are refused, too', async (wire) => {
  const events = eventsOf(wire, { blocks: [{ call: 'c1', name: 'act', input: ['y'.repeat(60_000)] }] })
  const at = events.findIndex((event) => JSON.stringify(event).includes('yyyy')) + 1
  const reply = endless(framesOf(wire, events.slice(0, at)), framesOf(wire, events.slice(at - 1, at)))
  await expect(gather(await call(wire, reply))).rejects.toMatchObject({ code: 'model_refused' })
})

test.each([
  ['a line without an end', 'data: {"', 'x'.repeat(65_536)],
  ['comments without an end', ': hello\n\n', ': still here\n\n'.repeat(5_000)],
])('%s is refused at 67,108,864 bytes', async (_what, head, piece) => {
  await expect(gather(await call('openai-compatible', endless(head, piece)))).rejects.toMatchObject({
    code: 'model_refused',
    message: `the model's answer has more than 67108864 bytes`,
  })
})

test('an error without an end, too', async () => {
  const reply: FakeReply = (response) => {
    response.writeHead(500)
    const more = () => {
      while (!response.destroyed && response.write('x'.repeat(65_536)));
    }
    response.on('drain', more)
    more()
  }
  await expect(gather(await call('openai-compatible', reply))).rejects.toMatchObject({ code: expect.stringMatching(/^model_(refused|unavailable)$/) })
  await (
    await fake.next()
  ).closed
})

test('a small answer that unpacks to a large one is refused by what it unpacks to', async () => {
  const bomb = gzipSync(`data: {"${'x'.repeat(80 * 1024 * 1024)}`)
  const reply: FakeReply = (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream', 'content-encoding': 'gzip' })
    response.end(bomb)
  }
  await expect(gather(await call('openai-compatible', reply))).rejects.toMatchObject({ code: 'model_refused' })
})

test.each([301, 302, 303, 307, 308])('a redirect %i is not followed: no key goes where nobody sent it', async (status) => {
  const seen: string[] = []
  const elsewhere = createServer((request, response) => {
    seen.push(JSON.stringify(request.headers))
    response.end()
  })
  await new Promise<void>((resolve) => elsewhere.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void elsewhere.close())
  const location = `http://127.0.0.1:${(elsewhere.address() as AddressInfo).port}/v1`
  for (const wire of WIRES) {
    await expect(gather(await call(wire, refuse(status, '', { location })))).rejects.toMatchObject({ code: 'model_refused' })
  }
  expect(seen).toEqual([])
})

test.each(WIRES)('%s: an answer within its bounds is as it was', async (wire) => {
  const parts = await gather(await call(wire, say(wire, ANSWER)))
  expect(parts.flatMap((part) => (part.type === 'text_delta' ? [part.delta] : []))).toEqual(['Hel', 'lo'])
  expect(parts.at(-1)).toMatchObject({ type: 'finish', reason: 'stop' })
})

test('an answer without a body is as it was', async () => {
  await expect(gather(await call('openai-compatible', (response) => void response.writeHead(204).end()))).rejects.toMatchObject({ code: 'model_protocol' })
  await expect(gather(await call('openai-compatible', stream([])))).rejects.toMatchObject({ code: 'model_protocol' })
})
