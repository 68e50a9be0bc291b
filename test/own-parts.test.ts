import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { defineAgent, defineTool, type Agent, type ServerOptions } from '../src/index.ts'
import { ask, frames } from './support/http.ts'
import { startTestServer, type TestServer } from './support/server.ts'

let server: TestServer | undefined
let folder: string
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'convoke-parts-'))))
afterEach(async () => {
  await server?.close()
  server = undefined
  rmSync(folder, { recursive: true, force: true })
})

async function start(options: ServerOptions): Promise<TestServer> {
  server = await startTestServer(options)
  return server
}

/** Runs one message and answers the events of its run. */
async function run(url: string, content: string, body: object = {}) {
  const session = (await ask(url, 'POST', '/v1/sessions', { title: 'parts', ...body })).json.id as string
  const sent = await ask(url, 'POST', `/v1/sessions/${session}/messages`, { message: { role: 'user', content } })
  expect(sent.status).toBe(200)
  return frames(`${url}/v1/sessions/${session}/events?after=${sent.json.position - 1}&until=run_end`)
}

function payload(found: Awaited<ReturnType<typeof run>>, event: string) {
  const frame = found.find((candidate) => candidate.event === event)
  return frame === undefined ? undefined : (Object.values(frame.data.event)[0] as Record<string, unknown>)
}

const weather = defineTool({
  name: 'weather',
  description: 'Tells the weather of a city.',
  input: z.object({ city: z.string().min(1) }),
  readOnly: true,
  run: async ({ city }) => `sunny in ${city}`,
})

describe('a tool of one’s own', () => {
  test('that only looks is called without asking, with checked arguments', async () => {
    const { url } = await start({ tools: [weather] })
    expect(payload(await run(url, 'call weather {"city": "Bern"}'), 'tool_execution_completed')).toMatchObject({ result: 'sunny in Bern', is_error: false })
    const wrong = payload(await run(url, 'call weather {"city": 5}'), 'tool_execution_completed')
    expect(wrong).toMatchObject({ is_error: true })
    expect(wrong?.['result']).toContain('city')
  })

  test.each([
    ['answers', false],
    ['throws', true],
  ])('that %s more than an event holds has all of it in one file, and the event says where', async (_how, isError) => {
    const whole = `${'Zeile ü '.repeat(20_000)}end`
    const long = defineTool({
      name: 'long',
      description: 'Tells much.',
      input: z.object({}),
      readOnly: true,
      run: async () => {
        if (isError) throw new Error(whole)
        return whole
      },
    })
    const { url, data } = await start({ tools: [long] })
    const found = await run(url, 'call long')
    const said = payload(found, 'tool_execution_completed')
    const text = String(said?.['result'])
    expect([said?.['is_error'], Buffer.byteLength(text) <= 48 * 1024, text.endsWith('end')]).toEqual([isError, true, true])
    const outputs = join(data, 'outputs', String(found[0]?.data.session_id))
    const names = readdirSync(outputs)
    expect(names).toHaveLength(1)
    const file = join(outputs, names[0] ?? '')
    expect([text.includes(file), readFileSync(file, 'utf8').endsWith(whole)]).toEqual([true, true])
  })

  test('that does more asks first; what it throws is an answer for the model', async () => {
    const launch = defineTool({
      name: 'launch',
      description: 'Launches.',
      input: z.object({}),
      run: async () => {
        throw new Error('no fuel')
      },
    })
    const { url } = await start({ tools: [launch] })
    const session = (await ask(url, 'POST', '/v1/sessions', { title: 'parts' })).json.id as string
    const sent = await ask(url, 'POST', `/v1/sessions/${session}/messages`, { message: { role: 'user', content: 'call launch' } })
    const stream = `${url}/v1/sessions/${session}/events?after=${sent.json.position - 1}&until=run_end`
    await frames(stream, {}, ({ event }) => event === 'waiting_for_tool_approval')
    const pending = await ask(url, 'GET', `/v1/sessions/${session}/tools/pending`)
    const [call] = pending.json.tool_calls
    expect(call.name).toBe('launch')
    await ask(url, 'POST', `/v1/sessions/${session}/tools/decisions`, { run_id: pending.json.run_id, decisions: { [call.id]: { action: 'accept' } } })
    expect(payload(await frames(stream), 'tool_execution_completed')).toMatchObject({ is_error: true, result: 'the tool failed: no fuel' })
  })

  test('is taken from a module beside the configuration file', async () => {
    writeFileSync(
      join(folder, 'tools.mjs'),
      `export default [{ name: 'hello', description: 'Greets.', inputSchema: { type: 'object' }, readOnly: true, parallelSafe: true, repeatable: true,
        timeoutMs: () => 1000, check: () => undefined,
        open: async () => ({ run: async () => ({ output: 'hello from a file', isError: false }), close: async () => undefined }) }]`,
    )
    const config = join(folder, 'convoke.config.json')
    writeFileSync(config, JSON.stringify({ tools: ['./tools.mjs'] }))
    const { url } = await start({ config })
    expect(payload(await run(url, 'call hello'), 'tool_execution_completed')).toMatchObject({ result: 'hello from a file' })
  })

  test.each([
    ['a name that is taken', { tools: [{ ...weather, name: 'bash' }] }, 'there is a bash already'],
    ['a module that is not there', { tools: ['./nowhere.mjs'] }, './nowhere.mjs cannot be loaded'],
    ['what is no tool', { tools: [{ name: 'half', open: () => undefined } as never] }, 'half is none'],
    ['an agent in the place of ours', { agents: [{ name: 'convoke', run: async () => undefined }] }, 'there is a convoke already'],
  ])('%s stops the start and names the key', async (_, options, message) => {
    await expect(startTestServer(options as ServerOptions)).rejects.toThrow(message)
  })

  test.each(['', 'two words', 'ü', 'x'.repeat(65)])('cannot be called %j', (name) => {
    expect(() => defineTool({ name, description: '', input: z.object({}), run: async () => '' })).toThrow('1 to 64')
  })
})

test('an agent of one’s own drives the sessions that ask for it', async () => {
  const parrot: Agent = {
    name: 'parrot',
    async run(context) {
      await context.follow(() => undefined)
      context.emit({ type: 'TextDelta', runId: context.runId, delta: 'squawk' })
      const usage = { inputTokens: 0, outputTokens: 1, totalTokens: 1 }
      await context.finish({ outcome: { kind: 'completed', stopReason: 'completed' }, closing: [], totalTurns: 1, totalUsage: usage })
    },
  }
  const { url } = await start({ agents: [parrot] })
  const found = await run(url, 'hello', { agent: 'parrot' })
  expect(payload(found, 'text_delta')).toMatchObject({ delta: 'squawk' })
  expect(found.at(-1)?.event).toBe('run_completed')
  expect((await ask(url, 'POST', '/v1/sessions', { title: 'x', agent: 'nobody' })).json.code).toBe('invalid_request')
})

test('an agent that is a function runs its steps, and what it answers is what it says', async () => {
  const greeter = defineAgent({
    name: 'greeter',
    async run(ctx) {
      const length = await ctx.step('count', () => ctx.input.text.length)
      return `you wrote ${length} characters`
    },
  })
  const { url } = await start({ agents: [greeter] })
  const found = await run(url, 'hello', { agent: 'greeter' })
  expect(found.map(({ event }) => event)).toEqual(['turn_started', 'text_delta', 'text_complete', 'turn_completed', 'run_completed'])
  expect(payload(found, 'text_complete')).toMatchObject({ text: 'you wrote 5 characters' })
  expect(payload(found, 'run_completed')).toMatchObject({ total_turns: 1, stop_reason: 'completed' })
})

test('an agent that asks is answered like a tool call, also where it asks while it waits', async () => {
  const careful = defineAgent({
    name: 'careful',
    async run(ctx) {
      const second = async () => {
        await ctx.step('look', async () => undefined)
        return ctx.approve('then', { name: 'second', arguments: { n: 2 } })
      }
      const answers = await Promise.all([ctx.approve('first', { name: 'first', arguments: { n: 1 } }), second()])
      return answers.map(({ action, content = '', by }) => `${action} ${content} ${by}`).join(', ')
    },
  })
  const { url } = await start({ agents: [careful] })
  const session = (await ask(url, 'POST', '/v1/sessions', { title: 'parts', agent: 'careful' })).json.id as string
  const sent = await ask(url, 'POST', `/v1/sessions/${session}/messages`, { message: { role: 'user', content: 'go' } })
  const stream = `${url}/v1/sessions/${session}/events?after=${sent.json.position - 1}&until=run_end`
  let asked = 0
  await frames(stream, {}, ({ event }) => event === 'waiting_for_tool_approval' && ++asked === 2)
  const pending = await ask(url, 'GET', `/v1/sessions/${session}/tools/pending`)
  expect(pending.json.tool_calls).toMatchObject([
    { name: 'first', arguments: { n: 1 } },
    { name: 'second', arguments: { n: 2 } },
  ])
  const [first, second] = pending.json.tool_calls as readonly { readonly id: string }[]
  const { run_id } = pending.json
  await ask(url, 'POST', `/v1/sessions/${session}/tools/decisions`, { run_id, decisions: { [second?.id ?? '']: { action: 'custom_result', content: 'mine' } } })
  await ask(url, 'POST', `/v1/sessions/${session}/tools/${first?.id}/decision`, { run_id, action: 'accept' })
  expect(payload(await frames(stream), 'text_complete')).toMatchObject({ text: 'accept  local, custom_result mine local' })
})

test.each(['', 'two words', 'a/b', 'x'.repeat(65), '.hidden'])('an agent is not called %j', (name) => {
  expect(() => defineAgent({ name, run: () => undefined })).toThrow('1 to 64')
})

describe('several listeners', () => {
  test('serve the same sessions', async () => {
    const free = createServer().listen(0, '127.0.0.1')
    await once(free, 'listening')
    const { port } = free.address() as AddressInfo
    free.close()
    await once(free, 'close')
    const { url } = await start({ listeners: [{ port: 0 }, { port }] })
    const made = await ask(url, 'POST', '/v1/sessions', { title: 'shared' })
    expect((await ask(`http://127.0.0.1:${port}`, 'GET', `/v1/sessions/${made.json.id}`)).json.session.title).toBe('shared')
  })

  test('that cannot be had stop the start, unless they are optional', async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port } = taken.address() as AddressInfo
    try {
      await expect(startTestServer({ listeners: [{ port: 0 }, { port }] })).rejects.toThrow('EADDRINUSE')
      await expect(startTestServer({ listeners: [{ port, optional: true }] })).rejects.toThrow('none of the addresses')
      const { url } = await start({ listeners: [{ port: 0 }, { port, optional: true }] })
      expect((await ask(url, 'GET', '/v1/health')).status).toBe(200)
    } finally {
      taken.close()
    }
  })

  test('that others can reach need keys', async () => {
    await expect(startTestServer({ listeners: [{ port: 0 }, { host: '0.0.0.0', port: 0 }] })).rejects.toThrow('0.0.0.0 can be reached by others')
  })
})

describe('what a tool answers', () => {
  test.each<[string, unknown, string, boolean]>([
    ['nothing', undefined, '', false],
    ['null', null, 'null', false],
    ['a number', 5, '5', false],
    ['an object', { a: [1] }, '{"a":[1]}', false],
    ['half a result', { output: 'ok' }, 'ok', false],
    ['a whole result', { output: 'no', isError: true }, 'no', true],
  ])('%s is an answer', async (_what, answer, result, isError) => {
    const odd = defineTool({ name: 'odd', description: 'x', input: z.object({}), readOnly: true, run: async () => answer as string })
    const { url } = await start({ tools: [odd] })
    const found = await run(url, 'call odd')
    expect(payload(found, 'tool_execution_completed')).toMatchObject({ result, is_error: isError })
    expect(found.at(-1)?.event).toBe('run_completed')
  })

  test('what cannot be written down is told to the model as a failure, and too much is cut', async () => {
    const ring: Record<string, unknown> = {}
    ring['self'] = ring
    const odd = defineTool({ name: 'odd', description: 'x', input: z.object({}), readOnly: true, run: async () => ring as never })
    const long = defineTool({ name: 'long', description: 'x', input: z.object({}), readOnly: true, run: async () => 'x'.repeat(100_000) })
    const { url } = await start({ tools: [odd, long] })
    expect(payload(await run(url, 'call odd'), 'tool_execution_completed')).toMatchObject({ is_error: true })
    expect(String(payload(await run(url, 'call long'), 'tool_execution_completed')?.['result']).length).toBeLessThan(50_000)
  })

  test('that never comes ends at its time, and the run goes on', async () => {
    const deaf = defineTool({
      name: 'deaf',
      description: 'x',
      input: z.object({}),
      readOnly: true,
      timeoutMs: 50,
      run: () => new Promise<string>(() => undefined),
    })
    const { url } = await start({ tools: [deaf] })
    const found = await run(url, 'call deaf')
    expect(payload(found, 'tool_execution_completed')).toMatchObject({ is_error: true, result: 'the tool was stopped after 50 ms' })
    expect(found.at(-1)?.event).toBe('run_completed')
  })
})
