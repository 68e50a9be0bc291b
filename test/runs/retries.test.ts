import { describe, expect, test } from 'vitest'
import type { ErrorCode } from '../../src/domain/errors.ts'
import { settle } from '../../src/testing/run-kit.ts'
import { failure, stop, text, thinking, tokens, toolCall, type Line } from '../../src/testing/scripted-model.ts'
import { scriptedTool } from '../../src/testing/scripted-tool.ts'
import { ENGINES, rig, type Rig } from './rig.ts'

const END: readonly Line[] = [...text('end'), stop(tokens(5, 1))]

/** Waits out the pause that began last, to the millisecond. */
async function waitOut(r: Rig, pauses: number): Promise<number> {
  const { delayMs } = await r.until('RetryScheduled', pauses)
  await settle()
  const calls = r.models.seen.length
  r.clock.advance(delayMs - 1)
  await settle()
  expect(r.models.seen).toHaveLength(calls)
  r.clock.advance(1)
  await settle()
  expect(r.models.seen.length).toBeGreaterThan(calls)
  return delayMs
}

describe.each(ENGINES)('over %s', (engine) => {
  test('a call that failed for a moment is tried again after 2 s, then after 4 s', async () => {
    const r = await rig({ engine, script: [[failure('model_unavailable')], [failure('model_rate_limited')], END] })
    await r.send('hi')
    expect([await waitOut(r, 1), await waitOut(r, 2)]).toEqual([2000, 4000])
    expect(await r.ended()).toMatchObject({ stopReason: 'completed', totalTurns: 1, totalUsage: tokens(5, 1) })
    expect(await r.events('TurnStarted')).toMatchObject([{ turn: 1, attempt: 1 }])
    expect(await r.events('AttemptStarted')).toMatchObject([
      { turn: 1, attempt: 2 },
      { turn: 1, attempt: 3 },
    ])
    expect(await r.events('RetryScheduled')).toMatchObject([
      { attempt: 1, reason: 'scripted model_unavailable' },
      { attempt: 2, reason: 'scripted model_rate_limited' },
    ])
  })
})

test('the third failure is the last: the run fails with its reason', async () => {
  const r = await rig({ script: [[failure('model_unavailable')], [failure('model_unavailable')], [...text('par'), failure('model_rate_limited')]] })
  await r.send('hi')
  await waitOut(r, 1)
  await waitOut(r, 2)
  expect(await r.ended()).toMatchObject({ type: 'RunFailed', code: 'model_rate_limited' })
  expect(r.models.seen).toHaveLength(3)
  expect((await r.log()).slice(-3).map(({ event }) => event)).toMatchObject([
    { type: 'MessageAdded', partial: true, message: { content: [{ type: 'text', text: 'par' }] } },
    { type: 'TurnCompleted', turn: 1, finishReason: 'error' },
    { type: 'RunFailed' },
  ])
})

test.each<ErrorCode>(['model_auth', 'model_refused', 'model_context_overflow', 'invalid_model'])('%s is not tried again', async (code) => {
  const r = await rig({ script: [[failure(code, 1000)], END] })
  await r.send('hi')
  expect(await r.ended()).toMatchObject({ type: 'RunFailed', code })
  expect(await r.events('RetryScheduled')).toEqual([])
  expect(r.models.seen).toHaveLength(1)
})

test.each<ErrorCode>(['model_unavailable', 'model_rate_limited', 'model_protocol'])('%s is tried again', async (code) => {
  const r = await rig({ script: [[failure(code)], END] })
  await r.send('hi')
  await waitOut(r, 1)
  expect(await r.ended()).toMatchObject({ type: 'RunCompleted' })
})

test('a stream that ends without a finish is tried again', async () => {
  const r = await rig({ script: [text('half'), END] })
  await r.send('hi')
  await waitOut(r, 1)
  await r.ended()
  expect(await r.events('RetryScheduled')).toMatchObject([{ reason: 'the provider ended its stream without saying why' }])
})

describe('what the provider asks for', () => {
  test.each([
    [0, 0],
    [1500, 1500],
    [60_000, 60_000],
    [300_000, 300_000],
  ])('a pause of %i ms is kept', async (retryAfterMs, delayMs) => {
    const r = await rig({ script: [[failure('model_rate_limited', retryAfterMs)], END] })
    await r.send('hi')
    expect(await r.until('RetryScheduled')).toMatchObject({ delayMs })
    await settle()
    r.clock.advance(delayMs)
    expect(await r.ended()).toMatchObject({ type: 'RunCompleted' })
  })

  test('more than five minutes is a failure', async () => {
    const r = await rig({ script: [[failure('model_rate_limited', 300_001)], END] })
    await r.send('hi')
    expect(await r.ended()).toMatchObject({ type: 'RunFailed', code: 'model_rate_limited' })
  })
})

describe('what a failed try leaves', () => {
  test('its text stays in the log, but is in no message; the next try begins anew', async () => {
    const script = [
      [...thinking('h'), ...text('wrong'), { type: 'text_delta', delta: 'more' } as const, failure('model_unavailable')],
      [...text('right'), stop()],
    ]
    const r = await rig({ script })
    await r.send('hi')
    await waitOut(r, 1)
    await r.ended()
    expect((await r.events('TextDelta')).map(({ delta }) => delta)).toEqual(['wrong', 'more', 'right'])
    const { items } = await r.store.messages(r.id, { limit: 10, offset: 0 })
    expect(items.map(({ message }) => message.content)).toEqual(['hi', [{ type: 'text', text: 'right' }]])
    expect(r.models.seen[1]?.messages).toEqual([{ role: 'user', content: 'hi' }])
  })

  test('a tool call of it is never run', async () => {
    const act = scriptedTool('act')
    const r = await rig({ script: [[toolCall('c1', 'act'), failure('model_unavailable')], END], tools: [act] })
    await r.send('hi')
    await waitOut(r, 1)
    await r.ended()
    expect(act.runs.size).toBe(0)
    expect(await r.events('ToolCallsProposed')).toEqual([])
  })

  test('tries are counted per turn', async () => {
    const act = scriptedTool('act')
    const asks: readonly Line[] = [toolCall('c1', 'act'), { type: 'finish', reason: 'tool_calls', usage: tokens(1, 1) }]
    const script = [[failure('model_unavailable')], [failure('model_unavailable')], asks, [failure('model_unavailable')], [failure('model_unavailable')], END]
    const r = await rig({ script, tools: [act] })
    await r.send('hi')
    for (const pause of [1, 2, 3, 4]) await waitOut(r, pause)
    expect(await r.ended()).toMatchObject({ type: 'RunCompleted', totalTurns: 2 })
    expect((await r.events('RetryScheduled')).map(({ delayMs }) => delayMs)).toEqual([2000, 4000, 2000, 4000])
  })

  test('steering that comes in the pause waits for the end of the turn', async () => {
    const r = await rig({ script: [[failure('model_unavailable')], END, END] })
    await r.send('hi')
    await r.until('RetryScheduled')
    await r.steer('also')
    await waitOut(r, 1)
    expect(await r.ended()).toMatchObject({ type: 'RunCompleted', totalTurns: 2 })
    expect(r.models.seen.map(({ messages }) => messages.filter(({ role }) => role === 'user').length)).toEqual([1, 1, 2])
  })

  test('a model that was switched in the pause is the one that is tried', async () => {
    const r = await rig({ script: [[failure('model_unavailable')], END] })
    await r.send('hi')
    await r.until('RetryScheduled')
    await r.execute({ type: 'SetModel', runId: r.run, model: 'test/two' })
    await waitOut(r, 1)
    await r.ended()
    expect(r.models.seen.map(({ model }) => model)).toEqual(['test/one', 'test/two'])
    expect(await r.events('AttemptStarted')).toMatchObject([{ model: 'test/two' }])
  })
})

describe('a process that goes away', () => {
  test('in a pause leaves the rest of it to the next one', async () => {
    const first = await rig({ script: [[failure('model_unavailable', 60_000)]] })
    await first.send('hi')
    await first.until('RetryScheduled')
    await settle()
    const r = await first.restart({ script: [END] }, 10_000)
    await settle()
    r.clock.advance(49_999)
    await settle()
    expect(r.models.seen).toHaveLength(0)
    r.clock.advance(1)
    expect(await r.ended(first.run)).toMatchObject({ type: 'RunCompleted' })
    expect(await r.events('AttemptStarted')).toMatchObject([{ attempt: 2 }])
  })

  test('in a call has its text superseded, before the next one streams', async () => {
    const never = new Promise(() => undefined)
    const first = await rig({ script: [[...text('lost'), never]] })
    await first.send('hi')
    await first.until('TextDelta')
    const r = await first.restart({ script: [[...text('kept'), stop()]] })
    await r.ended(first.run)
    const log = await r.log()
    const from = log.find(({ event }) => event.type === 'TextDelta')?.position
    expect(await r.events('AttemptSuperseded')).toEqual([{ type: 'AttemptSuperseded', runId: first.run, turn: 1, attempt: 1, from }])
    expect(log.map(({ event }) => event.type).slice(3)).toEqual([
      'TurnStarted',
      'TextDelta',
      'RunClaimed',
      'AttemptSuperseded',
      'AttemptStarted',
      'TextDelta',
      'TextCompleted',
      'MessageAdded',
      'UsageReported',
      'TurnCompleted',
      'RunCompleted',
    ])
    const { items } = await r.store.messages(r.id, { limit: 10, offset: 0 })
    expect(items.map(({ message }) => message.content)).toEqual(['hi', [{ type: 'text', text: 'kept' }]])
  })

  test('in a call that had streamed nothing supersedes nothing of the log', async () => {
    const first = await rig({ script: [[new Promise(() => undefined)]] })
    await first.send('hi')
    await first.until('TurnStarted')
    const r = await first.restart({ script: [END] })
    await r.ended(first.run)
    const log = await r.log()
    const superseded = log.find(({ event }) => event.type === 'AttemptSuperseded')
    expect(superseded?.event).toMatchObject({ from: superseded?.position })
  })
})
