/** Runs of own agents: how they end, are cancelled, stopped and interrupted. */
import { describe, expect, test } from 'vitest'
import type { Write } from '../../src/log/store.ts'
import type { AgentContext } from '../../src/runtime/define.ts'
import { settle } from '../../src/testing/run-kit.ts'
import { defineAgent } from '../../src/index.ts'
import { NEVER, gate, rig, type Rig, type RigOptions } from './rig.ts'

/** An agent `own` whose function is `run`, in a session of its own. */
async function own(run: (ctx: AgentContext) => unknown, more: Partial<RigOptions> = {}): Promise<Rig> {
  return rig({ own: [defineAgent({ name: 'own', run: run as never })], ...more }, { agent: 'own' })
}

/** Starts a run and answers how it ended. */
async function endOf(r: Rig) {
  await r.send('go')
  return r.ended()
}

/** The agent's last message. */
async function lastSaid(r: Rig): Promise<string> {
  const said = (await r.events('MessageAdded')).findLast(({ message }) => message.role === 'assistant')
  return said === undefined || typeof said.message.content === 'string' ? '' : said.message.content.map((part) => ('text' in part ? part.text : '')).join('')
}

describe('the function', () => {
  test('is told what it was asked, and what was said before', async () => {
    const told: unknown[] = []
    const r = await own(async (ctx) => {
      told.push([ctx.input.text, (await ctx.history()).map(({ role, content }) => [role, content]), ctx.runId, ctx.sessionId, ctx.by])
      return 'fine'
    })
    await endOf(r)
    await r.send('again')
    await r.ended()
    expect(told[1]).toEqual([
      'again',
      [
        ['user', 'go'],
        ['assistant', [{ type: 'text', text: 'fine' }]],
      ],
      r.run,
      r.id,
      'alice',
    ])
  })

  test.each<[string, () => unknown, object]>([
    ['throws', () => Promise.reject(new Error('out of ink')), { code: 'agent_failed', error: 'out of ink' }],
    [
      'throws at once',
      () => {
        throw new Error('out of ink')
      },
      { code: 'agent_failed', error: 'out of ink' },
    ],
    ['throws text', () => Promise.reject('ink' as never), { code: 'agent_failed', error: 'ink' }],
    ['answers a number', () => 5, { code: 'agent_failed', error: 'what an agent answers is text, not a number' }],
  ])('that %s ends its run as failed, once, and the session goes on', async (_how, run, end) => {
    const r = await own(run)
    expect(await endOf(r)).toMatchObject({ type: 'RunFailed', ...end })
    await r.send('again')
    expect(await r.ended()).toMatchObject({ type: 'RunFailed', ...end })
  })

  test('that ends while a message waits hands it to the next run', async () => {
    const wait = gate()
    const asked: string[] = []
    const r = await own(async (ctx) => {
      asked.push(ctx.input.text)
      await ctx.step('wait', () => wait.passed)
      return `heard ${ctx.input.text}`
    })
    await r.send('first')
    const { run } = r
    await r.until('StepStarted')
    await r.followUp('second')
    await r.steer('third')
    wait.open()
    expect(await r.ended(run)).toMatchObject({ type: 'RunCompleted', stopReason: 'completed' })
    await r.until('RunCompleted', 3)
    expect(asked).toEqual(['first', 'second', 'third'])
  })
})

describe('a session that says what happens with interrupted runs', () => {
  const start = async (onInterrupt: 'ask' | 'fail', repeatable: boolean) => {
    const run = (ctx: AgentContext) => ctx.step('work', { repeatable }, ({ attempt }) => (attempt === 1 ? (NEVER as Promise<string>) : 'done'))
    const r = await rig({ own: [defineAgent({ name: 'own', run })] }, { agent: 'own', onInterrupt })
    await r.send('go')
    await r.until('StepStarted')
    return r.restart()
  }

  test('has a run fail whose step was cut off', async () => {
    const r = await start('fail', true)
    await r.until('RunFailed')
    expect(await r.events('RunFailed')).toMatchObject([{ code: 'run_interrupted' }])
  })

  test.each([
    [true, { type: 'RunCompleted' }],
    [false, { type: 'RunFailed', code: 'step_interrupted' }],
  ])('asks first; then a step that may be repeated (%s) is', async (repeatable, end) => {
    const r = await start('ask', repeatable)
    const { runId } = await r.until('ResumeRequested')
    expect(await r.events('StepFailed')).toEqual([])
    await r.execute({ type: 'ResumeRun', runId, action: 'resume' })
    expect(await r.ended(runId)).toMatchObject(end)
  })
})

describe('a cancel', () => {
  test('that was accepted before the process died holds in the next one: no step begins any more', async () => {
    const did: string[] = []
    const isCancel = (write: Write | undefined) => write?.kind === 'decide' && write.command.type === 'CancelRun'
    const r = await own(
      async (ctx) => {
        did.push('invoked')
        await ctx.step('a', { repeatable: true }, ({ attempt }) => (did.push(`a ${attempt}`), attempt === 1 ? NEVER : undefined))
      },
      { fateOf: (_commit, [write]) => (isCancel(write) ? 'cut-after' : 'pass') },
    )
    await r.send('go')
    await r.until('StepStarted')
    void r.cancel()
    await r.store.cut
    const next = await r.restart()
    expect(await next.ended(r.run)).toMatchObject({ type: 'RunCompleted', stopReason: 'cancelled' })
    expect(did).toEqual(['invoked', 'a 1'])
  })

  test('that comes right behind the intent of a step is heard before the step begins', async () => {
    const did: string[] = []
    const r = await own((ctx) => ctx.step('a', () => void did.push('a')))
    r.committer.watch(({ events }) => {
      if (events.some(({ type }) => type === 'StepStarted')) void r.cancel()
    })
    expect(await endOf(r)).toMatchObject({ stopReason: 'cancelled' })
    expect(did).toEqual([])
  })

  test('rejects what is under way, and ends the run as soon as its steps have ended', async () => {
    const thrown: unknown[] = []
    const r = await own(async (ctx) => {
      await ctx
        .step('long', ({ signal }) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))))
        .catch((error: unknown) => thrown.push(error))
      await ctx.step('more', () => thrown.push('more')).catch((error: unknown) => thrown.push(error))
    })
    await r.send('go')
    await r.until('StepStarted')
    expect(await r.cancel()).toMatchObject({ cancel: 'cancelling' })
    expect(await r.ended()).toMatchObject({ type: 'RunCompleted', stopReason: 'cancelled' })
    await settle()
    expect(thrown).toEqual([expect.objectContaining({ message: 'the run was cancelled' })])
  })

  test('ends a run whose function tries for ever, and does not hold the process', async () => {
    const r = await own(async (ctx) => {
      for (let turn = 0; ; turn++)
        await ctx.step(`try:${turn}`, ({ signal }) => new Promise((_, reject) => signal.addEventListener('abort', reject))).catch(() => undefined)
    })
    await r.send('go')
    await r.until('StepStarted')
    await r.cancel()
    expect(await r.ended()).toMatchObject({ stopReason: 'cancelled' })
    await settle()
    expect(r.supervisor.active).toBe(0)
  })

  test('ends a run whose step does not listen, within its time', async () => {
    const r = await own((ctx) => ctx.step('deaf', () => NEVER))
    await r.send('go')
    await r.until('StepStarted')
    await r.cancel()
    await settle()
    r.clock.advance(149)
    expect(await r.ended()).toMatchObject({ stopReason: 'cancelled' })
  })

  test('ends a run whose function does not come back, at once', async () => {
    const r = await own(() => NEVER)
    await r.send('go')
    await settle()
    expect(await r.cancel()).toMatchObject({ cancel: 'cancelled' })
    expect(await r.ended()).toMatchObject({ stopReason: 'cancelled' })
    await settle()
    expect(r.supervisor.active).toBe(0)
  })
})

describe('a stop', () => {
  test('lets a running step end, begins no other, and leaves the rest to the next process', async () => {
    const ran: string[] = []
    const wait = gate()
    const r = await own(async (ctx) => {
      await ctx.step('one', async () => {
        ran.push('one')
        await wait.passed
      })
      await ctx.emit('one is done')
      await ctx.step('two', () => ran.push('two'))
      return 'done'
    })
    await r.send('go')
    await r.until('StepStarted')
    const stopped = r.supervisor.stop(10_000)
    await settle()
    wait.open()
    await stopped
    expect(ran).toEqual(['one'])
    expect(await r.events('StepCompleted')).toMatchObject([{ key: 'one' }])
    expect(await r.events('TextDelta')).toEqual([])
    const next = await r.restart()
    expect(await next.ended(r.run)).toMatchObject({ type: 'RunCompleted' })
    expect(ran).toEqual(['one', 'two'])
  })

  test('waits until the last result is durable', async () => {
    const held = gate()
    const work = gate()
    const isResult = (write: Write) => write.kind === 'record' && write.events.some(({ type }) => type === 'StepCompleted')
    const run = async (ctx: AgentContext) => {
      await ctx.step('one', () => work.passed)
      await ctx.step('two', () => 2)
    }
    const r = await own(run, {
      fateOf: (_commit, writes) => (writes.some(isResult) ? held.passed.then(() => 'pass' as const) : 'pass'),
    })
    await r.send('go')
    await r.until('StepStarted')
    let over = false
    const stopped = r.supervisor.stop(10_000).then(() => (over = true))
    work.open()
    await settle()
    expect(over).toBe(false)
    held.open()
    await stopped
    expect(await r.events('StepCompleted')).toMatchObject([{ key: 'one' }])
  })

  test('does not wait for a pause between tries', async () => {
    const r = await own((ctx) => ctx.step('flaky', { retry: { attempts: 2 } }, ({ attempt }) => (attempt === 1 ? Promise.reject(new Error('no')) : 'yes')))
    await r.send('go')
    await r.until('StepFailed')
    await settle()
    await r.supervisor.stop(10_000)
    const next = await r.restart()
    expect(await next.ended(r.run)).toMatchObject({ type: 'RunCompleted' })
    expect(await lastSaid(next)).toBe('yes')
  })
})

test('an agent that brings the server down again and again ends as failed', async () => {
  let r = await own((ctx) => ctx.step('crash', { repeatable: true }, () => NEVER))
  await r.send('go')
  const { run } = r
  for (let life = 1; life <= 4; life++) {
    await r.until('StepStarted', life)
    r = await r.restart()
  }
  await settle()
  expect(await r.ended(run)).toMatchObject({ type: 'RunFailed', code: 'crash_loop' })
})

test('nor does it help an agent that says something between two crashes', async () => {
  let r = await own(async (ctx) => {
    for (let turn = 1; ; turn++) {
      await ctx.step(`try:${turn}`, () => NEVER).catch(() => undefined)
      await ctx.emit(`once more, at ${ctx.now()}`)
    }
  })
  await r.send('go')
  const { run } = r
  for (let life = 1; life <= 4; life++) {
    await r.until('StepStarted', life)
    r = await r.restart()
  }
  await settle()
  expect(await r.events('RunFailed')).toMatchObject([{ runId: run, code: 'crash_loop' }])
})
