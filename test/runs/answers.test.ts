import { describe, expect, test } from 'vitest'
import type { Recorded } from '../../src/domain/event.ts'
import { TESTER, settle } from '../../src/testing/run-kit.ts'
import { askTools, failure, stop, text, thinking, tokens, toolCall, type Line } from '../../src/testing/scripted-model.ts'
import { scriptedTool } from '../../src/testing/scripted-tool.ts'
import { ENGINES, rig } from './rig.ts'

const types = (log: readonly Recorded[]) => log.map(({ event }) => event.type)
const ACT = () => scriptedTool('act')

describe.each(ENGINES)('a run over %s', (engine) => {
  test('streams thinking and text, and ends with its answer in one write', async () => {
    const r = await rig({ engine, script: [[...thinking('hm', 'm'), ...text('Hel', 'lo'), stop(tokens(7, 3))]] })
    expect(await r.send('hi')).toMatchObject({ accepted: 'started' })
    expect(await r.ended()).toEqual({ type: 'RunCompleted', runId: r.run, stopReason: 'completed', totalTurns: 1, totalUsage: tokens(7, 3) })
    const log = await r.log()
    expect(types(log)).toEqual([
      'SessionCreated',
      'RunStarted',
      'MessageAdded',
      'TurnStarted',
      'ThinkingDelta',
      'ThinkingDelta',
      'TextDelta',
      'TextDelta',
      'TextCompleted',
      'MessageAdded',
      'UsageReported',
      'TurnCompleted',
      'RunCompleted',
    ])
    expect(log.at(-2)?.event).toMatchObject({ finishReason: 'stop', turn: 1 })
    const { batches } = await r.store.readFeed(TESTER.user, 0, 1000)
    expect(batches.at(-1)?.events.map(({ type }) => type)).toEqual(['TextCompleted', 'MessageAdded', 'UsageReported', 'TurnCompleted', 'RunCompleted'])
  })

  test('goes on with the results of its tools until the model asks for nothing more', async () => {
    const act = ACT()
    const script = [
      [...text('first'), toolCall('c1', 'act'), askTools(tokens(10, 2))],
      [toolCall('c2', 'act'), askTools(tokens(20, 3))],
      [...text('last'), stop(tokens(30, 4))],
    ]
    const r = await rig({ engine, script, tools: [act] })
    await r.send('go')
    expect(await r.ended()).toMatchObject({ totalTurns: 3, totalUsage: tokens(60, 9) })
    expect([...act.runs]).toEqual([
      ['c1', 1],
      ['c2', 1],
    ])
    expect((await r.events('TurnCompleted')).map(({ turn, finishReason }) => `${turn} ${finishReason}`)).toEqual(['1 tool_calls', '2 tool_calls', '3 stop'])
    expect(r.models.seen.map(({ messages }) => messages.map(({ role }) => role).join(' '))).toEqual([
      'user',
      'user assistant tool',
      'user assistant tool assistant tool',
    ])
    const { items } = await r.store.messages(r.id, { limit: 100, offset: 0 })
    expect(items.map(({ message }) => message)).toEqual([
      { role: 'user', content: 'go' },
      { role: 'assistant', content: [{ type: 'text', text: 'first' }, toolCall('c1', 'act')] },
      { role: 'tool', content: [{ type: 'tool_result', toolCallId: 'c1', toolName: 'act', content: 'done c1', isError: false }] },
      { role: 'assistant', content: [toolCall('c2', 'act')] },
      { role: 'tool', content: [{ type: 'tool_result', toolCallId: 'c2', toolName: 'act', content: 'done c2', isError: false }] },
      { role: 'assistant', content: [{ type: 'text', text: 'last' }] },
    ])
  })

  test('the next run sees the whole transcript', async () => {
    const r = await rig({
      engine,
      script: [
        [...text('one'), stop()],
        [...text('two'), stop()],
      ],
    })
    await r.send('a')
    await r.ended()
    await r.send('b')
    await r.ended()
    expect(r.models.seen[1]?.messages).toEqual([
      { role: 'user', content: 'a' },
      { role: 'assistant', content: [{ type: 'text', text: 'one' }] },
      { role: 'user', content: 'b' },
    ])
  })

  test('the next run sees it also after a restart, when nothing is remembered', async () => {
    const first = await rig({ engine, script: [[...text('one'), stop()]] })
    await first.send('a')
    await first.ended()
    const r = await first.restart({ script: [[...text('two'), stop()]] })
    await r.send('b')
    await r.ended()
    expect(r.models.seen[0]?.messages.map(({ content }) => content)).toEqual(['a', [{ type: 'text', text: 'one' }], 'b'])
  })
})

describe('what the model is given', () => {
  test('the tools, the instructions of the run and its context, which no message holds', async () => {
    const r = await rig({ script: [[...text('x'), stop()]], tools: [ACT(), scriptedTool('look')] })
    await r.send('hi', { systemPrompt: 'Be terse.', context: [{ name: 'file', content: 'the file', priority: 'high' }] })
    await r.ended()
    expect(r.models.seen[0]).toMatchObject({ tools: ['act', 'look'], system: 'Be terse.\n\n<context name="file">\nthe file\n</context>' })
    expect(r.models.seen[0]?.messages).toEqual([{ role: 'user', content: 'hi' }])
  })

  test('the newest part of a history that is too long for it', async () => {
    const long = 'x'.repeat(200)
    const r = await rig({ script: [[...text(long), stop()]], models: { contextTokens: 100 } })
    await r.send('first')
    await r.ended()
    await r.send(long)
    await r.ended()
    expect(r.models.seen[1]?.messages.map(({ content }) => content)).toEqual([long])
  })

  test.each([
    ['the default', {}, {}, 'test/one'],
    ['the session’s', { model: 'test/two' }, {}, 'test/two'],
    ['the run’s own, before the session’s', { model: 'test/two' }, { model: 'test/one' }, 'test/one'],
    ['a short name', {}, { model: 'two' }, 'test/two'],
  ])('a model: %s', async (_what, session, options, model) => {
    const r = await rig({ script: [[...text('x'), stop()]] }, session)
    await r.send('hi', options)
    await r.ended()
    expect(r.models.seen.map((call) => call.model)).toEqual([model])
    expect((await r.events('TurnStarted'))[0]).toMatchObject({ model })
    expect((await r.events('UsageReported'))[0]).toMatchObject({ model })
  })

  test('a model that was switched in the middle of a run, from the next call on', async () => {
    const act = scriptedTool('act', { run: async () => (await r.execute({ type: 'SetModel', runId: r.run, model: 'test/two' }), 'ok') })
    const r = await rig({
      script: [
        [toolCall('c1', 'act'), askTools()],
        [...text('x'), stop()],
      ],
      tools: [act],
    })
    await r.send('hi', { model: 'test/one' })
    await r.ended()
    expect(r.models.seen.map(({ model }) => model)).toEqual(['test/one', 'test/two'])
    await r.send('again')
    await r.ended()
    expect(r.models.seen.at(-1)?.model).toBe('test/two')
  })
})

describe('how a run ends', () => {
  const ask = (call: string): readonly Line[] => [...text('t'), toolCall(call, 'act'), askTools()]

  test.each([
    [1, 'max_turns', 1],
    [2, 'max_turns', 2],
    [3, 'completed', 3],
  ])('with at most %i turns it ends as %s', async (maxTurns, stopReason, totalTurns) => {
    const r = await rig({ script: [ask('c1'), ask('c2'), [...text('end'), stop()]], tools: [ACT()] })
    await r.send('hi', { maxTurns })
    expect(await r.ended()).toMatchObject({ stopReason, totalTurns })
    expect(r.models.seen).toHaveLength(totalTurns)
  })

  test('without a word of its own it may take 64 turns', async () => {
    const r = await rig({ script: (_request, call) => ask(`c${call}`), tools: [ACT()] })
    await r.send('hi')
    expect(await r.ended()).toMatchObject({ stopReason: 'max_turns', totalTurns: 64 })
  })

  test('an answer that was cut for its length completes it, and says so', async () => {
    const r = await rig({ script: [[...text('lon'), { type: 'finish', reason: 'max_output_tokens', usage: tokens(1, 1) }]] })
    await r.send('hi')
    expect(await r.ended()).toMatchObject({ stopReason: 'completed' })
    expect(await r.events('TurnCompleted')).toMatchObject([{ finishReason: 'max_output_tokens' }])
  })

  test.each(['refused', 'error'] as const)('an answer that the model ended as %s fails it, with the text that there was', async (reason) => {
    const r = await rig({ script: [[...text('I'), { type: 'finish', reason, usage: tokens(1, 1) }]] })
    await r.send('hi')
    expect(await r.ended()).toMatchObject({ type: 'RunFailed', code: 'model_refused' })
    const log = await r.log()
    expect(types(log).slice(-3)).toEqual(['MessageAdded', 'TurnCompleted', 'RunFailed'])
    expect(log.at(-3)?.event).toMatchObject({ partial: true, message: { content: [{ type: 'text', text: 'I' }] } })
    expect(log.at(-2)?.event).toMatchObject({ finishReason: 'error' })
  })

  test('a model that nobody knows fails it', async () => {
    const r = await rig({ script: [[stop()]] })
    await r.send('hi', { model: 'other/none' })
    expect(await r.ended()).toMatchObject({ type: 'RunFailed', code: 'invalid_model' })
    expect(r.models.seen).toEqual([])
  })

  test('an agent that nobody knows fails it', async () => {
    const r = await rig({ script: [[stop()]] }, { agent: 'gone' })
    await r.send('hi')
    expect(await r.ended()).toMatchObject({ type: 'RunFailed', code: 'agent_failed', error: 'there is no agent gone' })
  })

  test('a provider that throws something unknown fails it, without showing it to anybody', async () => {
    const r = await rig({ script: [[...text('a'), new TypeError('secret detail')]] })
    await r.send('hi')
    const end = await r.ended()
    expect(end).toMatchObject({ type: 'RunFailed', code: 'agent_failed' })
    expect(JSON.stringify(await r.log())).not.toContain('secret detail')
    expect(r.logged.some(({ level, fields }) => level === 'error' && String(fields['error']).includes('secret detail'))).toBe(true)
  })

  test('a failed run says what the model said, and the session takes the next message', async () => {
    const r = await rig({ script: [[failure('model_auth')], [...text('ok'), stop()]] })
    await r.send('a')
    expect(await r.ended()).toEqual({ type: 'RunFailed', runId: r.run, code: 'model_auth', error: 'scripted model_auth', totalUsage: tokens(0, 0) })
    expect((await r.store.session(r.id))?.run).toMatchObject({ state: 'failed', code: 'model_auth' })
    await r.send('b')
    expect(await r.ended()).toMatchObject({ stopReason: 'completed' })
  })

  test('nothing is left: no driver, no listener in the hub, no timer but the poll', async () => {
    const r = await rig({ script: [ask('c1'), [...text('x'), stop()]], tools: [ACT()] })
    const [listeners, timers] = [r.hub.listenerCount, r.clock.pending]
    await r.send('hi')
    expect(r.supervisor.active).toBe(1)
    await r.ended()
    await settle()
    expect([r.supervisor.active, r.hub.listenerCount, r.clock.pending]).toEqual([0, listeners, timers])
  })
})
