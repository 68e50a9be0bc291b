/** Steps of own agents: done once, answered from the journal ever after. */
import { describe, expect, onTestFinished, test } from 'vitest'
import type { AgentContext } from '../../src/runtime/define.ts'
import { withinStep } from '../../src/runtime/invocation.ts'
import { settle } from '../../src/testing/run-kit.ts'
import { StepInterrupted, defineAgent } from '../../src/index.ts'
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

describe('a step', () => {
  test.each(['a failure', 'a key that is used twice', 'a cancel'])('that nobody awaits costs nobody else anything: %s', async (what) => {
    const unhandled: unknown[] = []
    const seen = (reason: unknown) => void unhandled.push(reason)
    process.on('unhandledRejection', seen)
    onTestFinished(() => void process.off('unhandledRejection', seen))
    const r = await own(async (ctx) => {
      const untilAborted = ({ signal }: { signal: AbortSignal }) => new Promise((_, reject) => signal.addEventListener('abort', reject))
      void ctx.step('lost', what === 'a cancel' ? untilAborted : () => Promise.reject(new Error('nobody hears this')))
      if (what === 'a key that is used twice') void ctx.step('lost', () => 1)
      await ctx.step('next', what === 'a cancel' ? untilAborted : () => 1)
    })
    await r.send('go')
    if (what === 'a cancel') {
      await r.until('StepStarted', 2)
      await r.cancel()
    }
    expect(await r.ended()).toMatchObject({ type: 'RunCompleted' })
    await settle()
    expect(unhandled).toEqual([])
  })

  test('records its intent, runs, and records its result', async () => {
    const r = await own(async (ctx) => {
      await ctx.step('one', { input: { a: 1 } }, () => ({ b: [2] }))
    })
    expect(await endOf(r)).toMatchObject({ type: 'RunCompleted', stopReason: 'completed', totalTurns: 0 })
    expect((await r.log()).map(({ event }) => event).slice(3, 5)).toMatchObject([
      { type: 'StepStarted', key: 'one', attempt: 1, inputHash: expect.any(String) as string },
      { type: 'StepCompleted', key: 'one', attempt: 1, result: { b: [2] } },
    ])
  })

  test('answers the same when it is replayed, and does not run again', async () => {
    const ran: string[] = []
    const answers: unknown[] = []
    const world = gate()
    const agent = async (ctx: AgentContext) => {
      answers.push(await ctx.step('one', () => ({ seen: ran.push('one'), when: undefined })))
      await ctx.step('two', { repeatable: true }, async () => {
        ran.push('two')
        await world.passed
      })
    }
    const r = await own(agent)
    await r.send('go')
    await r.until('StepStarted', 2)
    const next = await r.restart()
    world.open()
    expect(await next.ended(r.run)).toMatchObject({ type: 'RunCompleted' })
    expect(ran).toEqual(['one', 'two', 'two'])
    expect(answers).toEqual([{ seen: 1 }, { seen: 1 }])
    expect(await next.events('StepStarted')).toMatchObject([
      { key: 'one', attempt: 1 },
      { key: 'two', attempt: 1 },
      { key: 'two', attempt: 2 },
    ])
  })

  test('that a dead process left is not run again: the agent is told, in every replay, and may go on', async () => {
    const ran: string[] = []
    const told: unknown[] = []
    const wait = gate()
    const r = await own(async (ctx) => {
      try {
        await ctx.step('pay', async () => {
          ran.push('pay')
          await NEVER
        })
      } catch (error) {
        told.push(error)
      }
      await ctx.step('check', { repeatable: true }, () => wait.passed)
    })
    await r.send('go')
    await r.until('StepStarted')
    const second = await r.restart()
    await second.until('StepStarted', 2)
    const third = await second.restart()
    wait.open()
    expect(await third.ended(r.run)).toMatchObject({ type: 'RunCompleted' })
    expect(ran).toEqual(['pay'])
    expect(told).toHaveLength(2)
    for (const error of told) {
      expect(error).toBeInstanceOf(StepInterrupted)
      expect(error).toMatchObject({
        name: 'StepInterrupted',
        code: 'step_interrupted',
        key: 'pay',
        message: 'the step pay was interrupted: it may or may not have taken effect',
      })
    }
    expect(await third.events('StepFailed')).toMatchObject([{ key: 'pay', attempt: 1, code: 'step_interrupted' }])
  })

  test('that was interrupted ends a run whose agent does not care', async () => {
    const r = await own((ctx) => ctx.step('pay', () => NEVER))
    await r.send('go')
    await r.until('StepStarted')
    const next = await r.restart()
    expect(await next.ended(r.run)).toMatchObject({ type: 'RunFailed', code: 'step_interrupted' })
  })

  test('that fails throws the same now and in each replay', async () => {
    const caught: unknown[] = []
    const wait = gate()
    const r = await own(async (ctx) => {
      await ctx
        .step('bad', () => Promise.reject(Object.assign(new TypeError('no such card'), { code: 'E_CARD', more: 1 })))
        .catch((error: unknown) => caught.push(error))
      await ctx.step('worse', () => Promise.reject('text' as never)).catch((error: unknown) => caught.push(error))
      await ctx.step('wait', { repeatable: true }, () => wait.passed)
    })
    await r.send('go')
    await r.until('StepStarted', 3)
    const next = await r.restart()
    wait.open()
    await next.ended(r.run)
    const seen = caught.map((error) =>
      error instanceof Error ? [error.name, error.message, 'code' in error ? error.code : undefined, 'more' in error] : error,
    )
    expect(seen.slice(0, 2)).toEqual([
      ['TypeError', 'no such card', 'E_CARD', false],
      ['Error', 'text', undefined, false],
    ])
    expect(seen.slice(2)).toEqual(seen.slice(0, 2))
  })

  test.each<[string, unknown, unknown]>([
    ['nothing', undefined, null],
    ['what is not there', { a: undefined, b: [undefined] }, { b: [null] }],
    ['text', 'x', 'x'],
    ['an object without a prototype', Object.assign(Object.create(null), { a: 1 }), { a: 1 }],
  ])('answers %s as it will be read again', async (_what, value, read) => {
    const answers: unknown[] = []
    const r = await own(async (ctx) => void answers.push(await ctx.step('k', () => value)))
    await endOf(r)
    expect(answers).toEqual([read])
  })

  const ring: unknown[] = []
  ring.push(ring)
  test.each<[string, unknown, string]>([
    ['a date', new Date(0), 'the result of the step k is not JSON: it holds a Date'],
    ['a map inside', { m: new Map() }, 'it holds a Map'],
    ['a function', () => 1, 'it holds a function'],
    ['no number', { n: Number.NaN }, 'it holds NaN'],
    ['a big integer', [1n], 'it holds a bigint'],
    ['what holds itself', ring, 'is nested more than 64 deep, or holds itself'],
    ['too much', 'ü'.repeat(140_000), 'has 280002 bytes as JSON, 262144 is the most'],
  ])('that answers %s fails, and says why', async (_what, value, why) => {
    const r = await own((ctx) => ctx.step('k', () => value))
    expect(await endOf(r)).toMatchObject({ type: 'RunFailed', code: 'agent_failed', error: expect.stringContaining(why) as string })
    expect(await r.events('StepFailed')).toMatchObject([{ key: 'k', error: expect.stringContaining(why) as string }])
  })

  test('whose key was used before is refused by name', async () => {
    const r = await own(async (ctx) => {
      await ctx.step('page', () => 1)
      await ctx.step('page', () => 2)
    })
    expect(await endOf(r)).toMatchObject({
      code: 'agent_failed',
      error: 'the key "page" is used twice in one run: each step and question has its own; in a loop, add what differs to it',
    })
  })

  test.each(['', '~now:1', 'x'.repeat(201), 5])('whose key is %j is refused', async (key) => {
    const r = await own((ctx) => ctx.step(key as string, () => 1))
    expect(await endOf(r)).toMatchObject({ code: 'agent_failed', error: expect.stringContaining('a key has 1 to 200 characters') as string })
  })

  test('with another input than the recorded one ends the run as agent_changed, whatever the agent catches', async () => {
    let version = 1
    const wait = gate()
    const r = await own(async (ctx) => {
      await ctx.step('one', { input: { b: 1, a: version } }, () => 1).catch(() => 0)
      await ctx.step('two', { repeatable: true }, () => wait.passed)
    })
    await r.send('go')
    await r.until('StepStarted', 2)
    version = 2
    const next = await r.restart()
    expect(await next.ended(r.run)).toMatchObject({
      type: 'RunFailed',
      code: 'agent_changed',
      error: 'the agent was changed while this run was under way: the step one was recorded with another input',
    })
  })

  test('takes the same input in another order for the same', async () => {
    let input: object = { a: 1, b: { c: [1, 2], d: 2 } }
    const wait = gate()
    const r = await own(async (ctx) => {
      await ctx.step('one', { input }, () => 1)
      await ctx.step('two', { repeatable: true }, () => wait.passed)
    })
    await r.send('go')
    await r.until('StepStarted', 2)
    input = { b: { d: 2, c: [1, 2] }, a: 1 }
    const next = await r.restart()
    wait.open()
    expect(await next.ended(r.run)).toMatchObject({ type: 'RunCompleted' })
  })

  test('is tried again as it asks, with growing pauses; a takeover keeps the pause', async () => {
    const tries: number[] = []
    const r = await own((ctx) =>
      ctx.step('flaky', { retry: { attempts: 3, delayMs: 100 } }, ({ attempt }) => {
        tries.push(attempt)
        if (attempt < 3) throw new Error(`not the ${attempt}. time`)
        return 'there'
      }),
    )
    await r.send('go')
    await r.until('StepFailed')
    await settle()
    expect(tries).toEqual([1])
    r.clock.advance(99)
    await settle()
    expect(tries).toEqual([1])
    r.clock.advance(1)
    await r.until('StepFailed', 2)
    const next = await r.restart({}, 0)
    next.clock.advance(199)
    await settle()
    expect(tries).toEqual([1, 2])
    next.clock.advance(1)
    await next.ended(r.run)
    expect(tries).toEqual([1, 2, 3])
    expect(await lastSaid(next)).toBe('there')
  })

  test('that takes too long has failed, though it does not listen', async () => {
    const signals: AbortSignal[] = []
    const r = await own((ctx) =>
      ctx.step('slow', { timeoutMs: 500 }, ({ signal }) => {
        signals.push(signal)
        return NEVER
      }),
    )
    await r.send('go')
    await r.until('StepStarted')
    await settle()
    r.clock.advance(500)
    expect(await r.ended()).toMatchObject({ code: 'agent_failed', error: 'the step slow took longer than 500 ms' })
    expect(signals[0]?.aborted).toBe(true)
    expect(await r.events('StepFailed')).toMatchObject([{ name: 'StepTimeout', code: 'step_timeout' }])
  })

  test('side by side with others is found again by its key, in whatever order they end', async () => {
    const ran: string[] = []
    const gates = { a: gate(), b: gate(), c: gate() }
    const agent = async (ctx: AgentContext) => {
      const one = (key: keyof typeof gates) =>
        ctx.step(key, { repeatable: key === 'c' }, async () => {
          ran.push(key)
          await gates[key].passed
          return key
        })
      return (await Promise.all([one('a'), one('b'), one('c')])).join(' ')
    }
    const r = await own(agent)
    await r.send('go')
    await r.until('StepStarted', 3)
    gates.b.open()
    await r.until('StepCompleted', 1)
    gates.a.open()
    await r.until('StepCompleted', 2)
    const next = await r.restart()
    gates.c.open()
    await next.ended(r.run)
    expect(ran).toEqual(['a', 'b', 'c', 'c'])
    expect(await lastSaid(next)).toBe('a b c')
  })
})

test('the time, chance and ids are the same in each replay', async () => {
  const seen: unknown[][] = []
  const wait = gate()
  const r = await own(async (ctx) => {
    seen.push([ctx.now(), ctx.random(), ctx.uuid(), ctx.now(), ctx.uuid()])
    await ctx.step('wait', { repeatable: true }, () => wait.passed)
  })
  await r.send('go')
  await r.until('StepStarted')
  const next = await r.restart()
  wait.open()
  await next.ended(r.run)
  expect(seen).toHaveLength(2)
  expect(seen[1]).toEqual(seen[0])
  expect(seen[0]?.[0]).toBe(1_700_000_000_000)
  expect(seen[0]?.[2]).not.toBe(seen[0]?.[4])
  // What was a moment is no step of its own: it has no intent.
  expect((await next.events('StepCompleted')).map(({ key }) => key).slice(0, 5)).toEqual(['~now:1', '~random:1', '~uuid:1', '~now:2', '~uuid:2'])
})

test('a run has at most 10,000 steps', async () => {
  const r = await own(async (ctx) => {
    for (let index = 0; index < 10_001; index++) ctx.now()
  })
  expect(await endOf(r)).toMatchObject({ type: 'RunFailed', code: 'agent_failed', error: 'a run has at most 10000 steps' })
})

test('the results of a run have at most 32 Mi characters together, before its last step', async () => {
  const large = 'x'.repeat(262_142)
  const r = await own(async (ctx) => {
    for (let index = 0; ; index++) await ctx.step(`large:${index}`, () => large)
  })
  expect(await endOf(r)).toMatchObject({ code: 'agent_failed', error: 'the results of a run have at most 33554432 characters together' })
  // The newest result may still be on its way when the next step is asked for.
  const { length } = await r.events('StepStarted')
  expect([128, 129]).toContain(length)
})

test('a step is tried at most 20 times, with pauses of at most a minute', async () => {
  const r = await own((ctx) => ctx.step('flaky', { retry: { attempts: 1_000, delayMs: 50_000 } }, () => Promise.reject(new Error('no'))))
  await r.send('go')
  const pauses: number[] = []
  for (let tries = 1; tries < 20; tries++) {
    const { retryAtMs = 0 } = await r.until('StepFailed', tries)
    pauses.push(retryAtMs - r.clock.nowMs())
    await settle()
    r.clock.advance(60_000)
  }
  expect(await r.ended()).toMatchObject({ type: 'RunFailed', error: 'no' })
  expect(await r.events('StepFailed')).toHaveLength(20)
  expect(pauses.slice(0, 3)).toEqual([50_000, 60_000, 60_000])
})

test('a function that asks for ever for what is refused does not hold the process: its run ends', async () => {
  const r = await own(async (ctx) => {
    for (;;) await ctx.step('same', () => 1).catch(() => undefined)
  })
  expect(await endOf(r)).toMatchObject({ type: 'RunFailed', code: 'agent_failed', error: 'a run has at most 10000 steps' })
})

test.each<[string, object, unknown, string]>([
  ['has no function', {}, undefined, 'the step k has no function'],
  ['is tried no number of times', { retry: { attempts: Number.NaN } }, () => 1, 'the step k: attempts is NaN'],
  ['has a pause that is none', { retry: { attempts: 2, delayMs: '5' } }, () => 1, 'the step k: delayMs is 5'],
  ['has a time that is none', { timeoutMs: -1 }, () => 1, 'the step k: timeoutMs is -1'],
])('a step that %s is refused before it is begun', async (_how, options, fn, error) => {
  const r = await own((ctx) => ctx.step('k', options, fn as never))
  expect(await endOf(r)).toMatchObject({ code: 'agent_failed', error })
  expect(await r.events('StepStarted')).toEqual([])
})

describe('within a step', () => {
  test.each<[string, (ctx: AgentContext) => Promise<unknown>]>([
    ['a step', (ctx) => ctx.step('inner', () => 1)],
    ['a text', (ctx) => ctx.emit('x')],
    ['a question', (ctx) => ctx.approve('q', { name: 'q' })],
  ])('%s of the context is refused, also later in it', async (_what, inner) => {
    const r = await own((ctx) =>
      ctx.step('outer', async ({ emit }) => {
        await emit('I begin')
        await inner(ctx)
      }),
    )
    expect(await endOf(r)).toMatchObject({ code: 'agent_failed', error: 'within the step outer only what the step is given may be used, not ctx' })
  })

  test('the time is told, and takes no other’s place', async () => {
    const seen: unknown[] = []
    const wait = gate()
    const r = await own(async (ctx) => {
      await ctx.step('one', () => ctx.uuid())
      seen.push(ctx.uuid())
      await ctx.step('two', { repeatable: true }, () => wait.passed)
    })
    await r.send('go')
    await r.until('StepStarted', 2)
    const next = await r.restart()
    wait.open()
    await next.ended(r.run)
    expect(seen[0]).toBe(seen[1])
  })

  test('another run may begin: one commit serves many sessions', async () => {
    const r = await own((ctx) => ctx.step('one', () => 'fine'))
    await withinStep.run('a step of another session', () => r.send('go'))
    expect(await r.ended()).toMatchObject({ type: 'RunCompleted' })
  })

  test('nothing is left of it behind the step', async () => {
    const r = await own(async (ctx) => {
      await ctx.step('one', async () => settle(2))
      await ctx.emit('behind')
      await ctx.step('two', () => 2)
    })
    expect(await endOf(r)).toMatchObject({ type: 'RunCompleted' })
  })
})
