import { describe, expect, test } from 'vitest'
import type { SessionCommand } from '../domain/command.ts'
import type { Asker } from '../domain/decision.ts'
import type { Principal } from '../domain/principal.ts'
import type { SessionState } from '../domain/session.ts'
import type { AppendWrite, DecideWrite, RecordWrite } from './store.ts'
import { messageId, runId, sessionId, userId } from '../domain/ids.ts'
import { USER_SCOPES } from '../domain/principal.ts'
import { NO_USAGE } from '../domain/usage.ts'
import { applyWrite, fold, type Applied } from './apply.ts'

const ALICE: Principal = { user: userId('alice'), scopes: USER_SCOPES }
const STREAM = sessionId('s1')
const R1 = runId('r1')
const R2 = runId('r2')

const decided = (command: SessionCommand, asker: Asker = ALICE): DecideWrite => ({ kind: 'decide', stream: STREAM, command, asker, atMs: 1 })
const record = (events: RecordWrite['events'], fence = 1, run = R1): RecordWrite => ({ kind: 'record', stream: STREAM, runId: run, fence, events, atMs: 1 })
const finish = (fence = 1, run = R1, asker: Asker = 'driver') =>
  decided(
    {
      type: 'FinishRun',
      runId: run,
      fence,
      closing: [],
      outcome: { kind: 'completed', stopReason: 'completed' },
      totalTurns: 1,
      totalUsage: NO_USAGE,
    },
    asker,
  )

const CREATE = decided({ type: 'CreateSession', title: 't', agent: 'coder' })
const START = decided({
  type: 'SendMessage',
  messageId: messageId('m1'),
  newRunId: R1,
  driver: 7,
  message: { role: 'user', content: 'hi' },
  options: {},
  whenBusy: 'reject',
})
const CLAIM = decided({ type: 'ClaimRun', runId: R1, fence: 1, driver: 8 }, 'driver')
const DELTA = { type: 'TextDelta', runId: R1, delta: 'x' } as const
const TURN = { type: 'TurnStarted', runId: R1, turn: 1, attempt: 1, model: 'a/b' } as const

/** A stream that writes were applied to, one after the other. */
function stream(...writes: readonly AppendWrite[]) {
  let state: SessionState | undefined
  let head = 0
  const apply = (write: AppendWrite): Applied => {
    const applied = applyWrite(state, head, write)
    if (applied.kind === 'apply') {
      head += applied.events.length
      state = applied.state
    }
    return applied
  }
  const must = (write: AppendWrite) => {
    if (apply(write).kind !== 'apply') throw new Error('a write of the setup was not applied')
  }
  writes.forEach(must)
  return {
    apply,
    get state() {
      return state
    },
    get head() {
      return head
    },
  }
}

describe('a command', () => {
  test('is applied with its events, its reply and the state after them', () => {
    expect(stream(CREATE).apply(START)).toMatchObject({
      kind: 'apply',
      events: [{ type: 'RunStarted' }, { type: 'MessageAdded' }],
      reply: { runId: 'r1', messageId: 'm1', accepted: 'started' },
      state: { fence: 1, run: { id: 'r1', driver: 7, startedAt: 2 } },
    })
  })

  test('that changes nothing is applied without events, to the same state', () => {
    const s = stream(CREATE, START)
    const again = s.apply(decided({ type: 'ForceCancel', runId: R1 }, 'driver'))
    expect(again).toEqual({ kind: 'apply', events: [], state: s.state, reply: { runId: 'r1' } })
  })

  test('that is refused says why, in code and words, and leaves the state alone', () => {
    const s = stream(CREATE, START)
    const { state, head } = s
    expect(s.apply(START)).toEqual({ kind: 'refused', code: 'session_already_running', message: 'a run is active in this session' })
    expect(s.state).toBe(state)
    expect(s.head).toBe(head)
  })

  test('to a stream that is not there is refused as not found', () => {
    expect(stream().apply(START)).toMatchObject({ kind: 'refused', code: 'not_found' })
  })

  test('that nobody knows is a fault of ours, not a refusal', () => {
    const nonsense = decided({ type: 'Nonsense' } as unknown as SessionCommand)
    expect(() => stream(CREATE).apply(nonsense)).toThrow('unreachable')
  })

  test('stands or falls alone: what comes after a refusal sees what came before it (L2)', () => {
    const s = stream(CREATE)
    const foreign = decided({ type: 'DeleteSession' }, { user: userId('bob'), scopes: USER_SCOPES })
    expect([foreign, START, START, record([DELTA]), record([DELTA], 9), finish()].map((write) => s.apply(write).kind)).toEqual([
      'refused',
      'apply',
      'refused',
      'apply',
      'fenced',
      'apply',
    ])
    expect(s.head).toBe(5)
  })
})

describe('a driver’s record', () => {
  test('is applied under the fence of its run, with no reply', () => {
    const s = stream(CREATE, START)
    const applied = s.apply(record([TURN, DELTA]))
    expect(applied).toMatchObject({ kind: 'apply', events: [TURN, DELTA], reply: {} })
    expect(s.state?.run).toMatchObject({ turn: 1, calling: true })
    expect(s.head).toBe(5)
  })

  test('of deltas alone keeps the very state, so that its row need not be written', () => {
    const s = stream(CREATE, START, record([TURN]))
    const before = s.state
    s.apply(record([DELTA, DELTA]))
    expect(s.state).toBe(before)
  })

  const cases: readonly [string, readonly AppendWrite[], number, typeof R1][] = [
    ['an older fence', [CREATE, START], 0, R1],
    ['a newer fence', [CREATE, START], 2, R1],
    ['another run', [CREATE, START], 1, R2],
    ['a run that was taken over', [CREATE, START, CLAIM], 1, R1],
    ['a run that has ended', [CREATE, START, finish()], 1, R1],
    ['a run that was cancelled', [CREATE, START, decided({ type: 'CancelRun', runId: R1 })], 1, R1],
    ['a session without a run', [CREATE], 0, R1],
    ['a stream that is not there', [], 0, R1],
  ]

  test.each(cases)('is fenced: %s (L4)', (_what, writes, fence, run) => {
    const s = stream(...writes)
    const { state, head } = s
    expect(s.apply(record([DELTA], fence, run))).toEqual({ kind: 'fenced' })
    expect([s.state, s.head]).toEqual([state, head])
  })

  test.each(cases)('and so is its end: %s', (_what, writes, fence, run) => {
    expect(stream(...writes).apply(finish(fence, run))).toEqual({ kind: 'fenced' })
  })

  test('is applied again under the fence of the takeover', () => {
    const s = stream(CREATE, START, CLAIM)
    expect(s.apply(record([DELTA], 2))).toMatchObject({ kind: 'apply', events: [DELTA] })
    expect(s.apply(finish(2))).toMatchObject({ kind: 'apply', events: [{ type: 'RunCompleted' }] })
  })

  test('that outlives its run within one commit is fenced', () => {
    const s = stream(CREATE, START)
    expect([record([DELTA]), decided({ type: 'CancelRun', runId: R1 }), record([DELTA]), finish()].map((write) => s.apply(write).kind)).toEqual([
      'apply',
      'apply',
      'fenced',
      'fenced',
    ])
  })
})

describe('an end that a request asks for', () => {
  test('is refused, even with the right fence', () => {
    expect(stream(CREATE, START).apply(finish(1, R1, ALICE))).toMatchObject({ kind: 'refused', code: 'forbidden' })
  })
})

describe('fold', () => {
  test('counts positions from the head on', () => {
    const first = fold(undefined, 0, [{ type: 'SessionCreated', owner: ALICE.user, title: '', agent: 'coder' }])
    const started = { type: 'RunStarted', runId: R1, fence: 1, driver: 1, agent: 'coder', options: {}, by: ALICE.user } as const
    expect(fold(first, 41, [DELTA, started])?.run?.startedAt).toBe(43)
  })

  test('of nothing is what was there', () => {
    const { state } = stream(CREATE)
    expect(fold(state, 1, [])).toBe(state)
    expect(fold(undefined, 0, [])).toBeUndefined()
  })
})
