/** Own agents that call models and tools: as steps, seen as the built-in agent’s are. */
import { describe, expect, test } from 'vitest'
import type { AgentContext, Generated, ToolAnswer } from '../../src/runtime/define.ts'
import { settle } from '../../src/testing/run-kit.ts'
import { scriptedTool } from '../../src/testing/scripted-tool.ts'
import { askTools, failure, stop, text, thinking, tokens, toolCall } from '../../src/testing/scripted-model.ts'
import { defineAgent } from '../../src/index.ts'
import { ASK_ALL, NEVER, gate, rig, type Rig, type RigOptions } from './rig.ts'

async function own(run: (ctx: AgentContext) => unknown, more: Partial<RigOptions> = {}): Promise<Rig> {
  return rig({ own: [defineAgent({ name: 'own', run: run as never })], ...more }, { agent: 'own' })
}

const types = async (r: Rig) => (await r.log()).slice(3).map(({ event }) => event.type)

describe('a call of a model', () => {
  test('streams what the agent says, is a turn, and tells what it used', async () => {
    const answers: Generated[] = []
    const script = [[...thinking('hm'), ...text('Hel', 'lo.'), stop(tokens(5, 2))]]
    const r = await own(async (ctx) => void answers.push(await ctx.generate('greet')), { script })
    await r.send('hi')
    expect(await r.ended()).toMatchObject({ type: 'RunCompleted', totalTurns: 1, totalUsage: { totalTokens: 7 } })
    expect(await types(r)).toEqual([
      'StepStarted',
      'TurnStarted',
      'ThinkingDelta',
      'TextDelta',
      'TextDelta',
      'TextCompleted',
      'MessageAdded',
      'UsageReported',
      'StepCompleted',
      'TurnCompleted',
      'RunCompleted',
    ])
    expect(answers).toEqual([{ text: 'Hello.', calls: [], usage: tokens(5, 2), model: 'test/one' }])
    expect(await r.events('TurnStarted')).toMatchObject([{ model: 'test/one' }])
    expect(r.models.seen).toMatchObject([{ messages: [{ role: 'user', content: 'hi' }], tools: [] }])
  })

  test('is asked what the agent asks, and may be silent', async () => {
    const answers: string[] = []
    const r = await own(
      async (ctx) => {
        answers.push((await ctx.generate('judge', { prompt: 'good or bad?', system: 'Judge.', model: 'test/two', say: false })).text)
        return 'judged'
      },
      { script: [[...text('good'), stop()]] },
    )
    await r.send('hi')
    expect(await r.ended()).toMatchObject({ type: 'RunCompleted', totalTurns: 2 })
    expect(answers).toEqual(['good'])
    expect(r.models.seen).toMatchObject([{ model: 'test/two', system: 'Judge.', messages: [{ role: 'user', content: 'good or bad?' }] }])
    expect((await r.events('TextDelta')).map(({ delta }) => delta)).toEqual(['judged'])
    expect(await r.events('UsageReported')).toMatchObject([{ turn: 1, model: 'test/two' }])
  })

  test('that a crash cut off is made again; what it had said is superseded; a finished one is not made again', async () => {
    const wait = gate()
    const script: RigOptions['script'] = (request) =>
      request.system === 'one' ? [...text('first'), stop()] : [...text('sec'), wait.passed, ...text('ond'), stop()]
    const r = await own(
      async (ctx) => {
        await ctx.generate('one', { system: 'one' })
        await ctx.generate('two', { system: 'two' })
      },
      { script },
    )
    await r.send('hi')
    await r.until('TextDelta', 2)
    const next = await r.restart()
    wait.open()
    expect(await next.ended(r.run)).toMatchObject({ type: 'RunCompleted', totalTurns: 2 })
    expect(next.models.seen.map(({ system }) => system)).toEqual(['two'])
    expect(await next.events('AttemptSuperseded')).toMatchObject([{ turn: 2, attempt: 1 }])
    const said = (await next.events('MessageAdded')).filter(({ message }) => message.role === 'assistant').map(({ message }) => message.content)
    expect(said).toEqual([
      [{ type: 'text', text: 'first' }],
      [
        { type: 'text', text: 'sec' },
        { type: 'text', text: 'ond' },
      ],
    ])
  })

  test('that fails is tried again where that may help', async () => {
    const r = await own((ctx) => ctx.generate('k').then(({ text: said }) => void said), {
      script: (_request, call) => (call === 0 ? [...text('half'), failure('model_unavailable')] : [...text('whole'), stop()]),
    })
    await r.send('hi')
    await r.until('AttemptSuperseded')
    await settle()
    r.clock.advance(2_000)
    expect(await r.ended()).toMatchObject({ type: 'RunCompleted' })
    expect((await r.events('TextCompleted')).map(({ text: said }) => said)).toEqual(['whole'])
  })

  test.each([
    ['that is refused', [failure('model_auth')], 'model_auth'],
    ['that ends without a reason', [...text('x')], 'model_protocol'],
    ['of a model that is not there', undefined, 'invalid_model'],
    ['with a tool that is not there', [stop()], 'agent_failed'],
  ])('%s fails the run with its code, unless the agent knows better', async (how, lines, code) => {
    const caught: unknown[] = []
    const request = { ...(lines === undefined ? { model: 'test/none' } : {}), ...(how.includes('tool') ? { tools: ['none'] } : {}) }
    const script: RigOptions['script'] = () => lines ?? []
    const r = await own((ctx) => ctx.generate('k', request).then(() => undefined), { script })
    await r.send('hi')
    // Some are tried again first.
    for (let tries = 0; tries < 4; tries++) {
      await settle()
      r.clock.advance(30_000)
    }
    expect(await r.ended()).toMatchObject({ type: 'RunFailed', code })
    const s = await own(
      (ctx) =>
        ctx.generate('k', request).then(
          () => undefined,
          (error: unknown) => void caught.push(error),
        ),
      { script },
    )
    await s.send('hi')
    for (let tries = 0; tries < 4; tries++) {
      await settle()
      s.clock.advance(30_000)
    }
    expect(await s.ended()).toMatchObject({ type: 'RunCompleted' })
    expect(caught).toMatchObject([{ code }])
  })

  test('is cancelled with the run: what it said is kept', async () => {
    const r = await own((ctx) => ctx.generate('k').then(() => undefined), { script: [[...text('so far'), NEVER]] })
    await r.send('hi')
    await r.until('TextDelta')
    await r.cancel()
    expect(await r.ended()).toMatchObject({ stopReason: 'cancelled' })
    expect((await r.events('MessageAdded')).at(-1)).toMatchObject({ partial: true, message: { content: [{ type: 'text', text: 'so far' }] } })
    expect((await r.events('TurnCompleted')).length).toBe(1)
  })
})

describe('a call of a tool', () => {
  const act = () => scriptedTool('act')

  test('runs once, between its intent and its result', async () => {
    const tool = act()
    const answers: ToolAnswer[] = []
    const wait = gate()
    const r = await own(
      async (ctx) => {
        answers.push(await ctx.tool('first', 'act', { a: 1 }))
        await ctx.step('wait', { repeatable: true }, () => wait.passed)
      },
      { tools: [tool] },
    )
    await r.send('go')
    await r.until('StepStarted')
    const next = await r.restart()
    wait.open()
    expect(await next.ended(r.run)).toMatchObject({ type: 'RunCompleted', totalTurns: 1 })
    expect((await types(next)).slice(0, 7)).toEqual([
      'TurnStarted',
      'MessageAdded',
      'ToolCallsProposed',
      'ToolStarted',
      'ToolCompleted',
      'TurnCompleted',
      'StepStarted',
    ])
    expect([...tool.runs.values()]).toEqual([1])
    expect(answers).toEqual([answers[0], answers[0]])
    expect(answers[0]).toMatchObject({ isError: false, rejected: false })
  })

  test('asks a person where policy says so, and waits for the answer over a restart', async () => {
    const tool = act()
    const answers: ToolAnswer[] = []
    const r = await own(async (ctx) => void answers.push(await ctx.tool('first', 'act')), { tools: [tool], policy: ASK_ALL })
    await r.send('go')
    const { toolCallIds } = await r.until('ApprovalRequested')
    const next = await r.restart()
    expect([...tool.runs.values()]).toEqual([])
    await next.execute({ type: 'DecideCalls', runId: r.run, decisions: toolCallIds.map((toolCallId) => ({ toolCallId, action: 'accept' })) })
    await next.ended(r.run)
    expect([...tool.runs.values()]).toEqual([1])
    expect(answers).toMatchObject([{ isError: false, rejected: false }])
  })

  test.each([
    ['reject', { output: 'Tool call rejected by user', isError: true, rejected: true }],
    ['custom_result', { output: 'mine', isError: false, rejected: false }],
  ] as const)('is answered in its place with %s', async (action, answer) => {
    const tool = act()
    const answers: ToolAnswer[] = []
    const r = await own(async (ctx) => void answers.push(await ctx.tool('first', 'act')), { tools: [tool], policy: ASK_ALL })
    await r.send('go')
    const { toolCallIds } = await r.until('ApprovalRequested')
    await r.decide(action === 'reject' ? [toolCallIds[0] ?? '', action] : [toolCallIds[0] ?? '', action, 'mine'])
    await r.ended()
    expect(answers).toEqual([answer])
    expect(tool.runs.size).toBe(0)
  })

  test('that policy denies does not run', async () => {
    const tool = act()
    const answers: ToolAnswer[] = []
    const policy = { mode: 'custom', rules: { act: 'deny' }, default: 'ask' } as const
    const r = await own(async (ctx) => void answers.push(await ctx.tool('first', 'act')), { tools: [tool], policy })
    await r.send('go')
    await r.ended()
    expect(answers).toEqual([{ output: 'Tool call denied by policy', isError: true, rejected: true }])
    expect(tool.runs.size).toBe(0)
  })

  test.each([
    ['is not run again', false, 1, /^TOOL_CALL_OUTCOME_UNKNOWN/],
    ['is run again where it says that this is safe', true, 2, /^done/],
  ] as const)('that a crash cut off %s', async (_how, repeatable, runs, output) => {
    const answers: ToolAnswer[] = []
    let started = 0
    const tool = scriptedTool('act', { repeatable, run: () => (++started === 1 ? new Promise<never>(() => undefined) : 'done') })
    const r = await own(async (ctx) => void answers.push(await ctx.tool('first', 'act')), { tools: [tool] })
    await r.send('go')
    await r.until('ToolStarted')
    await settle()
    const next = await r.restart()
    await next.ended(r.run)
    expect(started).toBe(runs)
    expect(answers).toMatchObject([{ output: expect.stringMatching(output) as string, isError: !repeatable }])
  })

  test('that is not there is told by name', async () => {
    const r = await own((ctx) => ctx.tool('first', 'nothing').then(() => undefined))
    await r.send('go')
    expect(await r.ended()).toMatchObject({ code: 'agent_failed', error: 'there is no tool "nothing"' })
  })

  test('with wrong arguments is not asked about: the answer says why', async () => {
    const answers: ToolAnswer[] = []
    const tool = scriptedTool('act', { check: () => 'no such thing' })
    const r = await own(async (ctx) => void answers.push(await ctx.tool('first', 'act', { b: 1 })), { tools: [tool], policy: ASK_ALL })
    await r.send('go')
    expect(await r.ended()).toMatchObject({ type: 'RunCompleted' })
    expect(answers).toEqual([{ output: 'the arguments are not valid: no such thing', isError: true, rejected: false }])
  })
})

test('an agent may be a loop of its own over a model and tools; its history is valid for every provider', async () => {
  const tool = scriptedTool('act', { readOnly: true, parallelSafe: true })
  const script: RigOptions['script'] = (request) =>
    request.messages.some(({ role }) => role === 'tool')
      ? [...text('done'), stop()]
      : [...text('I act.'), toolCall('x', 'act', { a: 1 }), toolCall('y', 'act', { a: 2 }), askTools()]
  const r = await own(
    async (ctx) => {
      for (let turn = 1; ; turn++) {
        const { calls } = await ctx.generate(`turn:${turn}`, { tools: ['act'] })
        if (calls.length === 0) return
        await Promise.all(calls.map((call, index) => ctx.tool(`turn:${turn}:${index}`, call.name, call.arguments)))
      }
    },
    { script, tools: [tool] },
  )
  await r.send('go')
  expect(await r.ended()).toMatchObject({ type: 'RunCompleted', totalTurns: 3 })
  const roles = r.models.seen[1]?.messages.map(({ role, content }) => [role, typeof content === 'string' ? content : content.map(({ type }) => type).join()])
  expect(roles).toEqual([
    ['user', 'go'],
    ['assistant', 'text'],
    ['assistant', 'tool_call,tool_call'],
    ['tool', 'tool_result'],
    ['tool', 'tool_result'],
  ])
})
