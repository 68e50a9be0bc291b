/** What own agents say: once, in order, and marked where it does not count. */
import { describe, expect, test } from 'vitest'
import type { Recorded, StreamEvent } from '../../src/domain/event.ts'
import type { AgentContext } from '../../src/runtime/define.ts'
import { settle } from '../../src/testing/run-kit.ts'
import { defineAgent } from '../../src/index.ts'
import { NEVER, gate, rig, type Rig } from './rig.ts'

async function own(run: (ctx: AgentContext) => unknown): Promise<Rig> {
  return rig({ own: [defineAgent({ name: 'own', run: run as never })] }, { agent: 'own' })
}

/** The log from the run's first step on, in short. */
function short(log: readonly Recorded[]): readonly string[] {
  return log.slice(3).map(({ event }) => line(event))
}

function line(event: StreamEvent): string {
  switch (event.type) {
    case 'TextDelta':
      return `+ ${event.delta}`
    case 'TextCompleted':
      return `= ${event.text}`
    case 'MessageAdded':
      return `${event.message.role}${event.partial === true ? ' (cut off)' : ''}: ${typeof event.message.content === 'string' ? event.message.content : event.message.content.map((part) => ('text' in part ? part.text : part.type)).join('|')}`
    case 'TurnStarted':
    case 'AttemptStarted':
      return `${event.type} ${event.turn}.${event.attempt}`
    case 'AttemptSuperseded':
      return `superseded from ${event.from}`
    case 'TurnCompleted':
      return `turn ends: ${event.finishReason}`
    case 'StepStarted':
    case 'StepCompleted':
    case 'StepFailed':
      return `${event.type} ${event.key.replace(/:.*/, '')}`
    default:
      return event.type
  }
}

describe('emit', () => {
  test('says a finished message, in a turn of its own', async () => {
    const r = await own(async (ctx) => {
      await ctx.emit('one')
      await ctx.emit('')
      return 'two'
    })
    await r.send('go')
    expect(await r.ended()).toMatchObject({ type: 'RunCompleted', totalTurns: 2 })
    expect(short(await r.log())).toEqual([
      'TurnStarted 1.1',
      '+ one',
      '= one',
      'assistant: one',
      'StepCompleted ~said',
      'turn ends: stop',
      'TurnStarted 2.1',
      '+ two',
      '= two',
      'assistant: two',
      'turn ends: stop',
      'RunCompleted',
    ])
  })

  test('says nothing again in a replay; the same words twice are said twice', async () => {
    const wait = gate()
    const r = await own(async (ctx) => {
      await ctx.emit('hello')
      await Promise.all([ctx.emit('left'), ctx.emit('right'), ctx.emit('hello')])
      await ctx.step('wait', { repeatable: true }, () => wait.passed)
      await ctx.emit('bye')
    })
    await r.send('go')
    await r.until('StepStarted')
    const next = await r.restart()
    wait.open()
    await next.ended(r.run)
    expect((await next.events('TextCompleted')).map(({ text }) => text)).toEqual(['hello', 'left', 'right', 'hello', 'bye'])
  })

  test.each<[string, unknown, string]>([
    ['a number', 5, 'what an agent says is text, not a number'],
    ['too much', 'x'.repeat(262_145), 'what an agent says has 262145 bytes, 262144 is the most'],
  ])('of %s is refused', async (_what, text, error) => {
    const r = await own((ctx) => ctx.emit(text as string))
    await r.send('go')
    expect(await r.ended()).toMatchObject({ code: 'agent_failed', error })
  })
})

describe('a step that says something', () => {
  test('streams it, and it is a message when the step has its result', async () => {
    const r = await own((ctx) =>
      ctx
        .step('write', async ({ emit }) => {
          await emit('one ')
          await emit('two')
          return 2
        })
        .then(() => undefined),
    )
    await r.send('go')
    await r.ended()
    expect(short(await r.log())).toEqual([
      'StepStarted write',
      'TurnStarted 1.1',
      '+ one ',
      '+ two',
      '= one two',
      'assistant: one two',
      'StepCompleted write',
      'turn ends: stop',
      'RunCompleted',
    ])
  })

  test('and is cut off by a crash: what it said is superseded, and said again whole', async () => {
    const wait = gate()
    const r = await own((ctx) =>
      ctx.step('write', { repeatable: true }, async ({ emit, attempt }) => {
        await emit('one ')
        if (attempt === 1) await wait.passed
        await emit('two')
      }),
    )
    await r.send('go')
    await r.until('TextDelta')
    const next = await r.restart()
    await next.ended(r.run)
    const log = await next.log()
    expect(short(log)).toEqual([
      'StepStarted write',
      'TurnStarted 1.1',
      '+ one ',
      'RunClaimed',
      'superseded from 6',
      'StepStarted write',
      'AttemptStarted 1.2',
      '+ one ',
      '+ two',
      '= one two',
      'assistant: one two',
      'StepCompleted write',
      'turn ends: stop',
      'RunCompleted',
    ])
    expect(log[5]?.event).toMatchObject({ type: 'TextDelta', delta: 'one ' })
  })

  test('and fails, then is tried again: the first try’s words do not count', async () => {
    const r = await own((ctx) =>
      ctx.step('write', { retry: { attempts: 2, delayMs: 10 } }, async ({ emit, attempt }) => {
        await emit(`try ${attempt}`)
        if (attempt === 1) throw new Error('no')
      }),
    )
    await r.send('go')
    await r.until('AttemptSuperseded')
    await settle()
    r.clock.advance(10)
    await r.ended()
    expect(short(await r.log())).toEqual([
      'StepStarted write',
      'TurnStarted 1.1',
      '+ try 1',
      'StepFailed write',
      'superseded from 6',
      'StepStarted write',
      'AttemptStarted 1.2',
      '+ try 2',
      '= try 2',
      'assistant: try 2',
      'StepCompleted write',
      'turn ends: stop',
      'RunCompleted',
    ])
  })

  test('and fails for good: its words are kept as a message that was cut off', async () => {
    const r = await own(async (ctx) => {
      await ctx
        .step('write', async ({ emit }) => {
          await emit('so far')
          throw new Error('no')
        })
        .catch(() => undefined)
      return 'sorry'
    })
    await r.send('go')
    await r.ended()
    expect(short(await r.log())).toEqual([
      'StepStarted write',
      'TurnStarted 1.1',
      '+ so far',
      'assistant (cut off): so far',
      'StepFailed write',
      'turn ends: error',
      'TurnStarted 2.1',
      '+ sorry',
      '= sorry',
      'assistant: sorry',
      'turn ends: stop',
      'RunCompleted',
    ])
  })

  test('and is cancelled, though it does not listen: its words are kept, and its turn ends', async () => {
    const r = await own((ctx) =>
      ctx.step('write', async ({ emit }) => {
        await emit('so far')
        await NEVER
      }),
    )
    await r.send('go')
    await r.until('TextDelta')
    await r.cancel()
    await settle()
    r.clock.advance(100)
    expect(await r.ended()).toMatchObject({ stopReason: 'cancelled', totalTurns: 1 })
    expect(short(await r.log()).slice(2)).toEqual(['+ so far', 'CancelRequested', 'assistant (cut off): so far', 'turn ends: cancelled', 'RunCompleted'])
  })

  test('side by side with another does not mix its words with the other’s', async () => {
    const first = gate()
    const r = await own((ctx) =>
      Promise.all([
        ctx.step('a', async ({ emit }) => {
          await emit('a1 ')
          await first.passed
          await emit('a2')
        }),
        ctx.step('b', async ({ emit }) => {
          const said = [emit('b1 '), emit('b2')]
          await settle()
          first.open()
          await Promise.all(said)
        }),
      ]).then(() => undefined),
    )
    await r.send('go')
    expect(await r.ended()).toMatchObject({ type: 'RunCompleted', totalTurns: 2 })
    expect((await r.events('TextCompleted')).map(({ text }) => text)).toEqual(['a1 a2', 'b1 b2'])
    const deltas = (await r.events('TextDelta')).map(({ delta }) => delta).join('')
    expect(deltas).toBe('a1 a2b1 b2')
  })

  test('too late is told so', async () => {
    let late: ((text: string) => Promise<void>) | undefined
    const r = await own(async (ctx) => {
      await ctx.step('write', ({ emit }) => void (late = emit))
      await late?.('more')
    })
    await r.send('go')
    expect(await r.ended()).toMatchObject({ error: 'the step has ended: it says nothing more' })
  })
})

test('messages that arrive are taken in where the function asks for them, the same in each replay', async () => {
  const wait = gate()
  const seen: unknown[] = []
  const r = await own(async (ctx) => {
    seen.push((await ctx.messages()).length)
    await ctx.step('first', () => wait.passed)
    seen.push((await ctx.messages()).map(({ text, delivery }) => [text, delivery]))
    await ctx.step('second', { repeatable: true }, ({ attempt }) => (attempt === 1 ? NEVER : undefined))
    seen.push((await ctx.messages()).map(({ text }) => text))
  })
  await r.send('go')
  await r.until('StepStarted')
  await r.steer('faster')
  await r.followUp('and then?')
  wait.open()
  await r.until('StepStarted', 2)
  await r.steer('still there?')
  const next = await r.restart()
  expect(await next.ended(r.run)).toMatchObject({ type: 'RunCompleted' })
  const both = [
    ['faster', 'steer'],
    ['and then?', 'follow_up'],
  ]
  expect(seen).toEqual([0, both, 0, both, ['still there?']])
  expect((await next.events('RunStarted')).length).toBe(1)
})

test('a message is taken in once, also where branches ask side by side', async () => {
  const wait = gate()
  const seen: unknown[] = []
  const r = await own(async (ctx) => {
    await ctx.step('first', () => wait.passed)
    const taken = await Promise.all([ctx.messages(), ctx.messages()])
    seen.push(taken.map((messages) => messages.map(({ text }) => text)))
  })
  await r.send('go')
  await r.until('StepStarted')
  await r.steer('faster')
  wait.open()
  await r.ended()
  expect(seen).toEqual([[['faster'], []]])
  expect((await r.events('MessageAdded')).map(({ message }) => message.content)).toEqual(['go', 'faster'])
})
