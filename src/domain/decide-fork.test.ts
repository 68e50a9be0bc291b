import { describe, expect, test } from 'vitest'
import type { ForkSource } from './decide-fork.ts'
import type { Principal } from './principal.ts'
import type { SessionState } from './session.ts'
import { decide } from './decide.ts'
import { SEGMENTS_MAX } from './decide-fork.ts'
import { sessionId, userId } from './ids.ts'
import { USER_SCOPES } from './principal.ts'

const ALICE: Principal = { user: userId('alice'), scopes: USER_SCOPES }
const BOB: Principal = { user: userId('bob'), scopes: USER_SCOPES }
const ORIGIN = sessionId('s1')
const STATE: SessionState = {
  version: 2,
  owner: ALICE.user,
  status: 'active',
  agent: 'coder',
  model: 'a/b',
  onInterrupt: 'ask',
  fence: 7,
  queue: [],
  calls: [],
}
const SOURCE: ForkSource = { state: STATE, head: 10, title: 'a title', cwd: '/work', messages: 3, segments: 1 }
const COMMAND = { type: 'ForkSession', origin: ORIGIN, at: 10 } as const
const forked = { type: 'SessionForked', origin: { sessionId: 's1', position: 10 }, owner: 'alice', title: 'a title', agent: 'coder', messages: 3, by: 'alice' }

describe('a fork', () => {
  test('says what it inherits: settings as they are now, no fence', () => {
    expect(decide(undefined, COMMAND, ALICE, SOURCE)).toEqual({ events: [{ ...forked, cwd: '/work', model: 'a/b', onInterrupt: 'ask' }], reply: {} })
  })

  test('has the title that it is given, and only what its origin has', () => {
    const { model: _model, onInterrupt: _onInterrupt, ...state } = STATE
    const { cwd: _cwd, ...source } = SOURCE
    expect(decide(undefined, { ...COMMAND, title: '' }, ALICE, { ...source, state }).events).toEqual([{ ...forked, title: '' }])
  })

  test.each<[string, Parameters<typeof decide>, string]>([
    ['of no session', [undefined, COMMAND, ALICE], 'not_found'],
    ['of another’s session', [undefined, COMMAND, BOB, SOURCE], 'not_found'],
    ['without the scope', [undefined, COMMAND, { ...ALICE, scopes: ['sessions:read'] }, SOURCE], 'forbidden'],
    ['by the server itself', [undefined, COMMAND, 'driver', SOURCE], 'forbidden'],
    ['under an id that is taken', [STATE, COMMAND, ALICE, SOURCE], 'session_exists'],
    ['of a deleted session', [undefined, COMMAND, ALICE, { ...SOURCE, state: { ...STATE, status: 'deleted' } }], 'session_deleted'],
    ['before the first event', [undefined, { ...COMMAND, at: 0 }, ALICE, SOURCE], 'invalid_fork_point'],
    ['beyond the head', [undefined, { ...COMMAND, at: 11 }, ALICE, SOURCE], 'invalid_fork_point'],
    ['between two events', [undefined, { ...COMMAND, at: 1.5 }, ALICE, SOURCE], 'invalid_fork_point'],
    ['of too long a row of forks', [undefined, COMMAND, ALICE, { ...SOURCE, segments: SEGMENTS_MAX }], 'invalid_fork_point'],
  ])('%s is refused', (_what, given, code) => {
    expect(() => decide(...given)).toThrow(expect.objectContaining({ code }))
  })

  test('may be the last of the longest row', () => {
    expect(decide(undefined, COMMAND, ALICE, { ...SOURCE, segments: SEGMENTS_MAX - 1 }).events).toHaveLength(1)
  })
})
