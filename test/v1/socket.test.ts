/** Commands over a socket: each is answered once, by the position that it reached or by an error, under its ref. */
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { StreamEvent } from '../../src/domain/event.ts'
import { messageId } from '../../src/domain/ids.ts'
import { ask } from '../support/http.ts'
import { openSocket, type TestSocket } from '../support/socket.ts'
import { deltas, openSurface, type DrivenRun, type Surface } from '../support/surface.ts'

const BODY_MAX = 64 * 1024
const UNKNOWN = '01900000-0000-7000-8000-ffffffffffff'
let surface: Surface
beforeAll(async () => void (surface = await openSurface({ bodyBytesMax: BODY_MAX })))
afterAll(() => surface.close())

const opened: TestSocket[] = []
const open = async (session: string, query = '', options = {}) => {
  const one = await openSocket(surface.url, `/v1/sessions/${session}/ws${query}`, {}, options)
  opened.push(one)
  return one
}
afterEach(async () => {
  for (const { socket } of opened.splice(0)) socket.terminate()
  expect((await ask(surface.url, 'GET', '/v1/health')).status).toBe(200)
  expect(surface.errors).toEqual([])
})

const message = { role: 'user', content: 'hello' }
const head = async (session: string) => (await ask(surface.url, 'GET', `/v1/sessions/${session}`)).json.position
/** A run that waits for an answer to the calls c1 and c2. */
async function asking(): Promise<DrivenRun> {
  const run = await surface.run(await surface.session())
  const calls = ['c1', 'c2'].map((id) => ({ id, name: 'bash', arguments: {}, disposition: 'ask' as const }))
  const events: StreamEvent[] = [
    { type: 'TurnStarted', runId: run.id, turn: 1, attempt: 1, model: 'demo/convoke' },
    { type: 'MessageAdded', messageId: messageId(UNKNOWN), runId: run.id, message: { role: 'assistant', content: 'two calls' } },
    { type: 'ToolCallsProposed', runId: run.id, turn: 1, calls },
    { type: 'ApprovalRequested', runId: run.id, toolCallIds: ['c1', 'c2'] },
  ]
  await surface.record(run, events)
  return run
}

describe('a message', () => {
  test('starts a run; its ack carries the position that the event stream shows', async () => {
    const session = await surface.session()
    const one = await open(session, '?events=all')
    expect(await one.command({ type: 'message', message })).toMatchObject({ type: 'ack', position: 3 })
    expect(await one.until(({ name }) => name === 'message_added')).toMatchObject({ type: 'event', id: 3, event: { MessageAdded: { message } } })
    expect(await head(session)).toBe(3)
  })

  test.each([
    ['steering', 'steer'],
    ['follow_up', 'follow_up'],
  ])('of the kind %s joins the run that it names', async (kind, delivery) => {
    const run = await surface.run(await surface.session())
    const one = await open(run.session, '?events=all')
    const ack = await one.command({ type: 'message', kind, run_id: run.id, message })
    expect(ack).toMatchObject({ type: 'ack', position: 4 })
    const queued = await one.until(({ name }) => name === 'message_queued')
    expect(queued.event.MessageQueued).toMatchObject({ delivery, message })
  })

  test('waits behind a run where that was asked for', async () => {
    const run = await surface.run(await surface.session())
    const one = await open(run.session)
    expect(await one.command({ type: 'message', when_busy: 'enqueue', message })).toMatchObject({ type: 'ack', position: 4 })
  })
})

describe('a decision', () => {
  test('of one call, and of several at once, is acknowledged; repeating it changes nothing', async () => {
    const run = await asking()
    const one = await open(run.session)
    const before = await head(run.session)
    expect(await one.command({ type: 'decision', run_id: run.id, tool_call_id: 'c1', action: 'accept' })).toMatchObject({ type: 'ack', position: before + 1 })
    const both = { type: 'decision', run_id: run.id, decisions: { c1: { action: 'accept' }, c2: { action: 'custom_result', content: 'mine' } } }
    expect(await one.command(both)).toMatchObject({ type: 'ack', position: before + 2 })
    expect(await one.command(both)).toMatchObject({ type: 'ack', position: before + 2 })
  })

  test.each([
    ['the opposite of one that stands', { tool_call_id: 'c1', action: 'reject' }, 'decision_conflict'],
    ['of a call that is not there', { tool_call_id: 'c9', action: 'accept' }, 'tool_call_not_found'],
    ['with its own result, without that result', { tool_call_id: 'c2', action: 'custom_result' }, 'invalid_request'],
    ['of another run', { run_id: UNKNOWN, tool_call_id: 'c2', action: 'accept' }, 'run_mismatch'],
    ['without an action', { tool_call_id: 'c2' }, 'invalid_body'],
    ['without a call', { action: 'accept' }, 'invalid_body'],
    ['of nothing', {}, 'invalid_body'],
  ])('%s is refused', async (_what, change, code) => {
    const run = await asking()
    const one = await open(run.session)
    await one.command({ type: 'decision', run_id: run.id, tool_call_id: 'c1', action: 'accept' })
    const before = await head(run.session)
    expect(await one.command({ type: 'decision', run_id: run.id, ...change })).toMatchObject({ type: 'error', code })
    expect(await head(run.session)).toBe(before)
  })
})

describe('a cancel', () => {
  test('is acknowledged, twice the same, and its end is seen', async () => {
    const run = await asking()
    const one = await open(run.session)
    const first = await one.command({ type: 'cancel', run_id: run.id.toUpperCase() })
    expect(first).toMatchObject({ type: 'ack', position: await head(run.session) })
    expect((await one.until(({ name }) => name === 'run_completed')).event.RunCompleted).toMatchObject({ run_id: run.id, stop_reason: 'cancelled' })
    expect(await one.command({ type: 'cancel', run_id: run.id })).toMatchObject({ type: 'ack', position: first.position })
  })
})

describe('a frame that is no command', () => {
  const nested = (depth: number) =>
    `{"type":"message","message":{"role":"user","content":"x","provider_options":${'{"a":'.repeat(depth)}1${'}'.repeat(depth)}}}`
  test.each([
    ['nothing', '', null, 'invalid_json'],
    ['no JSON', '{"type":', null, 'invalid_json'],
    ['two values', '{}{}', null, 'invalid_json'],
    ['a number', '7', null, 'invalid_body'],
    ['null', 'null', null, 'invalid_body'],
    ['a list', '[{"type":"cancel"}]', null, 'invalid_body'],
    ['no type', '{"ref":1}', 1, 'invalid_body'],
    ['an unknown type', '{"type":"fly","ref":"a"}', 'a', 'invalid_body'],
    ['a type of the server', '{"type":"ack","ref":"b","position":1}', 'b', 'invalid_body'],
    ['a ref that is an object', '{"type":"fly","ref":{}}', null, 'invalid_body'],
    ['a ref that is too long', JSON.stringify({ type: 'cancel', run_id: UNKNOWN, ref: 'x'.repeat(201) }), null, 'invalid_body'],
    ['an empty message', '{"type":"message","ref":"c"}', 'c', 'invalid_body'],
    ['the message of another role', '{"type":"message","ref":"d","message":{"role":"assistant","content":"x"}}', 'd', 'invalid_message_role'],
    ['overrides that cannot be', '{"type":"message","ref":"e","message":{"role":"user","content":"x"},"overrides":{"max_turns":0}}', 'e', 'invalid_overrides'],
    ['an unknown model', '{"type":"message","ref":"f","message":{"role":"user","content":"x"},"model":"nobody/none"}', 'f', 'invalid_model'],
    ['a sandbox that is not there', '{"type":"message","ref":"g","message":{"role":"user","content":"x"},"sandbox":true}', 'g', 'sandbox_unavailable'],
    ['a cancel without a run', `{"type":"cancel","ref":"h","run_id":"${UNKNOWN}"}`, 'h', 'session_not_running'],
    ['a cancel of no id', '{"type":"cancel","ref":"i","run_id":"x"}', 'i', 'invalid_body'],
    ['a resume beyond the head', '{"type":"resume","ref":"j","after":99}', 'j', 'invalid_cursor'],
    ['a resume before the beginning', '{"type":"resume","ref":"k","after":-1}', 'k', 'invalid_body'],
    ['a resume in between', '{"type":"resume","ref":"l","after":0.5}', 'l', 'invalid_body'],
    ['a resume after more than a number holds', '{"type":"resume","ref":"m","after":1e300}', 'm', 'invalid_body'],
    ['one nested a little deep', nested(70), null, 'invalid_json'],
    ['one nested as deep as its size allows', nested(9000), null, 'invalid_json'],
  ])('%s is answered with its code, and the socket goes on', async (_what, text, ref, code) => {
    const one = await open(await surface.session())
    one.say(text)
    expect(await one.until(({ type }) => type === 'error')).toEqual({ type: 'error', ref, code, error: expect.any(String) })
    expect(await one.command({ type: 'resume', after: 0 })).toMatchObject({ type: 'ack', position: 0 })
  })

  test('a binary one is answered so', async () => {
    const one = await open(await surface.session())
    one.say(Buffer.from('{"type":"resume","after":0,"ref":1}'))
    expect(await one.until(() => true)).toMatchObject({ type: 'error', ref: null, code: 'invalid_request' })
  })

  test('one that is too large closes the socket with 1009, one of the limit does not', async () => {
    const one = await open(await surface.session())
    one.say('x'.repeat(BODY_MAX))
    expect(await one.until(() => true)).toMatchObject({ type: 'error', code: 'invalid_json' })
    one.say('x'.repeat(100 * BODY_MAX))
    expect((await one.closed).code).toBe(1009)
  })

  test('one that announces gigabytes closes the socket before they come', async () => {
    const one = await open(await surface.session())
    // Final text frame, masked, with a length in eight bytes: 2^40.
    const { _socket: bytes } = one.socket as unknown as { _socket: import('node:net').Socket }
    bytes.write(Buffer.from([0x81, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4]))
    expect((await one.closed).code).toBe(1009)
  })

  test('text that is no UTF-8 closes the socket with 1007', async () => {
    const one = await open(await surface.session())
    one.socket.send(Buffer.from([0x7b, 0xff, 0xfe, 0x7d]), { binary: false })
    expect((await one.closed).code).toBe(1007)
  })

  test('a frame that breaks the protocol closes the socket with 1002', async () => {
    const one = await open(await surface.session())
    const { _socket: bytes } = one.socket as unknown as { _socket: import('node:net').Socket }
    bytes.write(Buffer.from([0xf1, 0x80, 1, 2, 3, 4]))
    expect((await one.closed).code).toBe(1002)
  })
})

describe('a socket', () => {
  test('answers each of very many commands once: what is too much at once is refused as such', async () => {
    const one = await open(await surface.session())
    const answers = await Promise.all(Array.from({ length: 300 }, () => one.command({ type: 'cancel', run_id: UNKNOWN })))
    expect(new Set(answers.map(({ ref }) => ref)).size).toBe(300)
    for (const { type, code } of answers) expect([type, ['session_not_running', 'overloaded'].includes(code)]).toEqual(['error', true])
    expect(one.messages).toHaveLength(300)
  })

  test('stops listening to a peer that floods it and never reads the answers', async () => {
    const one = await open(await surface.session())
    const { _socket: bytes } = one.socket as unknown as { _socket: import('node:net').Socket }
    one.socket.pause()
    const before = process.memoryUsage().arrayBuffers
    // A million empty binary frames of six bytes; each would be answered with some seventy.
    bytes.write(Buffer.alloc(6_000_000, Buffer.from([0x82, 0x80, 0, 0, 0, 0])))
    for (let turns = 0; turns < 1500; turns++) await new Promise((resolve) => setImmediate(resolve))
    expect(bytes.writableLength).toBeGreaterThan(0)
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(30_000_000)
    expect((await ask(surface.url, 'GET', '/v1/health')).status).toBe(200)
  })

  test('is asked whether it is there every 25 s, and is dropped when it does not say so', async () => {
    const session = await surface.session()
    const [alive, dead] = await Promise.all([open(session), open(session, '', { autoPong: false })])
    let pings = 0
    dead.socket.on('ping', () => pings++)
    for (let rounds = 0; rounds < 3; rounds++) {
      const pinged = new Promise((resolve) => alive.socket.once('ping', resolve))
      if (rounds < 2) {
        surface.clock.advance(25_000)
        await pinged
        await alive.command({ type: 'resume', after: 0 })
      }
    }
    expect(pings).toBe(2)
    surface.clock.advance(25_000)
    expect((await dead.closed).code).toBe(1006)
    expect(alive.socket.readyState).toBe(alive.socket.OPEN)
  })

  test('gets a sign of life every 15 s', async () => {
    const one = await open(await surface.session())
    await one.command({ type: 'resume', after: 1 })
    surface.clock.advance(15_000)
    expect(await one.until(({ type }) => type === 'keepalive')).toEqual({ type: 'keepalive' })
  })

  test('that goes away leaves no listener behind and ends no run', async () => {
    const run = await surface.run(await surface.session())
    const many = await Promise.all(Array.from({ length: 10 }, () => open(run.session)))
    for (const [index, { socket }] of many.entries()) socket[index % 2 === 0 ? 'terminate' : 'close']()
    await Promise.all(many.map(({ closed }) => closed))
    while (surface.hub.listenerCount > 0 || surface.context.streams.size > 0) await new Promise((resolve) => setImmediate(resolve))
    await surface.record(run, deltas(run, 1))
    expect((await ask(surface.url, 'GET', `/v1/sessions/${run.session}`)).json.session.run_status).toMatchObject({ run_id: run.id })
  })

  test('is told when the server stops', async () => {
    const other = await openSurface()
    const one = await openSocket(other.url, `/v1/sessions/${await other.session()}/ws`)
    const [end] = await Promise.all([one.closed, other.close()])
    expect(end).toEqual({ code: 1012, reason: 'the server stops' })
  })
})
