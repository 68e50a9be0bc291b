import { describe, expect, test } from 'vitest'
import type { SendMessage, WhenBusy } from './command.ts'
import type { StreamEvent } from './event.ts'
import type { Principal } from './principal.ts'
import type { SessionState } from './session.ts'
import { decide } from './decide.ts'
import { ConvokeError } from './errors.ts'
import { messageId, runId, userId } from './ids.ts'
import { USER_SCOPES } from './principal.ts'
import { evolve } from './session.ts'
import { NO_USAGE } from './usage.ts'

const ALICE: Principal = { user: userId('alice'), scopes: USER_SCOPES }
const R0 = runId('r0')
const R1 = runId('r1')
const NEW = runId('new')
const M = messageId('m')
const HELLO = { role: 'user', content: 'hello' } as const

const created: StreamEvent = { type: 'SessionCreated', owner: ALICE.user, title: 't', agent: 'coder' }
const startOf = (id = R1, fence = 1): StreamEvent => ({ type: 'RunStarted', runId: id, fence, driver: 1, agent: 'coder', options: {}, by: ALICE.user })
const endOf = (id = R1): StreamEvent => ({ type: 'RunCompleted', runId: id, totalTurns: 1, totalUsage: NO_USAGE, stopReason: 'completed' })
const turn: StreamEvent = { type: 'TurnStarted', runId: R1, turn: 1, attempt: 1, model: 'a/b' }
const proposed: StreamEvent = {
  type: 'ToolCallsProposed',
  runId: R1,
  turn: 1,
  calls: [{ id: 'c1', name: 'bash', arguments: {}, disposition: 'ask' }],
}
const answered: StreamEvent = { type: 'MessageAdded', messageId: messageId('a'), runId: R1, message: { role: 'assistant', content: [] } }
const asked: StreamEvent = { type: 'ApprovalRequested', runId: R1, toolCallIds: ['c1'] }
const running: StreamEvent = { type: 'ToolStarted', runId: R1, toolCallId: 'c1', toolName: 'bash', attempt: 1 }
const cancelling: StreamEvent = { type: 'CancelRequested', runId: R1, by: ALICE.user }
const waits = (id: string, more: Partial<Extract<StreamEvent, { type: 'MessageQueued' }>> = {}): StreamEvent => ({
  type: 'MessageQueued',
  messageId: messageId(id),
  nextRunId: runId(`next-${id}`),
  delivery: 'follow_up',
  message: HELLO,
  options: {},
  by: ALICE.user,
  ...more,
})

const IDLE = [created]
const STARTING = [created, startOf()]
const CALLING = [...STARTING, turn]
const WAITING = [...CALLING, answered, proposed, asked]
const TOOL = [...CALLING, answered, proposed, running]
const ENDED = [created, startOf(R1), endOf(R1)]
const ENDED_THEN_BUSY = [created, startOf(R0), endOf(R0), startOf(R1, 2)]
const DELETED = [created, { type: 'SessionDeleted', by: ALICE.user }] as const

function given(events: readonly StreamEvent[]): SessionState | undefined {
  return events.reduce<SessionState | undefined>((state, event, index) => evolve(state, event, index + 1), undefined)
}

function send(more: Partial<SendMessage> = {}): SendMessage {
  return { type: 'SendMessage', messageId: M, newRunId: NEW, driver: 7, message: HELLO, options: {}, whenBusy: 'reject', ...more }
}

/** The types of the events, or the code of the refusal. */
function outcome(events: readonly StreamEvent[], command: SendMessage): readonly string[] | string {
  try {
    return decide(given(events), command, ALICE).events.map((event) => event.type)
  } catch (error) {
    if (error instanceof ConvokeError) return error.code
    throw error
  }
}

describe('a message to an idle session', () => {
  test('starts a run with what was sent, under the next fence, for the driver that was named', () => {
    const options = { model: 'a/b', autoApprove: ['look'], systemPrompt: 'be kind', maxTurns: 3 } as const
    expect(decide(given(ENDED), send({ options }), ALICE)).toEqual({
      events: [
        { type: 'RunStarted', runId: 'new', fence: 2, driver: 7, agent: 'coder', options, by: 'alice' },
        { type: 'MessageAdded', messageId: 'm', runId: 'new', message: HELLO },
      ],
      reply: { runId: 'new', messageId: 'm', accepted: 'started' },
    })
  })

  test.each<WhenBusy>(['reject', 'enqueue', 'steer', 'interrupt'])('starts a run whatever it says of busy ones: %s', (whenBusy) => {
    expect(outcome(IDLE, send({ whenBusy }))).toEqual(['RunStarted', 'MessageAdded'])
  })

  test.each([
    ['a new session', IDLE],
    ['a session whose run completed', ENDED],
    ['a session whose run failed', [created, startOf(), { type: 'RunFailed', runId: R1, code: 'x', error: 'y', totalUsage: NO_USAGE } as const]],
  ])('may name any run: in %s there is none to contradict', (_what, events) => {
    expect(outcome(events, send({ runId: runId('some other') }))).toEqual(['RunStarted', 'MessageAdded'])
  })
})

describe('a message to a busy session', () => {
  const STATES: readonly [string, readonly StreamEvent[], readonly string[]][] = [
    ['starting', STARTING, ['MessageQueued', 'CancelRequested', 'RunCompleted', 'RunStarted', 'MessageAdded']],
    ['calling the model', CALLING, ['MessageQueued', 'CancelRequested']],
    ['waiting for approval', WAITING, ['MessageQueued', 'CancelRequested', 'ToolCompleted', 'TurnCompleted', 'RunCompleted', 'RunStarted', 'MessageAdded']],
    ['running a tool', TOOL, ['MessageQueued', 'CancelRequested']],
    ['being cancelled already', [...TOOL, cancelling], ['MessageQueued']],
  ]

  describe.each(STATES)('that is %s', (_what, events, interrupted) => {
    test('is refused by default, and says that trying later may help', () => {
      expect(outcome(events, send())).toBe('session_already_running')
      expect(outcome(events, send({ runId: R1 }))).toBe('session_already_running')
    })

    test.each([
      ['enqueue', 'follow_up'],
      ['steer', 'steer'],
    ] as const)('waits when it wants to %s', (whenBusy, delivery) => {
      expect(decide(given(events), send({ whenBusy, options: { maxTurns: 2 } }), ALICE)).toEqual({
        events: [{ type: 'MessageQueued', messageId: 'm', nextRunId: 'new', delivery, message: HELLO, options: { maxTurns: 2 }, by: 'alice' }],
        reply: { runId: 'r1', messageId: 'm', accepted: 'queued' },
      })
    })

    test('ends the run when it interrupts: at once where no step is live, else as soon as the driver has', () => {
      expect(outcome(events, send({ whenBusy: 'interrupt' }))).toEqual(interrupted)
    })

    test.each<WhenBusy>(['reject', 'enqueue', 'steer', 'interrupt'])('is refused when it means another run: %s', (whenBusy) => {
      expect(outcome(events, send({ whenBusy, runId: R0 }))).toBe('run_mismatch')
    })
  })

  test('that interrupts at once starts its own run before others that waited', () => {
    const { events, reply } = decide(given([...WAITING, waits('w1')]), send({ whenBusy: 'interrupt' }), ALICE)
    expect(events[0]).toMatchObject({ type: 'MessageQueued', messageId: 'm', nextRunId: 'new', delivery: 'follow_up', front: true })
    expect(events.slice(-2)).toEqual([
      { type: 'RunStarted', runId: 'new', fence: 2, driver: 1, agent: 'coder', options: {}, by: 'alice' },
      { type: 'MessageAdded', messageId: 'm', runId: 'new', message: HELLO, delivery: 'follow_up' },
    ])
    expect(reply).toEqual({ runId: 'new', messageId: 'm', accepted: 'started' })
    const after = events.reduce((state, event, index) => evolve(state, event, index + 20), given([...WAITING, waits('w1')]))
    expect(after?.queue.map((message) => message.messageId)).toEqual(['w1'])
  })

  test('that interrupts a live step waits at the front, and names the run that it will start', () => {
    const before = given([...TOOL, waits('w1')])
    const { events, reply } = decide(before, send({ whenBusy: 'interrupt' }), ALICE)
    expect(reply).toEqual({ runId: 'new', messageId: 'm', accepted: 'queued' })
    const after = events.reduce((state, event, index) => evolve(state, event, index + 20), before)
    expect(after?.queue.map((message) => message.messageId)).toEqual(['m', 'w1'])
  })
})

describe('a steering or a follow-up', () => {
  test.each<[string, readonly StreamEvent[], Partial<SendMessage>, readonly string[] | string]>([
    ['steering joins the run that it names', CALLING, { delivery: 'steer', runId: R1 }, ['MessageQueued']],
    ['a follow-up joins the run that it names', WAITING, { delivery: 'follow_up', runId: R1 }, ['MessageQueued']],
    ['steering must name its run', CALLING, { delivery: 'steer' }, 'run_mismatch'],
    ['a follow-up must name its run', CALLING, { delivery: 'follow_up' }, 'run_mismatch'],
    ['a follow-up without a run to name is refused in an idle session too', IDLE, { delivery: 'follow_up' }, 'run_mismatch'],
    ['steering of another run is refused', CALLING, { delivery: 'steer', runId: R0 }, 'run_mismatch'],
    ['a follow-up of another run is refused', CALLING, { delivery: 'follow_up', runId: R0 }, 'run_mismatch'],
    ['steering of the last run is refused while another is active', ENDED_THEN_BUSY, { delivery: 'steer', runId: R0 }, 'run_mismatch'],
    ['a follow-up of the last run waits while another is active', ENDED_THEN_BUSY, { delivery: 'follow_up', runId: R0 }, ['MessageQueued']],
    ['steering of a run that has ended is refused', ENDED, { delivery: 'steer', runId: R1 }, 'session_not_running'],
    ['a follow-up of a run that has ended starts the next one', ENDED, { delivery: 'follow_up', runId: R1 }, ['RunStarted', 'MessageAdded']],
    ['steering in a session that never ran is refused', IDLE, { delivery: 'steer', runId: R1 }, 'session_not_running'],
    ['a follow-up in a session that never ran is refused', IDLE, { delivery: 'follow_up', runId: R1 }, 'session_not_running'],
    ['a follow-up of an older run than the last is refused', ENDED, { delivery: 'follow_up', runId: R0 }, 'session_not_running'],
    ['what it says of busy runs does not matter', CALLING, { delivery: 'steer', runId: R1, whenBusy: 'interrupt' }, ['MessageQueued']],
    ['a run that is being cancelled still takes one in: it starts the next run', [...TOOL, cancelling], { delivery: 'steer', runId: R1 }, ['MessageQueued']],
  ])('%s', (_title, events, more, expected) => {
    expect(outcome(events, send(more))).toEqual(expected)
  })

  test('its delivery is kept, and the reply names the run that it joined', () => {
    const { events, reply } = decide(given(CALLING), send({ delivery: 'steer', runId: R1 }), ALICE)
    expect(events).toMatchObject([{ delivery: 'steer', nextRunId: 'new' }])
    expect(reply).toEqual({ runId: 'r1', messageId: 'm', accepted: 'queued' })
  })
})

describe('the queue', () => {
  const full = (count: number) => [...CALLING, ...Array.from({ length: count }, (_, index) => waits(`w${index}`))]
  const ways: readonly [string, Partial<SendMessage>][] = [
    ['enqueue', { whenBusy: 'enqueue' }],
    ['steer', { whenBusy: 'steer' }],
    ['interrupt', { whenBusy: 'interrupt' }],
    ['a follow-up', { delivery: 'follow_up', runId: R1 }],
    ['a steering', { delivery: 'steer', runId: R1 }],
  ]

  test.each(ways)('takes its 64th message and refuses the 65th: %s', (_what, more) => {
    expect(outcome(full(63), send(more))).toContain('MessageQueued')
    expect(outcome(full(64), send(more))).toBe('queue_full')
  })

  test('keeps the order of arrival, with those that interrupt in front', () => {
    const state = given([...CALLING, waits('w1'), waits('w2', { delivery: 'steer' }), waits('w3', { front: true })])
    expect(state?.queue.map((message) => [message.messageId, message.delivery])).toEqual([
      ['w3', 'follow_up'],
      ['w1', 'follow_up'],
      ['w2', 'steer'],
    ])
  })

  test('loses a message that is delivered, and no other', () => {
    const delivered: StreamEvent = { type: 'MessageAdded', messageId: messageId('w1'), runId: R1, message: HELLO, delivery: 'follow_up' }
    expect(given([...CALLING, waits('w1'), waits('w2'), delivered])?.queue.map((message) => message.messageId)).toEqual(['w2'])
  })
})

test.each<WhenBusy>(['reject', 'enqueue', 'steer', 'interrupt'])('a deleted session takes no message: %s', (whenBusy) => {
  expect(outcome(DELETED, send({ whenBusy }))).toBe('session_deleted')
  expect(outcome([...CALLING, DELETED[1]], send({ whenBusy }))).toBe('session_deleted')
})

test('a deleted session takes no follow-up of its last run', () => {
  expect(outcome([...ENDED, DELETED[1]], send({ delivery: 'follow_up', runId: R1 }))).toBe('session_deleted')
})
