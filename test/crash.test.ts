/** The real process under SIGKILL and SIGTERM: what was answered or shown stays, and runs go on. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import { ask, frames, type TestFrame } from './support/http.ts'
import { newWorld, type ServerProcess } from './support/process.ts'

// Processes are slow to start on a busy machine.
vi.setConfig({ testTimeout: 60_000 })

const say = (content: string, extra = {}) => ({ message: { role: 'user', content }, ...extra })
const ALLOWED = { overrides: { auto_approve: 'all' } }

async function newSession(url: string, extra = {}): Promise<string> {
  return (await ask(url, 'POST', '/v1/sessions', { title: 'a session', ...extra })).json.id
}

async function send(url: string, id: string, content: string, extra = {}): Promise<{ run_id: string }> {
  const sent = await ask(url, 'POST', `/v1/sessions/${id}/messages`, say(content, extra))
  expect(sent.status).toBe(200)
  return sent.json
}

const eventsOf = (url: string, id: string, query: string) => `${url}/v1/sessions/${id}/events?${query}`
/** The whole log of a session whose run ends. */
const wholeLog = (url: string, id: string) => frames(eventsOf(url, id, 'after=0&events=all&until=run_end'))
const named = (list: readonly TestFrame[], name: string) => list.filter(({ event }) => event === name)
const payload = (frame: TestFrame | undefined) => Object.values(frame?.data.event ?? {})[0] as Record<string, unknown>

/** Reads a stream as far as it goes, and keeps what was shown when it breaks. */
function watch(url: string, onFrame: (frame: TestFrame) => void = () => undefined): { readonly shown: TestFrame[]; readonly over: Promise<void> } {
  const shown: TestFrame[] = []
  const see = (frame: TestFrame) => {
    shown.push(frame)
    onFrame(frame)
    return false
  }
  const over = frames(url, {}, see).then(
    () => undefined,
    () => undefined,
  )
  return { shown, over }
}

describe('P1: what was answered with 2xx is there after a kill the instant after the answer', () => {
  test('a session, its change, its message and its end, each under its idempotency key (P7)', async () => {
    const world = newWorld({ models: { demoPaceMs: 10_000 } })
    let server = await world.serve()
    /** Sends, kills, starts again; answers what was said. */
    const sendAndKill = async (method: string, path: string, body: unknown, key: string) => {
      const headers = { 'idempotency-key': key, 'content-type': 'application/json' }
      const response = await fetch(`${server.url}${path}`, { method, headers, ...(body === undefined ? {} : { body: JSON.stringify(body) }) })
      const killed = server.kill('SIGKILL')
      const { status } = response
      // The head has come; the kill must not need the body.
      const text = await response.text().catch(() => '')
      await killed
      server = await world.serve({ port: server.port })
      return { status, text, again: await ask(server.url, method, path, body, { 'idempotency-key': key }) }
    }
    const made = await sendAndKill('POST', '/v1/sessions', { title: 'first' }, 'k1')
    expect(made.status).toBe(201)
    expect(made.again.headers.get('idempotency-replayed')).toBe('true')
    const id: string = made.again.json.id
    expect((await ask(server.url, 'GET', '/v1/sessions')).json).toMatchObject({ total: 1, sessions: [{ id, title: 'first' }] })

    expect(await sendAndKill('PATCH', `/v1/sessions/${id}`, { title: 'second' }, 'k2')).toMatchObject({ status: 200 })
    expect((await ask(server.url, 'GET', `/v1/sessions/${id}`)).json.session.title).toBe('second')

    const sent = await sendAndKill('POST', `/v1/sessions/${id}/messages`, say('hello'), 'k3')
    expect(sent.status).toBe(200)
    expect(sent.again.headers.get('idempotency-replayed')).toBe('true')
    const { messages, total } = (await ask(server.url, 'GET', `/v1/sessions/${id}/messages`)).json
    expect([total, messages[0].content]).toEqual([1, 'hello'])
    const { run_status } = (await ask(server.url, 'GET', `/v1/sessions/${id}`)).json.session
    expect(run_status).toMatchObject({ state: 'running', run_id: sent.again.json.run_id })

    expect(await sendAndKill('POST', `/v1/sessions/${id}/cancel`, { run_id: run_status.run_id }, 'k4')).toMatchObject({ status: 200 })
    const ends = named(await wholeLog(server.url, id), 'run_completed')
    expect(ends.map((end) => payload(end)['stop_reason'])).toEqual(['cancelled'])

    expect(await sendAndKill('DELETE', `/v1/sessions/${id}`, undefined, 'k5')).toMatchObject({ status: 204 })
    expect((await ask(server.url, 'GET', '/v1/sessions')).json.total).toBe(0)
  })
})

/** A plain generator (mulberry32), so that a seed gives the same rounds. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

describe('P2, P3, P5, P6: a kill at any moment', () => {
  const SEED = Number(process.env['CONVOKE_TEST_SEED'] ?? 20_260_101)
  const ROUNDS = 10
  const WORK = [
    ['count to 60', {}],
    ['run echo one >> ran and run echo two >> ran', ALLOWED],
    ['write a.txt: hello then read a.txt then todo: one, two', ALLOWED],
  ] as const

  test(`takes back nothing that was shown, and every run ends once (${ROUNDS} rounds, seed ${SEED})`, async () => {
    const chance = random(SEED)
    const world = newWorld({ models: { demoPaceMs: 2 } })
    let server = await world.serve()
    for (let round = 1; round <= ROUNDS; round++) {
      const ids = await Promise.all(WORK.map(() => newSession(server.url)))
      // Many frames, few or none: the kill hits starts, model calls, tools and ends.
      let left = Math.floor(chance() ** 2 * 150)
      let killed: Promise<unknown> | undefined
      const victim = server
      const count = () => {
        if (left-- <= 0) killed ??= victim.kill('SIGKILL')
      }
      const readers = ids.map((id) => watch(eventsOf(victim.url, id, 'after=0&events=all'), count))
      const contract = ids.map((id) => watch(eventsOf(victim.url, id, 'after=0')))
      const answered = await Promise.all(WORK.map(([content, extra], index) => send(victim.url, ids[index]!, content, extra).catch(() => undefined)))
      const ends = Promise.all(ids.map((id) => wholeLog(victim.url, id).catch(() => undefined)))
      await ends
      await (killed ?? victim.kill('SIGKILL'))
      await Promise.all([...readers, ...contract].map(({ over }) => over))
      server = await world.serve({ port: victim.port })
      for (const [index, id] of ids.entries()) {
        const where = `round ${round}, session ${index + 1}, seed ${SEED}`
        const before = readers[index]!.shown
        if (answered[index] === undefined && named(before, 'run_started').length === 0) continue
        const whole = await wholeLog(server.url, id)
        expect(
          whole.map(({ data }) => data.id),
          where,
        ).toEqual(whole.map((_, position) => position + 1))
        expect(whole.slice(0, before.length), where).toEqual(before)
        if (before.length < whole.length) {
          const rest = await frames(eventsOf(server.url, id, `after=${before.length}&events=all`), {}, ({ data }) => data.id === whole.length)
          expect([...before, ...rest], where).toEqual(whole)
        }
        const shown = contract[index]!.shown
        expect(
          whole.filter(({ id: position }) => shown.some((frame) => frame.id === position)),
          where,
        ).toEqual(shown)
        expect([...named(whole, 'run_completed'), ...named(whole, 'run_error')].length, where).toBe(1)
        expectStepsOnce(whole, where)
      }
    }
  })

  /** No finished step is done again, and no call is begun twice unless that is safe: each turn says its text once. */
  function expectStepsOnce(whole: readonly TestFrame[], where: string): void {
    const callsOf = (name: string) => named(whole, name).map(payload)
    const once = [
      callsOf('tool_execution_completed'),
      // Of what cannot be taken back.
      callsOf('tool_execution_started').filter((call) => call['tool_name'] === 'bash'),
    ]
    for (const calls of once) expect(new Set(calls.map((call) => call['tool_call_id'])).size, where).toBe(calls.length)
    const turns = named(whole, 'turn_completed').map((frame) => payload(frame)['turn'])
    expect(turns, where).toEqual(turns.map((_, index) => index + 1))
    // An answer that was complete, but not closed by its turn's end, was cut off all the same: it is made again, and says from where.
    const cuts = named(whole, 'retry_attempt').map((frame) => ({ from: Number(payload(frame)['superseded_from']), at: Number(frame.id) }))
    const counted = named(whole, 'text_complete').filter(({ id }) => !cuts.some(({ from, at }) => Number(id) >= from && Number(id) < at))
    expect(counted.length, where).toBe(turns.length)
  }
})

describe('P5: a run goes on after a kill', () => {
  test('while it waits for an approval: the question stands, and is answered once', async () => {
    const world = newWorld()
    const first = await world.serve()
    const id = await newSession(first.url, { cwd: world.cwd })
    const { run_id } = await send(first.url, id, 'run echo done >> made')
    await frames(eventsOf(first.url, id, 'after=0'), {}, ({ event }) => event === 'waiting_for_tool_approval')
    await first.kill('SIGKILL')
    const { url } = await world.serve({ port: first.port })
    const pending = (await ask(url, 'GET', `/v1/sessions/${id}/tools/pending`)).json
    expect(pending).toMatchObject({ run_id, tool_calls: [{ name: 'bash', arguments: { command: 'echo done >> made' } }] })
    expect(existsSync(join(world.cwd, 'made'))).toBe(false)
    const decide = () => ask(url, 'POST', `/v1/sessions/${id}/tools/${pending.tool_calls[0].id}/decision`, { run_id, action: 'accept' })
    expect((await decide()).status).toBe(200)
    const whole = await wholeLog(url, id)
    expect((await decide()).status).toBe(200)
    expect(readFileSync(join(world.cwd, 'made'), 'utf8')).toBe('done\n')
    expect(named(whole, 'waiting_for_tool_approval')).toHaveLength(1)
    expect(named(whole, 'run_completed').map((frame) => payload(frame)['stop_reason'])).toEqual(['completed'])
  })

  test('in the middle of a command: its whole group dies, it is not run again, and the model is told that the outcome is unknown', async () => {
    const world = newWorld()
    const first = await world.serve()
    const id = await newSession(first.url, { cwd: world.cwd })
    await send(first.url, id, 'run echo $$ >> ran; sleep 300 & echo $! > child; wait', ALLOWED)
    const child = join(world.cwd, 'child')
    await vi.waitFor(() => expect(existsSync(child) && readFileSync(child, 'utf8')).toMatch(/\d+\n/), { timeout: 20_000 })
    const pids = [join(world.cwd, 'ran'), child].map((file) => Number(readFileSync(file, 'utf8')))
    await first.kill('SIGKILL')
    for (const pid of pids) await vi.waitFor(() => expect(isAlive(pid)).toBe(false), { timeout: 10_000 })
    const { url } = await world.serve({ port: first.port })
    const whole = await wholeLog(url, id)
    const results = named(whole, 'tool_execution_completed').map(payload)
    expect(results).toEqual([expect.objectContaining({ tool_name: 'bash', is_error: true, result: expect.stringMatching(/outcome.*unknown/i) as unknown })])
    expect(readFileSync(join(world.cwd, 'ran'), 'utf8').split('\n')).toHaveLength(2)
    const said = named(whole, 'text_complete').map((frame) => payload(frame)['text'])
    expect(said.at(-1)).toMatch(/bash did not work/)
    expect(named(whole, 'run_completed')).toHaveLength(1)
  })

  test('in the middle of an answer: what was cut off is marked, and the answer begins anew', async () => {
    const world = newWorld({ models: { demoPaceMs: 5 } })
    const first = await world.serve()
    const id = await newSession(first.url)
    await send(first.url, id, 'count to 40')
    await frames(eventsOf(first.url, id, 'after=0'), {}, ({ data }) => data.event.TextDelta?.delta === ' 12')
    await first.kill('SIGKILL')
    const { url } = await world.serve({ port: first.port })
    const whole = await wholeLog(url, id)
    const marks = named(whole, 'retry_attempt').map(payload)
    expect(marks).toEqual([expect.objectContaining({ attempt: 1, delay_ms: 0, superseded_from: expect.any(Number) as unknown })])
    const from = whole.findIndex(({ event }) => event === 'retry_attempt')
    const text = (list: readonly TestFrame[]) => named(list, 'text_delta').map((frame) => payload(frame)['delta'])
    const numbers = Array.from({ length: 40 }, (_, index) => index + 1).join(' ')
    expect(text(whole.slice(from)).join('')).toBe(numbers)
    expect(numbers.startsWith(text(whole.slice(0, from)).join(''))).toBe(true)
    expect(whole[Number(marks[0]?.['superseded_from']) - 1]?.event).toBe('thinking_delta')
  })

  test('that brings the server down again and again: it ends as failed, once', async () => {
    const world = newWorld({ models: { demoPaceMs: 10_000 } })
    let server: ServerProcess = await world.serve()
    const id = await newSession(server.url)
    await send(server.url, id, 'hello')
    for (let crash = 1; crash <= 4; crash++) {
      await server.kill('SIGKILL')
      server = await world.serve({ port: server.port })
      let claims = 0
      await frames(eventsOf(server.url, id, 'after=0&events=all'), {}, ({ event }) => event === 'run_claimed' && ++claims === crash)
    }
    const whole = await wholeLog(server.url, id)
    expect(named(whole, 'run_error').map((frame) => payload(frame)['code'])).toEqual(['crash_loop'])
    expect((await ask(server.url, 'GET', `/v1/sessions/${id}`)).json).toMatchObject({ session: { run_status: { state: 'failed' } } })
  })
})

/** Whether a process runs; a zombie does not. */
function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return !stat.slice(stat.lastIndexOf(')') + 2).startsWith('Z')
  } catch {
    // It has no entry: it is gone.
    return false
  }
}

describe('P14: SIGTERM', () => {
  const SHUTDOWN_MS = 500

  test.each<[string, string, object, string]>([
    ['in the middle of an answer that is too long', 'count to 5000', {}, 'text_delta'],
    ['in the middle of a command', 'run sleep 300', ALLOWED, 'tool_execution_started'],
    ['while a run waits for an approval', 'run echo made > made', {}, 'waiting_for_tool_approval'],
  ])('%s: streams are told, the exit code is 0, and the run is there afterwards', async (_when, content, extra, until) => {
    const world = newWorld({ models: { demoPaceMs: 5 }, shutdownMs: SHUTDOWN_MS })
    const first = await world.serve()
    const id = await newSession(first.url)
    const { run_id } = await send(first.url, id, content, extra)
    await frames(eventsOf(first.url, id, 'after=0'), {}, ({ event }) => event === until)
    const reader = watch(eventsOf(first.url, id, 'after=0&events=all'))
    const beganMs = performance.now()
    expect(await first.kill('SIGTERM')).toMatchObject({ code: 0, signal: null })
    // The deadline, the grace for open answers, and room for a busy machine.
    expect(performance.now() - beganMs).toBeLessThan(SHUTDOWN_MS + 2000 + 3000)
    await reader.over
    const { url } = await world.serve({ port: first.port })
    const { session } = (await ask(url, 'GET', `/v1/sessions/${id}`)).json
    if (until !== 'tool_execution_started') expect(session.run_status).toMatchObject({ run_id })
    const log = await frames(eventsOf(url, id, 'after=0&events=all'), {}, ({ data }) => data.id >= reader.shown.length)
    expect(log.slice(0, reader.shown.length)).toEqual(reader.shown)
    if (until === 'waiting_for_tool_approval') expect((await ask(url, 'GET', `/v1/sessions/${id}/tools/pending`)).json.run_id).toBe(run_id)
  })

  test('lets a step come to its end within the deadline, and the run goes on from there', async () => {
    const world = newWorld({ models: { demoPaceMs: 5 }, shutdownMs: 2000 })
    const first = await world.serve()
    const id = await newSession(first.url)
    await send(first.url, id, 'run sleep 0.3; echo finished then run echo second', ALLOWED)
    await frames(eventsOf(first.url, id, 'after=0'), {}, ({ event }) => event === 'tool_execution_started')
    expect(await first.kill('SIGTERM')).toMatchObject({ code: 0 })
    const { url } = await world.serve({ port: first.port })
    const whole = await wholeLog(url, id)
    expect(named(whole, 'tool_execution_completed').map((frame) => payload(frame)['result'])).toEqual(['finished', 'second'])
    expect(named(whole, 'run_completed').map((frame) => payload(frame)['stop_reason'])).toEqual(['completed'])
  })

  test('twice ends at once', async () => {
    const world = newWorld({ models: { demoPaceMs: 5 }, shutdownMs: 40_000 })
    const server = await world.serve()
    const id = await newSession(server.url)
    await send(server.url, id, 'run sleep 300', ALLOWED)
    await frames(eventsOf(server.url, id, 'after=0'), {}, ({ event }) => event === 'tool_execution_started')
    const reader = watch(eventsOf(server.url, id, 'after=0'))
    server.signal('SIGTERM')
    // The first one was taken when the streams have been told.
    await reader.over
    expect(await server.kill('SIGTERM')).toMatchObject({ code: 130 })
  })
})
