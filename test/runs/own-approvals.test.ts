/** Own agents that ask a person: by any client, also days and restarts later. */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, test } from 'vitest'
import type { AgentContext, ApprovalAnswer } from '../../src/runtime/define.ts'
import type { DecisionAction, RunOptions } from '../../src/domain/event.ts'
import type { ApprovalPolicy } from '../../src/agent/policy.ts'
import { isWaiting } from '../../src/domain/session.ts'
import { settle } from '../../src/testing/run-kit.ts'
import { defineAgent } from '../../src/index.ts'
import { ASK_ALL, ENGINES, gate, NEVER, rig, type Rig, type RigOptions } from './rig.ts'

async function own(run: (ctx: AgentContext) => unknown, more: Partial<RigOptions> = {}): Promise<Rig> {
  return rig({ own: [defineAgent({ name: 'own', run: run as never })], policy: ASK_ALL, ...more }, { agent: 'own' })
}

/** The ids of the calls that wait for an answer, by name. */
async function asked(r: Rig, count = 1): Promise<Readonly<Record<string, string>>> {
  await r.until('ApprovalRequested', count)
  const proposed = await r.events('ToolCallsProposed')
  return Object.fromEntries(proposed.flatMap(({ calls }) => calls.map(({ id, name }) => [name, id])))
}

const types = async (r: Rig, from = 3) => (await r.log()).slice(from).map(({ event }) => event.type)

describe('a question', () => {
  test('is a call that waits for a person; the answer invokes the function anew, and the call has its result', async () => {
    let invocations = 0
    const answers: ApprovalAnswer[] = []
    const r = await own(async (ctx) => {
      invocations++
      answers.push(await ctx.approve('deploy', { name: 'deploy', arguments: { to: 'prod' }, reason: 'All tests are green.' }))
      return 'deployed'
    })
    await r.send('go')
    const { deploy = '' } = await asked(r)
    await settle()
    expect(deploy).toMatch(/^[a-zA-Z0-9_-]{1,64}$/)
    expect([invocations, answers]).toEqual([1, []])
    const state = await r.store.state(r.id)
    expect(state !== undefined && isWaiting(state)).toBe(true)
    await r.decide([deploy, 'accept'])
    expect(await r.ended()).toMatchObject({ type: 'RunCompleted', totalTurns: 2 })
    expect([invocations, answers]).toEqual([2, [{ action: 'accept', by: 'alice' }]])
    const answer = ['TurnStarted', 'TextDelta', 'TextCompleted', 'MessageAdded', 'TurnCompleted', 'RunCompleted']
    const question = ['TurnStarted', 'TextDelta', 'TextCompleted', 'MessageAdded', 'ToolCallsProposed', 'ApprovalRequested', 'ApprovalDecided']
    expect(await types(r)).toEqual([...question, 'ToolCompleted', 'TurnCompleted', ...answer])
    expect((await r.events('MessageAdded'))[1]?.message.content).toEqual([
      { type: 'text', text: 'All tests are green.' },
      { type: 'tool_call', id: deploy, name: 'deploy', arguments: { to: 'prod' } },
    ])
    expect(await r.events('ToolCompleted')).toMatchObject([{ toolCallId: deploy, toolName: 'deploy', result: 'approved', isError: false }])
  })

  test.each<[DecisionAction, string | undefined, object, object]>([
    ['reject', undefined, { action: 'reject', by: 'alice' }, { type: 'ToolRejected', reason: 'Tool call rejected by user' }],
    [
      'custom_result',
      'only to staging',
      { action: 'custom_result', content: 'only to staging', by: 'alice' },
      { type: 'ToolCompleted', result: 'only to staging' },
    ],
  ])('may be answered with %s', async (action, content, answer, result) => {
    const answers: unknown[] = []
    const r = await own(async (ctx) => void answers.push(await ctx.approve('deploy', { name: 'deploy' })))
    await r.send('go')
    const { deploy = '' } = await asked(r)
    await r.decide(content === undefined ? [deploy, action] : [deploy, action, content])
    await r.ended()
    expect(answers).toEqual([answer])
    expect((await r.log()).map(({ event }) => event)).toContainEqual(expect.objectContaining(result))
  })

  const custom = (rule: 'approve' | 'ask' | 'deny'): ApprovalPolicy => ({ mode: 'custom', rules: { deploy: rule }, default: 'ask' })
  test.each<[string, ApprovalPolicy, RunOptions, object, string]>([
    ['policy approves', custom('approve'), {}, { action: 'accept', by: 'policy' }, 'ToolCompleted'],
    ['policy denies', custom('deny'), {}, { action: 'reject', by: 'policy' }, 'ToolRejected'],
    ['policy denies, whatever the run asked for', custom('deny'), { autoApprove: 'all' }, { action: 'reject', by: 'policy' }, 'ToolRejected'],
    ['the run approves all', custom('ask'), { autoApprove: 'all' }, { action: 'accept', by: 'policy' }, 'ToolCompleted'],
    ['the run approves by name', custom('ask'), { autoApprove: ['deploy'] }, { action: 'accept', by: 'policy' }, 'ToolCompleted'],
  ])('is not asked where %s', async (_who, policy, options, answer, result) => {
    const answers: unknown[] = []
    const r = await own(async (ctx) => void answers.push(await ctx.approve('deploy', { name: 'deploy' })), { policy })
    await r.send('go', options)
    expect(await r.ended()).toMatchObject({ type: 'RunCompleted' })
    expect(answers).toEqual([answer])
    expect(await types(r)).toEqual(['TurnStarted', 'MessageAdded', 'ToolCallsProposed', result, 'TurnCompleted', 'RunCompleted'])
  })

  test.each(ENGINES)('waits over restarts, with nothing running, and is answered once (%s)', async (engine) => {
    const ran: string[] = []
    const r = await own(
      async (ctx) => {
        const build = await ctx.step('build', () => {
          ran.push('build')
          return 7
        })
        const { action } = await ctx.approve('may deploy', { name: 'deploy', arguments: { build } })
        await ctx.step('deploy', () => ran.push(action))
        return `${action} ${build}`
      },
      { engine },
    )
    await r.send('go')
    const { deploy = '' } = await asked(r)
    let life = r
    // Restarts while it waits are no crash loop.
    for (let days = 1; days <= 5; days++) life = await life.restart({}, 86_400_000)
    await settle()
    expect((await life.events('ApprovalRequested')).length).toBe(1)
    await life.execute({ type: 'DecideCalls', runId: r.run, decisions: [{ toolCallId: deploy, action: 'accept' }] })
    expect(await life.ended(r.run)).toMatchObject({ type: 'RunCompleted' })
    expect(ran).toEqual(['build', 'accept'])
    expect((await life.events('TextCompleted')).at(-1)?.text).toBe('accept 7')
  })

  test('beside others in one go is one proposal; each may be answered in its time', async () => {
    const seen: unknown[] = []
    const r = await own(async (ctx) => {
      seen.push(
        await Promise.all([
          ctx.approve('a', { name: 'first', reason: 'One.' }).then(({ action }) => ctx.step('a2', () => `first ${action}`)),
          ctx.approve('b', { name: 'second', reason: 'Two.' }).then(({ action }) => ctx.step('b2', () => `second ${action}`)),
        ]),
      )
    })
    await r.send('go')
    const { first = '', second = '' } = await asked(r)
    expect(await r.events('ApprovalRequested')).toMatchObject([{ toolCallIds: [first, second] }])
    expect((await r.events('TextCompleted')).map(({ text }) => text)).toEqual(['One.\n\nTwo.'])
    await r.decide([second, 'reject'])
    // Its branch goes on while the other waits.
    await r.until('StepCompleted')
    await settle()
    const next = await r.restart()
    await next.execute({ type: 'DecideCalls', runId: r.run, decisions: [{ toolCallId: first, action: 'accept' }] })
    expect(await next.ended(r.run)).toMatchObject({ type: 'RunCompleted', totalTurns: 1 })
    expect(seen).toEqual([['first accept', 'second reject']])
    expect((await next.events('TurnCompleted')).length).toBe(1)
  })

  test('that comes while another is open stands beside it', async () => {
    const later = gate()
    const answers: unknown[] = []
    const r = await own(async (ctx) => {
      const second = async () => {
        await ctx.step('wait', () => later.passed)
        return ctx.approve('b', { name: 'second' })
      }
      answers.push(await Promise.all([ctx.approve('a', { name: 'first' }), second()]))
    })
    await r.send('go')
    await asked(r)
    later.open()
    const { first = '', second = '' } = await asked(r, 2)
    await r.decide([second, 'accept'], [first, 'reject'])
    expect(await r.ended()).toMatchObject({ type: 'RunCompleted', totalTurns: 1 })
    expect(answers).toEqual([
      [
        { action: 'reject', by: 'alice' },
        { action: 'accept', by: 'alice' },
      ],
    ])
  })

  test('is answered to a function that still works: it goes on in place', async () => {
    let invocations = 0
    const later = gate()
    const r = await own(async (ctx) => {
      invocations++
      await Promise.all([ctx.approve('a', { name: 'first' }).then(() => ctx.step('after', () => later.open())), ctx.step('long', () => later.passed)])
    })
    await r.send('go')
    const { first = '' } = await asked(r)
    await r.until('StepStarted')
    await r.decide([first, 'accept'])
    expect(await r.ended()).toMatchObject({ type: 'RunCompleted' })
    expect(invocations).toBe(1)
  })

  test('does not hold up what is no step and comes back later', async () => {
    const outside = gate()
    const r = await own(async (ctx) => {
      await Promise.race([ctx.approve('a', { name: 'first' }), outside.passed.then(() => ctx.emit('nobody answered'))])
      return 'so be it'
    })
    await r.send('go')
    await asked(r)
    await settle()
    outside.open()
    expect(await r.ended()).toMatchObject({ type: 'RunCompleted' })
    expect((await r.events('TextCompleted')).map(({ text }) => text)).toEqual(['nobody answered', 'so be it'])
    // Every call has a result, also one that nobody waits for any more.
    expect(await r.events('ToolCompleted')).toMatchObject([{ toolName: 'first', isError: true }])
  })

  test('with other arguments than the recorded ones ends the run as agent_changed', async () => {
    let to = 'staging'
    const r = await own((ctx) => ctx.approve('deploy', { name: 'deploy', arguments: { to } }).then(() => undefined))
    await r.send('go')
    const { deploy = '' } = await asked(r)
    await settle()
    to = 'production'
    await r.decide([deploy, 'accept'])
    expect(await r.ended()).toMatchObject({ type: 'RunFailed', code: 'agent_changed' })
    expect(await r.events('ToolCompleted')).toMatchObject([{ toolCallId: deploy, isError: true }])
  })

  test.each<[string, object, string]>([
    ['without a name', {}, 'what is asked about has a name of 1 to 64 letters'],
    ['with a name that providers refuse', { name: 'a b' }, 'what is asked about has a name of 1 to 64 letters'],
    ['with arguments that are no JSON', { name: 'x', arguments: { at: new Date(0) } }, 'the arguments of the question q is not JSON'],
    ['with a reason that is no text', { name: 'x', reason: 5 }, 'the reason of a question is text'],
  ])('%s is refused', async (_how, request, error) => {
    const r = await own((ctx) => ctx.approve('q', request as never).then(() => undefined))
    await r.send('go')
    expect(await r.ended()).toMatchObject({ code: 'agent_failed', error: expect.stringContaining(error) as string })
  })

  test('shares the keys of the run', async () => {
    const r = await own(async (ctx) => {
      await ctx.step('deploy', () => 1)
      await ctx.approve('deploy', { name: 'deploy' })
    })
    await r.send('go')
    expect(await r.ended()).toMatchObject({ error: expect.stringContaining('the key "deploy" is used twice') as string })
  })
})

describe('that is still on its way to the log', () => {
  const agents: readonly (readonly [string, (ctx: AgentContext) => unknown])[] = [
    [
      'a cancel',
      async (ctx) => {
        const begun = gate()
        void ctx.step('s', () => (begun.open(), NEVER)).catch(() => undefined)
        await begun.passed
        await ctx.approve('a', { name: 'first' })
      },
    ],
    ['a failure', (ctx) => (void ctx.approve('a', { name: 'first' }), Promise.reject(new Error('boom')))],
    [
      'an answer',
      async (ctx) => {
        void ctx.approve('a', { name: 'first' })
        await settle(3)
        return 'done'
      },
    ],
  ]
  test.each(agents)('when %s ends the run, it has a result all the same', async (how, run) => {
    const slow = gate()
    const r = await own(run, {
      async fateOf(_commit, writes) {
        const asks = writes.some((write) => write.kind === 'record' && write.events.some(({ type }) => type === 'ToolCallsProposed'))
        if (asks) await slow.passed
        return 'pass' as const
      },
    })
    await r.send('go')
    await settle()
    if (how === 'a cancel') await r.cancel()
    await settle()
    r.clock.advance(100)
    await settle()
    slow.open()
    await r.ended()
    const log = await types(r)
    expect(log.filter((type) => type === 'ToolCallsProposed' || type === 'ToolCompleted')).toEqual(['ToolCallsProposed', 'ToolCompleted'])
    expect(log.filter((type) => type === 'TurnCompleted')).toHaveLength(log.filter((type) => type === 'TurnStarted').length)
  })
})

describe('while it waits', () => {
  test('a cancel ends the run at once, with a result for each call', async () => {
    const r = await own((ctx) => Promise.all([ctx.approve('a', { name: 'first' }), ctx.approve('b', { name: 'second' })]).then(() => undefined))
    await r.send('go')
    await asked(r)
    await settle()
    expect(await r.cancel()).toMatchObject({ cancel: 'cancelled' })
    expect((await types(r)).slice(-5)).toEqual(['CancelRequested', 'ToolCompleted', 'ToolCompleted', 'TurnCompleted', 'RunCompleted'])
    await settle()
    expect(r.supervisor.active).toBe(0)
  })

  test('a stop does not wait for it', async () => {
    const r = await own((ctx) => ctx.approve('a', { name: 'first' }).then(() => undefined))
    await r.send('go')
    const { first = '' } = await asked(r)
    await settle()
    await r.supervisor.stop(10_000)
    const next = await r.restart()
    await next.execute({ type: 'DecideCalls', runId: r.run, decisions: [{ toolCallId: first, action: 'accept' }] })
    expect(await next.ended(r.run)).toMatchObject({ type: 'RunCompleted' })
  })

  test('a message that arrives is no answer: it waits, and starts the next run', async () => {
    const asked2: string[] = []
    const r = await own(async (ctx) => {
      asked2.push(ctx.input.text)
      if (asked2.length === 1 || ctx.input.text === 'go') await ctx.approve('a', { name: 'first' })
    })
    await r.send('go')
    const { run } = r
    const { first = '' } = await asked(r)
    await r.followUp('yes')
    await settle()
    expect(await r.events('ApprovalDecided')).toEqual([])
    await r.execute({ type: 'DecideCalls', runId: run, decisions: [{ toolCallId: first, action: 'accept' }] })
    await r.until('RunCompleted', 2)
    expect(asked2).toEqual(['go', 'go', 'yes'])
  })

  test('nothing of the invocation is held: the first answer calls the function from the top', async () => {
    const contexts: WeakRef<AgentContext>[] = []
    const r = await own(async (ctx) => {
      contexts.push(new WeakRef(ctx))
      await ctx.approve('a', { name: 'first' })
    })
    await r.send('go')
    const { first = '' } = await asked(r)
    await settle()
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    for (let left = 5; left > 0; left--) {
      collect()
      await settle(2)
    }
    expect(contexts[0]?.deref()).toBeUndefined()
    await r.decide([first, 'accept'])
    await r.ended()
    expect(contexts).toHaveLength(2)
  })
})
