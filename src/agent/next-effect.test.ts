import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { messageId, runId } from '../domain/ids.ts'
import { nextEffect, type Effect, type Rules } from './next-effect.ts'
import { initialRunState, type RunState, type TurnCall, type Waiting } from './run-state.ts'

const RUN = runId('r1')
const RULES: Rules = { maxTurns: 3, parallelSafe: (name) => name.startsWith('look') }

const waits = (id: string, delivery: Waiting['delivery']): Waiting => ({ messageId: messageId(id), delivery, message: { role: 'user', content: id } })
const STEER = waits('s', 'steer')
const LATER_STEER = waits('s2', 'steer')
const FOLLOW_UP = waits('f', 'follow_up')
const LATER_FOLLOW_UP = waits('f2', 'follow_up')

function call(id: string, more: Partial<TurnCall> = {}): TurnCall {
  return { id, name: 'act', arguments: {}, disposition: 'approve', status: 'open', attempt: 0, ...more }
}

const decided = (id: string, action: 'accept' | 'reject' | 'custom_result', content?: string): TurnCall =>
  call(id, { status: 'decided', disposition: 'ask', decision: { action, ...(content === undefined ? {} : { content }) } })

function state(more: Partial<RunState> = {}): RunState {
  return { ...initialRunState(RUN, []), ...more }
}

const inTurn = (more: Partial<RunState> = {}) => state({ turn: 1, turnOpen: true, attempt: 1, ...more })
const withCalls = (...calls: readonly TurnCall[]) => inTurn({ calls })

/** An effect in short: its type, and the ids that it is about. */
function short(effect: Effect): string {
  switch (effect.type) {
    case 'finish':
      return `finish ${effect.stopReason}`
    case 'wait_retry':
      return `wait_retry ${effect.untilMs}`
    case 'start_turn':
      return ['start_turn', ...effect.take.map((message) => message.messageId)].join(' ')
    case 'reject':
      return ['reject', ...effect.calls.map(({ call: { id }, reason }) => `${id}: ${reason}`)].join(' ')
    case 'answer':
      return `answer ${effect.call.id}: ${effect.content}`
    case 'recover':
      return `recover ${effect.call.id}`
    case 'ask':
    case 'execute':
      return [effect.type, ...effect.calls.map(({ id }) => id)].join(' ')
    default:
      return effect.type
  }
}

describe('between turns', () => {
  test.each<[string, Partial<RunState>, string]>([
    ['a new run starts its first turn', {}, 'start_turn'],
    ['a new run takes steering in with its first turn', { waiting: [STEER, LATER_STEER] }, 'start_turn s s2'],
    ['a new run leaves follow-ups for later', { waiting: [FOLLOW_UP, STEER] }, 'start_turn s'],
    ['a turn that asked for tools is followed by another', { turn: 1, lastFinish: 'tool_calls' }, 'start_turn'],
    ['that one takes all steering in, and no follow-up', { turn: 1, lastFinish: 'tool_calls', waiting: [STEER, FOLLOW_UP, LATER_STEER] }, 'start_turn s s2'],
    ['an answer ends the run', { turn: 1, lastFinish: 'stop' }, 'finish completed'],
    ['an answer that was cut for its length ends the run', { turn: 1, lastFinish: 'max_output_tokens' }, 'finish completed'],
    ['a cancelled turn alone ends the run as completed', { turn: 1, lastFinish: 'cancelled' }, 'finish completed'],
    ['steering after an answer gets a turn', { turn: 1, lastFinish: 'stop', waiting: [STEER] }, 'start_turn s'],
    ['follow-ups get their turns one at a time', { turn: 1, lastFinish: 'stop', waiting: [FOLLOW_UP, LATER_FOLLOW_UP] }, 'start_turn f'],
    ['steering goes before a follow-up that came first', { turn: 1, lastFinish: 'stop', waiting: [FOLLOW_UP, STEER] }, 'start_turn s'],
    ['the turn before the last may be followed', { turn: 2, lastFinish: 'tool_calls' }, 'start_turn'],
    ['the last turn may not', { turn: 3, lastFinish: 'tool_calls' }, 'finish max_turns'],
    ['not for steering either', { turn: 3, lastFinish: 'stop', waiting: [STEER] }, 'finish max_turns'],
    ['not for a follow-up either', { turn: 3, lastFinish: 'stop', waiting: [FOLLOW_UP] }, 'finish max_turns'],
    ['an answer in the last turn is a plain end', { turn: 3, lastFinish: 'stop' }, 'finish completed'],
  ])('%s', (_what, given, effect) => {
    expect(short(nextEffect(state(given), RULES))).toBe(effect)
  })
})

describe('in a turn', () => {
  test.each<[string, Partial<RunState>, string]>([
    ['a call of the model without a driver is superseded', { calling: true }, 'supersede'],
    ['it is superseded also when a retry was due before', { calling: true, retryAtMs: 9 }, 'supersede'],
    ['a retry waits for its time', { retryAtMs: 5000 }, 'wait_retry 5000'],
    ['a superseded attempt is tried again', {}, 'retry'],
    ['steering does not change that', { waiting: [STEER] }, 'retry'],
  ])('%s', (_what, given, effect) => {
    expect(short(nextEffect(inTurn(given), RULES))).toBe(effect)
  })

  test('nothing but ended calls ends the turn, also with messages that wait', () => {
    const ended = [call('a', { status: 'ended' }), call('b', { status: 'ended' })]
    expect(short(nextEffect(inTurn({ calls: ended }), RULES))).toBe('end_turn')
    expect(short(nextEffect(inTurn({ calls: ended, waiting: [STEER] }), RULES))).toBe('end_turn')
  })
})

describe('a cancel goes before everything', () => {
  test.each<[string, RunState]>([
    ['a run that has not begun', state()],
    ['a run between turns', state({ turn: 1, lastFinish: 'tool_calls', waiting: [STEER] })],
    ['a call of the model', inTurn({ calling: true })],
    ['a pause between tries', inTurn({ retryAtMs: 1 })],
    ['a call that runs', withCalls(call('a', { status: 'started' }))],
    ['a call that waits for a person', withCalls(call('a', { status: 'asked' }))],
    ['a run at its last turn', state({ turn: 3, lastFinish: 'tool_calls' })],
  ])('%s is finished as cancelled', (_what, given) => {
    expect(short(nextEffect({ ...given, cancelling: true }, RULES))).toBe('finish cancelled')
  })
})

describe('calls', () => {
  const asked = { status: 'asked', disposition: 'ask' } as const
  const look = { name: 'look' }
  test.each<[string, readonly TurnCall[], string]>([
    ['one call runs', [call('a')], 'execute a'],
    ['calls that are not parallel-safe run one after the other', [call('a'), call('b')], 'execute a'],
    ['the next one runs when the one before has ended', [call('a', { status: 'ended' }), call('b')], 'execute b'],
    ['parallel-safe calls run together', [call('a', look), call('b', look), call('c', look)], 'execute a b c'],
    ['up to the first one that is not', [call('a', look), call('b', look), call('c'), call('d', look)], 'execute a b'],
    ['one that is not runs alone, before parallel-safe ones', [call('a'), call('b', look)], 'execute a'],
    ['ended ones do not separate the others', [call('a', look), call('b', { status: 'ended' }), call('c', look)], 'execute a c'],
    ['calls that ask are asked for together', [call('a', { disposition: 'ask' }), call('b', { disposition: 'ask' })], 'ask a b'],
    ['also before an earlier call runs', [call('a'), call('b', { disposition: 'ask' })], 'ask b'],
    ['a call that waits for a person holds up those behind it', [call('a', asked), call('b')], 'wait_decision'],
    ['but not those before it', [call('a'), call('b', asked)], 'execute a'],
    ['a parallel-safe call behind it waits too', [call('a', look), call('b', asked), call('c', look)], 'execute a'],
    ['an accepted call runs', [decided('a', 'accept')], 'execute a'],
    ['an accepted call waits for the ones before it', [call('a', asked), decided('b', 'accept')], 'wait_decision'],
    ['a rejected call is rejected at once, wherever it stands', [call('a', asked), decided('b', 'reject')], 'reject b: Tool call rejected by user'],
    ['a denied call is rejected at once', [call('a'), call('b', { disposition: 'deny' })], 'reject b: Tool call denied by policy'],
    ['both go together', [decided('a', 'reject'), call('b', { disposition: 'deny' })], 'reject a: Tool call rejected by user b: Tool call denied by policy'],
    ['a person’s own result is taken, wherever it stands', [call('a', asked), decided('b', 'custom_result', 'mine')], 'answer b: mine'],
    ['one without content is empty', [decided('a', 'custom_result')], 'answer a: '],
    ['a call with bad arguments is not asked for, but run into its error', [call('a', { disposition: 'ask', invalid: 'no JSON' })], 'execute a'],
    ['a call of a process that is gone is recovered first', [call('a'), call('b', { status: 'started' })], 'recover b'],
    ['recovered in order', [call('a', { status: 'started' }), call('b', { status: 'started' })], 'recover a'],
    ['recovered before a rejection', [decided('a', 'reject'), call('b', { status: 'started' })], 'recover b'],
  ])('%s', (_what, calls, effect) => {
    expect(short(nextEffect(withCalls(...calls), RULES))).toBe(effect)
  })

  test.each<[string, readonly TurnCall[], string]>([
    ['open and asked calls', [call('a'), call('b', asked)], 'reject a: Skipped due to steering update b: Skipped due to steering update'],
    ['accepted calls', [call('a', { status: 'ended' }), decided('b', 'accept')], 'reject b: Skipped due to steering update'],
    ['not a call of a process that is gone', [call('a', { status: 'started' }), call('b')], 'recover a'],
  ])('steering skips %s', (_what, calls, effect) => {
    expect(short(nextEffect(inTurn({ calls, waiting: [STEER] }), RULES))).toBe(effect)
  })

  test('a follow-up skips nothing', () => {
    expect(short(nextEffect(inTurn({ calls: [call('a')], waiting: [FOLLOW_UP] }), RULES))).toBe('execute a')
  })
})

const anyCall = fc.record({
  name: fc.constantFrom('act', 'look'),
  disposition: fc.constantFrom('approve', 'ask', 'deny'),
  status: fc.constantFrom('open', 'asked', 'started', 'ended'),
} satisfies Record<string, fc.Arbitrary<unknown>>)

test('what runs next holds E1: nothing unfinished stands before it but parallel-safe calls that run with it', () => {
  fc.assert(
    fc.property(fc.array(anyCall, { minLength: 1, maxLength: 6 }), (drawn) => {
      const calls = drawn.map((more, index) => call(`c${index}`, more as Partial<TurnCall>))
      const effect = nextEffect(withCalls(...calls), RULES)
      if (effect.type !== 'execute') return
      const ids = effect.calls.map(({ id }) => id)
      const last = calls.findLastIndex(({ id }) => ids.includes(id))
      const before = calls.slice(0, last).filter(({ status }) => status !== 'ended')
      expect(before.map(({ id }) => id)).toEqual(ids.slice(0, -1))
      if (ids.length > 1) expect(effect.calls.every(({ name }) => name === 'look')).toBe(true)
    }),
  )
})
