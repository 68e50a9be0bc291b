/** An own agent in a real process that is killed with SIGKILL again and again: no step is done twice that may not be, and nothing is lost. */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import { ask, frames, type TestFrame } from './support/http.ts'
import { newWorld } from './support/process.ts'

// Processes are slow to start on a busy machine.
vi.setConfig({ testTimeout: 60_000 })

const AGENT = `
import { appendFileSync } from 'node:fs'
import { defineAgent } from ${JSON.stringify(new URL('../src/index.ts', import.meta.url).href)}
const did = (what) => appendFileSync('ledger', what + '\\n')
const never = new Promise(() => undefined)
export default defineAgent({
  name: 'careful',
  async run(ctx) {
    const id = ctx.uuid()
    const found = await ctx.step('look', () => { did('look'); return { found: 42, id } })
    const paid = await ctx.step('pay', () => { did('pay'); return never }).catch((error) => error.code)
    await ctx.step('write', { repeatable: true, input: found }, async ({ emit, attempt }) => {
      did('write ' + attempt)
      await emit('found ')
      if (attempt === 1) await never
      await emit(String(found.found))
    })
    const { action, by } = await ctx.approve('may send', { name: 'send', arguments: { to: 'all' }, reason: 'Shall I send it?' })
    await ctx.step('send', () => did('send'))
    return [paid, action, by, found.id === id].join(' ')
  },
})`

const SLOW = `
import { appendFileSync } from 'node:fs'
import { setTimeout } from 'node:timers/promises'
import { defineAgent } from ${JSON.stringify(new URL('../src/index.ts', import.meta.url).href)}
const did = (what) => appendFileSync('ledger', what + '\\n')
export default defineAgent({
  name: 'slow',
  async run(ctx) {
    await ctx.step('one', async () => { did('one begins'); await setTimeout(300); did('one ends') })
    await ctx.step('two', () => did('two'))
    return 'done'
  },
})`

const payload = ({ data }: TestFrame) => Object.values(data.event)[0] as Record<string, unknown>
const named = (list: readonly TestFrame[], name: string) => list.filter(({ event }) => event === name).map(payload)

test('an own agent goes on where it was, after a kill in a step, in a sentence and in a question', async () => {
  const world = newWorld({ agents: ['./agent.mjs'] })
  writeFileSync(join(world.cwd, 'agent.mjs'), AGENT)
  let server = await world.serve()
  const id: string = (await ask(server.url, 'POST', '/v1/sessions', { title: 'killed', agent: 'careful' })).json.id
  expect((await ask(server.url, 'POST', `/v1/sessions/${id}/messages`, { message: { role: 'user', content: 'go' } })).status).toBe(200)
  const events = () => `${server.url}/v1/sessions/${id}/events?after=0&events=all`
  const killAt = async (reached: (frame: TestFrame) => boolean) => {
    await frames(events(), {}, reached)
    await server.kill('SIGKILL')
    server = await world.serve({ port: server.port })
  }
  await killAt((frame) => frame.event === 'step_started' && payload(frame)['key'] === 'pay')
  await killAt((frame) => frame.event === 'text_delta')
  await killAt((frame) => frame.event === 'waiting_for_tool_approval')
  const { run_id, tool_calls } = (await ask(server.url, 'GET', `/v1/sessions/${id}/tools/pending`)).json
  expect(tool_calls).toMatchObject([{ name: 'send', arguments: { to: 'all' } }])
  expect((await ask(server.url, 'POST', `/v1/sessions/${id}/tools/${tool_calls[0].id}/decision`, { run_id, action: 'accept' })).status).toBe(200)

  const whole = await frames(`${events()}&until=run_end`)
  expect(whole.map(({ data }) => data.id)).toEqual(whole.map((_, index) => index + 1))
  // The intent of `pay` was shown, so it was durable; whether it ran before the kill nobody can know, but never twice.
  const ledger = readFileSync(join(world.cwd, 'ledger'), 'utf8').trim().split('\n')
  expect(ledger.filter((line) => line !== 'pay')).toEqual(['look', 'write 1', 'write 2', 'send'])
  expect(ledger.filter((line) => line === 'pay').length).toBeLessThanOrEqual(1)
  expect(named(whole, 'text_complete').map(({ text }) => text)).toEqual(['found 42', 'Shall I send it?', 'step_interrupted accept local true'])
  expect(named(whole, 'step_failed')).toMatchObject([{ key: 'pay', code: 'step_interrupted', will_retry: false }])
  expect(named(whole, 'retry_attempt')).toMatchObject([{ delay_ms: 0, superseded_from: expect.any(Number) as number }])
  expect(named(whole, 'run_claimed')).toHaveLength(3)
  expect(named(whole, 'run_completed')).toMatchObject([{ stop_reason: 'completed', total_turns: 3 }])
})

test('SIGTERM lets a running step end, begins no other, and the next process goes on (P14)', async () => {
  const world = newWorld({ agents: ['./agent.mjs'] })
  writeFileSync(join(world.cwd, 'agent.mjs'), SLOW)
  const ledger = () => readFileSync(join(world.cwd, 'ledger'), 'utf8').trim().split('\n')
  const first = await world.serve()
  const id: string = (await ask(first.url, 'POST', '/v1/sessions', { title: 'stopped', agent: 'slow' })).json.id
  await ask(first.url, 'POST', `/v1/sessions/${id}/messages`, { message: { role: 'user', content: 'go' } })
  await frames(`${first.url}/v1/sessions/${id}/events?after=0&events=all`, {}, ({ event }) => event === 'step_started')
  expect((await first.kill('SIGTERM')).code).toBe(0)
  expect(ledger()).toEqual(['one begins', 'one ends'])
  const { url } = await world.serve({ port: first.port })
  const whole = await frames(`${url}/v1/sessions/${id}/events?after=0&events=all&until=run_end`)
  expect(ledger()).toEqual(['one begins', 'one ends', 'two'])
  expect(named(whole, 'run_completed')).toMatchObject([{ stop_reason: 'completed' }])
})
