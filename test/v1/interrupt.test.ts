/** What a session says of interruptions, on the wire: `on_interrupt`, and the answer to a run that asks. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ask } from '../support/http.ts'
import { openSurface, type DrivenRun, type Surface } from '../support/surface.ts'

let surface: Surface
beforeAll(async () => void (surface = await openSurface()))
afterAll(() => surface.close())

const send = (method: string, path: string, body?: unknown, key?: string) =>
  ask(surface.url, method, path, body, key === undefined ? {} : { 'idempotency-key': key })

/** A run in the middle of a model call, whose session asks, and which another process has claimed since. */
async function asking(): Promise<DrivenRun> {
  const run = await surface.run(await surface.session())
  await send('PATCH', `/v1/sessions/${run.session}`, { on_interrupt: 'ask' })
  await surface.record(run, [{ type: 'TurnStarted', runId: run.id, turn: 1, attempt: 1, model: 'demo/convoke' }])
  await surface.record(run, [{ type: 'ResumeRequested', runId: run.id }])
  return run
}

describe('on_interrupt', () => {
  test('is resume where nobody said otherwise, and what was said from then on', async () => {
    const plain = await send('POST', '/v1/sessions', { title: '' })
    expect(plain.json.on_interrupt).toBe('resume')
    expect((await send('POST', '/v1/sessions', { title: '', on_interrupt: null })).json.on_interrupt).toBe('resume')
    const made = await send('POST', '/v1/sessions', { title: '', on_interrupt: 'fail' })
    expect([made.status, made.json.on_interrupt]).toEqual([201, 'fail'])
    const changed = await send('PATCH', `/v1/sessions/${made.json.id}`, { on_interrupt: 'ask' })
    expect([changed.status, changed.json.session.on_interrupt]).toEqual([200, 'ask'])
    expect((await send('GET', `/v1/sessions/${made.json.id}`)).json.session.on_interrupt).toBe('ask')
    expect((await send('GET', '/v1/sessions')).json.sessions.find((one: { id: string }) => one.id === made.json.id).on_interrupt).toBe('ask')
  })

  test.each(['', 'RESUME', 'retry', 1, true])('refuses %j and changes nothing', async (value) => {
    const made = await send('POST', '/v1/sessions', { title: '' })
    const answer = await send('PATCH', `/v1/sessions/${made.json.id}`, { on_interrupt: value, title: 'new' })
    expect([answer.status, answer.json.code]).toEqual([422, 'invalid_body'])
    expect((await send('GET', `/v1/sessions/${made.json.id}`)).json.session).toMatchObject({ title: '', on_interrupt: 'resume' })
    expect((await send('POST', '/v1/sessions', { title: '', on_interrupt: value })).status).toBe(422)
  })
})

describe('the agent of a session', () => {
  test('can be changed to one that exists, and to no other', async () => {
    const made = await send('POST', '/v1/sessions', { title: '' })
    const to = (agent: string) => send('PATCH', `/v1/sessions/${made.json.id}`, { agent })
    expect((await to('convoke')).json.session.agent).toBe('convoke')
    const refused = await to('nobody')
    expect([refused.status, refused.json.code, refused.json.errors[0].pointer]).toEqual([400, 'invalid_request', '/agent'])
  })
})

describe('a run that asks whether it goes on', () => {
  test('says so in its session', async () => {
    const run = await asking()
    const { json } = await send('GET', `/v1/sessions/${run.session}`)
    expect(json.session.run_status).toEqual({ state: 'running', run_id: run.id, waiting: true, resume: 'asked' })
  })

  test('goes on when it is told to; the same answer again is 200 and writes nothing', async () => {
    const run = await asking()
    const path = `/v1/sessions/${run.session}/resume`
    const first = await send('POST', path, { run_id: run.id, action: 'resume' })
    expect([first.status, first.json]).toEqual([200, { accepted: true, run_id: run.id, position: expect.any(Number) }])
    const again = await send('POST', path, { run_id: run.id, action: 'resume' })
    expect([again.status, again.json.position]).toEqual([200, first.json.position])
    const other = await send('POST', path, { run_id: run.id, action: 'fail' })
    expect([other.status, other.json.code]).toEqual([409, 'decision_conflict'])
    expect((await send('GET', `/v1/sessions/${run.session}`)).json.session.run_status).toEqual({ state: 'running', run_id: run.id })
  })

  test('ends as failed when it is told to, once per key', async () => {
    const run = await asking()
    const path = `/v1/sessions/${run.session}/resume`
    const first = await send('POST', path, { run_id: run.id, action: 'fail' }, 'resume-1')
    const again = await send('POST', path, { run_id: run.id, action: 'fail' }, 'resume-1')
    expect([first.status, again.status, again.headers.get('idempotency-replayed'), again.text]).toEqual([200, 200, 'true', first.text])
    expect((await send('GET', `/v1/sessions/${run.session}`)).json.session.run_status).toMatchObject({ state: 'failed', code: 'run_interrupted' })
  })

  test.each([
    ['another action', { action: 'retry' }, 422, 'invalid_body'],
    ['no action', {}, 422, 'invalid_body'],
    ['another run', { action: 'resume', run_id: '01900000-0000-7000-8000-ffffffffffff' }, 409, 'run_mismatch'],
  ])('is not answered with %s', async (_what, body, status, code) => {
    const run = await asking()
    const answer = await send('POST', `/v1/sessions/${run.session}/resume`, { run_id: run.id, ...body })
    expect([answer.status, answer.json.code]).toEqual([status, code])
  })

  test('is not confused with one that does not ask, or a session without a run', async () => {
    const running = await surface.run(await surface.session())
    const conflict = await send('POST', `/v1/sessions/${running.session}/resume`, { run_id: running.id, action: 'resume' })
    expect([conflict.status, conflict.json.code]).toEqual([409, 'decision_conflict'])
    const idle = await surface.session()
    const none = await send('POST', `/v1/sessions/${idle}/resume`, { run_id: running.id, action: 'resume' })
    expect([none.status, none.json.code]).toEqual([409, 'session_not_running'])
    const unknown = await send('POST', `/v1/sessions/01900000-0000-7000-8000-ffffffffffff/resume`, { run_id: running.id, action: 'resume' })
    expect(unknown.status).toBe(404)
  })
})
