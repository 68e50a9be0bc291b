import { describe, expect, test } from 'vitest'
import type { SessionCommand } from './command.ts'
import type { Asker } from './decision.ts'
import type { StreamEvent } from './event.ts'
import type { Principal, Scope } from './principal.ts'
import type { SessionState } from './session.ts'
import { decide } from './decide.ts'
import { ConvokeError } from './errors.ts'
import { messageId, runId, userId } from './ids.ts'
import { USER_SCOPES } from './principal.ts'
import { evolve } from './session.ts'
import { NO_USAGE } from './usage.ts'

const ALICE: Principal = { user: userId('alice'), scopes: USER_SCOPES }
const BOB: Principal = { user: userId('bob'), scopes: USER_SCOPES }
const R1 = runId('r1')

const created: StreamEvent = { type: 'SessionCreated', owner: ALICE.user, title: 't', agent: 'coder', model: 'a/first' }
const started: StreamEvent = { type: 'RunStarted', runId: R1, fence: 1, driver: 1, agent: 'coder', options: {}, by: ALICE.user }
const startedWith = (model: string): StreamEvent => ({ ...started, options: { model } }) as StreamEvent
const turn: StreamEvent = { type: 'TurnStarted', runId: R1, turn: 1, attempt: 1, model: 'a/first' }
const ended: StreamEvent = { type: 'RunCompleted', runId: R1, totalTurns: 1, totalUsage: NO_USAGE, stopReason: 'completed' }
const deleted: StreamEvent = { type: 'SessionDeleted', by: ALICE.user }
const switched = (model: string): StreamEvent => ({ type: 'ModelChanged', model, by: ALICE.user })

const message = { role: 'user', content: 'hi' } as const
const CREATE: SessionCommand = { type: 'CreateSession', title: 'a title', agent: 'coder' }
const SEND: SessionCommand = {
  type: 'SendMessage',
  messageId: messageId('m'),
  newRunId: runId('new'),
  driver: 1,
  message,
  options: {},
  whenBusy: 'reject',
}
const RENAME: SessionCommand = { type: 'UpdateSession', title: 'b' }
const DELETE: SessionCommand = { type: 'DeleteSession' }
const CANCEL: SessionCommand = { type: 'CancelRun', runId: R1 }
const MODEL: SessionCommand = { type: 'SetModel', runId: R1, model: 'a/second' }
const ANSWER: SessionCommand = { type: 'DecideCalls', runId: R1, decisions: [] }
const ASSIGN: SessionCommand = { type: 'AssignSession', to: BOB.user }
const FORCE: SessionCommand = { type: 'ForceCancel', runId: R1 }
const CLAIM: SessionCommand = { type: 'ClaimRun', runId: R1, fence: 1, driver: 2 }
const FINISH: SessionCommand = {
  type: 'FinishRun',
  runId: R1,
  fence: 1,
  closing: [],
  outcome: { kind: 'completed', stopReason: 'completed' },
  totalTurns: 1,
  totalUsage: NO_USAGE,
}
const REQUESTS = [RENAME, DELETE, { ...SEND, whenBusy: 'enqueue' } as const, CANCEL, MODEL, ANSWER]
const OWN = [ASSIGN, FORCE, CLAIM, FINISH]
const BUSY = [created, started, turn]

function given(events: readonly StreamEvent[]): SessionState | undefined {
  return events.reduce<SessionState | undefined>((state, event, index) => evolve(state, event, index + 1), undefined)
}

function thrown(events: readonly StreamEvent[], command: SessionCommand, asker: Asker): ConvokeError {
  try {
    decide(given(events), command, asker)
  } catch (error) {
    if (error instanceof ConvokeError) return error
    throw error
  }
  throw new Error(`${command.type} was not refused`)
}

describe('creating a session', () => {
  test('makes it its asker’s, with what was asked for', () => {
    const command: SessionCommand = { type: 'CreateSession', title: '', cwd: '/work', agent: 'coder', model: 'a/b' }
    expect(decide(undefined, command, ALICE)).toEqual({
      events: [{ type: 'SessionCreated', owner: 'alice', title: '', agent: 'coder', cwd: '/work', model: 'a/b' }],
      reply: {},
    })
  })

  test('leaves out what was not asked for', () => {
    expect(decide(undefined, CREATE, ALICE).events).toEqual([{ type: 'SessionCreated', owner: 'alice', title: 'a title', agent: 'coder' }])
  })

  test.each([
    ['another’s', BOB],
    ['one’s own', ALICE],
  ])('is refused where a session stands: %s', (_what, asker) => {
    expect(thrown([created], CREATE, asker).code).toBe('session_exists')
    expect(thrown([created, deleted], CREATE, asker).code).toBe('session_exists')
  })

  test('needs a principal who may write', () => {
    expect(thrown([], CREATE, 'driver').code).toBe('forbidden')
    expect(thrown([], CREATE, { ...ALICE, scopes: ['sessions:read', 'approvals:decide'] }).code).toBe('forbidden')
    expect(decide(undefined, CREATE, { ...ALICE, scopes: ['admin'] }).events).toHaveLength(1)
  })
})

describe('who may', () => {
  test.each([...REQUESTS, ...OWN])('nobody may do $type in a session that is not there', (command) => {
    for (const asker of [ALICE, 'driver'] as const) expect(thrown([], command, asker).code).toBe('not_found')
  })

  test.each([...REQUESTS, ...OWN])('another’s session looks like an unknown one: $type (D3)', (command) => {
    const unknown = thrown([], command, BOB)
    for (const log of [[created], BUSY, [...BUSY, ended], [created, deleted]]) {
      const foreign = thrown(log, command, BOB)
      expect([foreign.code, foreign.message]).toEqual([unknown.code, unknown.message])
    }
  })

  test.each([...REQUESTS, ...OWN])('being an administrator does not open another’s session: $type', (command) => {
    expect(thrown(BUSY, command, { ...BOB, scopes: ['admin'] }).code).toBe('not_found')
  })

  test.each(REQUESTS)('$type takes the scope for it, and no other', (command) => {
    const needed: Scope = command.type === 'DecideCalls' ? 'approvals:decide' : 'sessions:write'
    const others = (['sessions:read', 'sessions:write', 'approvals:decide'] as const).filter((scope) => scope !== needed)
    expect(thrown(BUSY, command, { ...ALICE, scopes: others }).code).toBe('forbidden')
    for (const scope of [needed, 'admin'] as const) expect(() => decide(given(BUSY), command, { ...ALICE, scopes: [scope] })).not.toThrow()
  })

  test.each(OWN)('no request may do $type, whoever asks', (command) => {
    expect(thrown(BUSY, command, ALICE).code).toBe('forbidden')
    expect(thrown(BUSY, command, { ...ALICE, scopes: ['admin'] }).code).toBe('forbidden')
  })

  test.each(REQUESTS)('$type is nothing that the process does by itself', (command) => {
    expect(thrown(BUSY, command, 'driver').code).toBe('forbidden')
  })

  test.each(OWN)('$type is what the process does by itself, in any session', (command) => {
    expect(() => decide(given(BUSY), command, 'driver')).not.toThrow()
  })
})

describe('changing a session', () => {
  test.each<[string, object, object]>([
    ['its title', { title: 'b' }, { title: 'b' }],
    ['its title to nothing', { title: '' }, { title: '' }],
    ['its visibility', { visibility: 'PUBLIC' }, { visibility: 'PUBLIC' }],
    ['both', { title: 'b', visibility: 'PRIVATE' }, { title: 'b', visibility: 'PRIVATE' }],
  ])('%s', (_what, change, kept) => {
    const command = { type: 'UpdateSession', ...change } as SessionCommand
    expect(decide(given([created]), command, ALICE)).toEqual({ events: [{ type: 'SessionUpdated', ...kept, by: 'alice' }], reply: {} })
  })

  test('by nothing is no event', () => {
    expect(decide(given([created]), { type: 'UpdateSession' }, ALICE)).toEqual({ events: [], reply: {} })
  })

  test('is possible while it is busy, and when it is deleted', () => {
    for (const log of [BUSY, [created, deleted]]) expect(decide(given(log), RENAME, ALICE).events).toHaveLength(1)
  })
})

describe('handing a session over', () => {
  test('records both owners', () => {
    expect(decide(given([created]), ASSIGN, 'driver')).toEqual({ events: [{ type: 'SessionAssigned', from: 'alice', to: 'bob' }], reply: {} })
  })

  test('to its owner is no event', () => {
    expect(decide(given([created]), { type: 'AssignSession', to: ALICE.user }, 'driver')).toEqual({ events: [], reply: {} })
  })

  test('makes it the new owner’s, and unknown to the old one', () => {
    const log: readonly StreamEvent[] = [created, { type: 'SessionAssigned', from: ALICE.user, to: BOB.user }]
    expect(decide(given(log), RENAME, BOB).events).toHaveLength(1)
    expect(thrown(log, RENAME, ALICE).code).toBe('not_found')
  })
})

describe('switching the model', () => {
  const reply = { runId: 'r1', model: 'a/second' }
  const event = { type: 'ModelChanged', model: 'a/second', by: 'alice' }

  test('is recorded with who did it', () => {
    expect(decide(given(BUSY), MODEL, ALICE)).toEqual({ events: [event], reply })
  })

  test.each<[string, readonly StreamEvent[]]>([
    ['the session has it', [{ ...created, model: 'a/second' } as StreamEvent, started]],
    ['it was switched to before', [...BUSY, switched('a/second')]],
    ['it was switched to in a run that had asked for another', [created, startedWith('a/third'), switched('a/second')]],
    ['the session has it and the run asked for the same', [{ ...created, model: 'a/second' } as StreamEvent, startedWith('a/second')]],
  ])('is no event where %s', (_what, log) => {
    expect(decide(given(log), MODEL, ALICE)).toEqual({ events: [], reply })
  })

  test.each<[string, readonly StreamEvent[]]>([
    ['to the session’s model, in a run that asked for another', [{ ...created, model: 'a/second' } as StreamEvent, startedWith('a/third')]],
    ['to the run’s model, in a session that has another', [created, startedWith('a/second')]],
    ['in a session without a model', [{ type: 'SessionCreated', owner: ALICE.user, title: '', agent: 'coder' }, started]],
    ['there and back', [...BUSY, switched('a/second'), switched('a/first')]],
    ['in the next run, which asked for another again', [...BUSY, switched('a/second'), ended, startedWith('a/third')]],
  ])('is recorded %s: without the event the next call would not know', (_what, log) => {
    expect(decide(given(log), MODEL, ALICE)).toEqual({ events: [event], reply })
  })

  test('needs the active run', () => {
    expect(thrown([created], MODEL, ALICE).code).toBe('session_not_running')
    expect(thrown([...BUSY, ended], MODEL, ALICE).code).toBe('session_not_running')
    expect(thrown(BUSY, { type: 'SetModel', runId: runId('r9'), model: 'a/b' }, ALICE).code).toBe('run_mismatch')
  })
})

test('a refusal changes nothing: the state that it was decided against is the same afterwards (D2)', () => {
  const state = given(BUSY)
  const before = structuredClone(state)
  for (const command of [SEND, CREATE, { ...CANCEL, runId: runId('r9') }]) expect(() => decide(state, command, ALICE)).toThrow(ConvokeError)
  expect(state).toEqual(before)
})
