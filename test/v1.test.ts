import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ask, frames } from './support/http.ts'
import { startTestServer, type TestServer } from './support/server.ts'

let server: TestServer
beforeAll(async () => void (server = await startTestServer()))
afterAll(() => server.close())

const post = (path: string, body: unknown, headers = {}) => ask(server.url, 'POST', path, body, headers)
const get = (path: string, headers = {}) => ask(server.url, 'GET', path, undefined, headers)
const say = (content: string, extra = {}) => ({ message: { role: 'user', content }, ...extra })

async function newSession(title = 'a session'): Promise<string> {
  return (await post('/v1/sessions', { title })).json.id
}

/** Says something and waits for the end of its run. */
async function runToEnd(id: string, content: string, extra = {}) {
  const sent = await post(`/v1/sessions/${id}/messages`, say(content, extra))
  expect(sent.status).toBe(200)
  return frames(`${server.url}/v1/sessions/${id}/events?after=${sent.json.position - 2}&until=run_end`)
}

describe('a session', () => {
  test('is created, read, listed, changed and deleted', async () => {
    const made = await post('/v1/sessions', { title: 'first' })
    expect(made.status).toBe(201)
    expect(made.headers.get('location')).toBe(`/v1/sessions/${made.json.id}`)
    expect(made.json).toMatchObject({ title: 'first', cwd: null, run_status: { state: 'idle' } })
    const one = await get(`/v1/sessions/${made.json.id}`)
    expect(one.json).toEqual({ session: made.json, config: { default_model: 'demo/convoke', auto_approve_mode: 'custom' }, position: 1, run_position: null })
    expect((await get('/v1/sessions?search=FIRST')).json).toMatchObject({ total: 1, sessions: [{ id: made.json.id }] })
    const changed = await ask(server.url, 'PATCH', `/v1/sessions/${made.json.id}`, { title: 'second' })
    expect(changed.json.session.title).toBe('second')
    expect((await ask(server.url, 'DELETE', `/v1/sessions/${made.json.id}`)).status).toBe(204)
    expect((await ask(server.url, 'DELETE', `/v1/sessions/${made.json.id}`)).status).toBe(204)
    expect((await get('/v1/sessions?search=second')).json.total).toBe(0)
    expect((await get('/v1/sessions?search=second&status=deleted')).json.total).toBe(1)
    expect((await post(`/v1/sessions/${made.json.id}/messages`, say('hi'))).json.code).toBe('session_deleted')
  })

  test('is paged by cursor without overlap', async () => {
    for (let index = 0; index < 5; index++) await newSession(`page ${index}`)
    const seen: string[] = []
    for (let cursor = ''; ;) {
      const page = (await get(`/v1/sessions?search=page&limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`)).json
      expect(page.total).toBe(5)
      seen.push(...page.sessions.map((row: { id: string }) => row.id))
      if (page.next_cursor === null) break
      cursor = page.next_cursor
    }
    expect(new Set(seen).size).toBe(5)
    expect(seen).toHaveLength(5)
  })
})

describe('a run', () => {
  test('streams the contract’s events in order, each with its position, and ends once', async () => {
    const id = await newSession()
    const found = await runToEnd(id, 'hello you')
    const names = found.map(({ event }) => event)
    expect(names[0]).toBe('run_started')
    expect(names[1]).toBe('turn_started')
    expect(names.slice(-4)).toEqual(['text_complete', 'usage_report', 'turn_completed', 'run_completed'])
    expect(
      found
        .filter(({ event }) => event === 'text_delta')
        .map(({ data }) => data.event.TextDelta.delta)
        .join(''),
    ).toContain('You said: hello you')
    const positions = found.map(({ data }) => data.id)
    expect(positions).toEqual([...positions].sort((a, b) => a - b))
    expect(found.every(({ id: frame, data }) => frame === String(data.id))).toBe(true)
  })

  test('shows every stored event without a hole under events=all', async () => {
    const id = await newSession()
    await runToEnd(id, 'hello')
    const all = await frames(`${server.url}/v1/sessions/${id}/events?after=0&events=all&until=run_end`)
    expect(all.map(({ data }) => data.id)).toEqual(all.map((_, index) => index + 1))
    expect(all[0]?.event).toBe('session_created')
  })

  test('asks before it writes, goes on when it is allowed, and is idle when its end is seen', async () => {
    const id = await newSession()
    const sent = (await post(`/v1/sessions/${id}/messages`, say('write notes.txt: hello'))).json
    const asked = await frames(`${server.url}/v1/sessions/${id}/events?after=0`, {}, ({ event }) => event === 'waiting_for_tool_approval')
    const [callId] = asked.at(-1)!.data.event.WaitingForToolApproval.pending_tool_call_ids
    const pending = (await get(`/v1/sessions/${id}/tools/pending`)).json
    expect(pending).toMatchObject({ run_id: sent.run_id, tool_calls: [{ id: callId, name: 'write', arguments: { path: 'notes.txt' } }] })
    const decision = { run_id: sent.run_id, action: 'accept' }
    expect((await post(`/v1/sessions/${id}/tools/${callId}/decision`, decision)).json).toMatchObject({ accepted: true })
    const after = await frames(`${server.url}/v1/sessions/${id}/events?after=${asked.at(-1)?.id}&until=run_end`)
    expect(after.map(({ event }) => event)).toContain('tool_execution_completed')
    expect((await get(`/v1/sessions/${id}`)).json.session.run_status).toEqual({ state: 'idle' })
    expect((await post(`/v1/sessions/${id}/tools/${callId}/decision`, decision)).status).toBe(200)
    expect((await post(`/v1/sessions/${id}/tools/${callId}/decision`, { ...decision, action: 'reject' })).json.code).toBe('decision_conflict')
    const roles = (await get(`/v1/sessions/${id}/messages`)).json.messages.map((message: { role: string }) => message.role)
    expect(roles).toEqual(['user', 'assistant', 'tool', 'assistant'])
  })

  test('that waits is cancelled by the cancel itself', async () => {
    const id = await newSession()
    const sent = (await post(`/v1/sessions/${id}/messages`, say('run sleep 60'))).json
    await frames(`${server.url}/v1/sessions/${id}/events?after=0`, {}, ({ event }) => event === 'waiting_for_tool_approval')
    expect((await post(`/v1/sessions/${id}/cancel`, { run_id: sent.run_id })).json).toMatchObject({ cancelled: true, status: 'cancelled' })
    const end = (await frames(`${server.url}/v1/sessions/${id}/events?after=0&until=run_end`)).at(-1)
    expect(end?.data.event.RunCompleted).toMatchObject({ stop_reason: 'cancelled' })
  })

  test('that runs a command is cancelled with it', async () => {
    const id = await newSession()
    const sent = (await post(`/v1/sessions/${id}/messages`, say('run sleep 60', { overrides: { auto_approve: 'all' } }))).json
    await frames(`${server.url}/v1/sessions/${id}/events?after=0`, {}, ({ event }) => event === 'tool_execution_started')
    expect((await post(`/v1/sessions/${id}/cancel`, { run_id: sent.run_id })).json.status).toBe('cancelling')
    const end = (await frames(`${server.url}/v1/sessions/${id}/events?after=0&until=run_end`)).at(-1)
    expect(end?.data.event.RunCompleted).toMatchObject({ stop_reason: 'cancelled' })
  })

  test('is not started twice; a queued message is its next turn, and nothing is lost', async () => {
    const id = await newSession()
    const first = (await post(`/v1/sessions/${id}/messages`, say('run sleep 60'))).json
    await frames(`${server.url}/v1/sessions/${id}/events?after=0`, {}, ({ event }) => event === 'waiting_for_tool_approval')
    expect((await post(`/v1/sessions/${id}/messages`, say('again'))).json.code).toBe('session_already_running')
    expect((await post(`/v1/sessions/${id}/messages`, say('later', { when_busy: 'enqueue' }))).json).toMatchObject({ accepted: 'queued', run_id: first.run_id })
    const [call] = (await get(`/v1/sessions/${id}/tools/pending`)).json.tool_calls
    await post(`/v1/sessions/${id}/tools/${call.id}/decision`, { run_id: first.run_id, action: 'reject' })
    await frames(`${server.url}/v1/sessions/${id}/events?after=0&until=run_end`)
    const said = (await get(`/v1/sessions/${id}/messages`)).json.messages.filter((message: { role: string }) => message.role === 'user')
    expect(said.map((message: { content: string }) => message.content)).toEqual(['run sleep 60', 'later'])
  })
})

describe('bad input', () => {
  const unknown = '01900000-0000-7000-8000-ffffffffffff'
  test.each([
    ['GET', '/v1/nothing', undefined, 404, 'route_not_found'],
    ['PUT', '/v1/sessions', undefined, 405, 'method_not_allowed'],
    ['GET', '/v1/sessions/abc', undefined, 400, 'invalid_id'],
    ['GET', `/v1/sessions/${unknown}`, undefined, 404, 'not_found'],
    ['GET', `/v1/sessions/${unknown}/events`, undefined, 404, 'not_found'],
    ['DELETE', `/v1/sessions/${unknown}`, undefined, 404, 'not_found'],
    ['POST', '/v1/sessions', '{"title":', 400, 'invalid_json'],
    ['POST', '/v1/sessions', {}, 422, 'invalid_body'],
    ['POST', '/v1/sessions', { title: 'x', cwd: 'relative' }, 400, 'invalid_request'],
    ['POST', '/v1/sessions', { title: 'x', model: 'nobody/none' }, 400, 'invalid_model'],
    ['GET', '/v1/sessions?limit=0', undefined, 400, 'invalid_request'],
    ['GET', '/v1/sessions?cursor=zzz', undefined, 400, 'invalid_cursor'],
    ['POST', `/v1/sessions/${unknown}/messages`, { message: { role: 'user', content: 'x' } }, 404, 'not_found'],
  ])('%s %s is answered %i %s'.replace('%s is', '%s with %j is'), async (method, path, body, status, code) => {
    const answer = await ask(server.url, method, path, body)
    expect(answer.json).toMatchObject({ status, code, error: expect.any(String), request_id: answer.headers.get('x-request-id') })
    expect(answer.status).toBe(status)
    expect(answer.headers.get('content-type')).toBe('application/problem+json')
  })

  test.each([
    [{ message: { role: 'assistant', content: 'x' } }, 400, 'invalid_message_role'],
    [{ message: { role: 'user', content: 'x' }, overrides: { max_turns: 0 } }, 400, 'invalid_overrides'],
    [{ message: { role: 'user', content: 'x' }, overrides: { auto_approve: 'some' } }, 400, 'invalid_overrides'],
    [{ message: { role: 'user', content: 'x' }, model: 'nobody/none' }, 400, 'invalid_model'],
    [{ message: { role: 'user', content: 'x' }, context: [{ name: 'n'.repeat(257), content: 'c' }] }, 400, 'invalid_context'],
    [{ message: { role: 'user', content: 'x' }, sandbox: true }, 409, 'sandbox_unavailable'],
    [{ message: { role: 'user', content: 'x' }, type: 'steering' }, 409, 'run_mismatch'],
    [{ message: { role: 'user', content: 'x' }, type: 'follow_up', run_id: unknown }, 409, 'session_not_running'],
    [{ message: { role: 'user', content: 7 } }, 422, 'invalid_body'],
  ])('the message %j is refused as %i %s', async (body, status, code) => {
    const id = await newSession()
    const answer = await post(`/v1/sessions/${id}/messages`, body)
    expect([answer.status, answer.json.code]).toEqual([status, code])
    expect((await get(`/v1/sessions/${id}/messages`)).json.total).toBe(0)
  })

  test('a body over the limit is refused before it is parsed', async () => {
    const answer = await post('/v1/sessions', `{"title":"${'x'.repeat(2_100_000)}"}`)
    expect([answer.status, answer.json.code]).toEqual([413, 'payload_too_large'])
  })

  test('a body of another type is refused', async () => {
    const answer = await ask(server.url, 'POST', '/v1/sessions', 'title=x', { 'content-type': 'text/plain' })
    expect([answer.status, answer.json.code]).toEqual([415, 'unsupported_media_type'])
  })
})

describe('an idempotency key', () => {
  test('gives the first answer again, and refuses another body', async () => {
    const headers = { 'idempotency-key': 'key-1' }
    const first = await post('/v1/sessions', { title: 'once' }, headers)
    const second = await post('/v1/sessions', { title: 'once' }, headers)
    expect(second.json.id).toBe(first.json.id)
    expect(second.headers.get('idempotency-replayed')).toBe('true')
    expect((await post('/v1/sessions', { title: 'twice' }, headers)).json.code).toBe('idempotency_key_reused')
    expect((await post('/v1/sessions', { title: 'x' }, { 'idempotency-key': 'é' })).json.code).toBe('invalid_idempotency_key')
  })
})

describe('an event stream', () => {
  test('answers 204 when nothing is left to wait for', async () => {
    const id = await newSession()
    const response = await fetch(`${server.url}/v1/sessions/${id}/events?after=1&until=run_end`)
    expect(response.status).toBe(204)
  })

  test('says so when a cursor is beyond the head or of another log', async () => {
    const id = await newSession()
    const beyond = await frames(`${server.url}/v1/sessions/${id}/events?after=99`, {}, () => true)
    expect(beyond[0]).toMatchObject({ event: 'gap_detected', id: undefined, data: { requested_after_id: 99, newest_available_id: 1 } })
    const foreign = await frames(`${server.url}/v1/sessions/${id}/events?after=1&log=other`, {}, () => true)
    expect(foreign[0]?.event).toBe('gap_detected')
  })

  test('over all sessions names each, and resumes from any of its cursors without loss or repeat', async () => {
    const start = (await frames(`${server.url}/v1/events?after=0`, {}, () => true))[0]
    const [a, b] = [await newSession(), await newSession()]
    await Promise.all([runToEnd(a, 'one'), runToEnd(b, 'two')])
    const isEnd = (count: { left: number }) => (frame: { event: string | undefined }) => frame.event === 'run_completed' && --count.left === 0
    const of = (list: Awaited<ReturnType<typeof frames>>) =>
      list.filter(({ data }) => data.session_id === a || data.session_id === b).map(({ data }) => `${data.session_id}:${data.position}`)
    const ends = (await frames(`${server.url}/v1/events?after=0`, {}, ({ data }) => data.session_id === b && 'RunCompleted' in data.event)).filter(
      ({ event }) => event === 'run_completed',
    ).length
    const whole = await frames(`${server.url}/v1/events?after=0`, {}, isEnd({ left: Math.max(ends, 1) }))
    const middle = whole[Math.floor(whole.length / 2)]
    const rest = await frames(`${server.url}/v1/events`, { 'last-event-id': middle?.id ?? '' }, (frame) => frame.id === whole.at(-1)?.id)
    expect(of(rest)).toEqual(of(whole.slice(Math.floor(whole.length / 2) + 1)))
    expect(start?.id).toBeDefined()
  })
})

test('the OpenAPI document covers every route and every answer has a description', async () => {
  const document = (await get('/v1/openapi.json')).json
  expect(document.openapi).toBe('3.1.0')
  expect(Object.keys(document.paths)).toContain('/v1/sessions/{id}/events')
})
