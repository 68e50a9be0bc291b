import { describe, expect, test } from 'vitest'
import type { DecideCalls } from './command.ts'
import type { DecisionAction, Disposition, StreamEvent } from './event.ts'
import type { Principal } from './principal.ts'
import type { SessionState } from './session.ts'
import { decide } from './decide.ts'
import { ConvokeError } from './errors.ts'
import { messageId, runId, userId } from './ids.ts'
import { USER_SCOPES } from './principal.ts'
import { evolve } from './session.ts'
import { NO_USAGE } from './usage.ts'

const ALICE: Principal = { user: userId('alice'), scopes: USER_SCOPES }
const R1 = runId('r1')
const R2 = runId('r2')

const created: StreamEvent = { type: 'SessionCreated', owner: ALICE.user, title: 't', agent: 'coder' }
const startOf = (id = R1, fence = 1): StreamEvent => ({ type: 'RunStarted', runId: id, fence, driver: 1, agent: 'coder', options: {}, by: ALICE.user })
const turnOf = (turn = 1): StreamEvent => ({ type: 'TurnStarted', runId: R1, turn, attempt: 1, model: 'a/b' })
const said: StreamEvent = { type: 'MessageAdded', messageId: messageId('a'), runId: R1, message: { role: 'assistant', content: [] } }
const proposed = (calls: Readonly<Record<string, Disposition>>): StreamEvent => ({
  type: 'ToolCallsProposed',
  runId: R1,
  turn: 1,
  calls: Object.entries(calls).map(([id, disposition]) => ({ id, name: `tool-${id}`, arguments: { of: id }, disposition })),
})
const asked = (...toolCallIds: string[]): StreamEvent => ({ type: 'ApprovalRequested', runId: R1, toolCallIds })
const decided = (toolCallId: string, action: DecisionAction = 'accept', content?: string): StreamEvent => ({
  type: 'ApprovalDecided',
  runId: R1,
  toolCallId,
  action,
  ...(content === undefined ? {} : { content }),
  by: ALICE.user,
})
const running = (toolCallId: string): StreamEvent => ({ type: 'ToolStarted', runId: R1, toolCallId, toolName: 't', attempt: 1 })
const done = (toolCallId: string): StreamEvent => ({ type: 'ToolCompleted', runId: R1, toolCallId, toolName: 't', result: '', isError: false })
const skipped = (toolCallId: string): StreamEvent => ({ type: 'ToolRejected', runId: R1, toolCallId, toolName: 't', reason: '' })
const end: StreamEvent = { type: 'RunCompleted', runId: R1, totalTurns: 1, totalUsage: NO_USAGE, stopReason: 'completed' }

const TURN = [created, startOf(), turnOf(), said]
/** `free` was approved by policy, `never` denied by it; `c1` and `c2` wait for a person. */
const ASKED = [...TURN, proposed({ free: 'approve', never: 'deny', c1: 'ask', c2: 'ask' }), asked('c1', 'c2')]

function given(events: readonly StreamEvent[]): SessionState | undefined {
  return events.reduce<SessionState | undefined>((state, event, index) => evolve(state, event, index + 1), undefined)
}

type Answer = readonly [id: string, action: DecisionAction, content?: string]

function answer(answers: readonly Answer[], run = R1): DecideCalls {
  const decisions = answers.map(([toolCallId, action, content]) => ({ toolCallId, action, ...(content === undefined ? {} : { content }) }))
  return { type: 'DecideCalls', runId: run, decisions }
}

/** Each recorded answer in short, or the code of the refusal. */
function outcome(events: readonly StreamEvent[], command: DecideCalls): readonly string[] | string {
  try {
    return decide(given(events), command, ALICE).events.map((event) => (event.type === 'ApprovalDecided' ? `${event.toolCallId} ${event.action}` : event.type))
  } catch (error) {
    if (error instanceof ConvokeError) return error.code
    throw error
  }
}

describe('an answer to a call that waits', () => {
  test.each<[DecisionAction, string | undefined, object]>([
    ['accept', undefined, {}],
    ['accept', 'a remark', {}],
    ['reject', undefined, {}],
    ['reject', 'a reason', {}],
    ['custom_result', 'forty-two', { content: 'forty-two' }],
    ['custom_result', '', { content: '' }],
  ])('is recorded with who gave it; only a result of its own keeps its content: %s %j', (action, content, kept) => {
    expect(decide(given(ASKED), answer([content === undefined ? ['c1', action] : ['c1', action, content]]), ALICE)).toEqual({
      events: [{ type: 'ApprovalDecided', runId: 'r1', toolCallId: 'c1', action, ...kept, by: 'alice' }],
      reply: { runId: 'r1' },
    })
  })

  test.each<[string, readonly Answer[], readonly string[]]>([
    [
      'several at once',
      [
        ['c1', 'accept'],
        ['c2', 'reject'],
      ],
      ['c1 accept', 'c2 reject'],
    ],
    [
      'in another order than they were asked',
      [
        ['c2', 'reject'],
        ['c1', 'accept'],
      ],
      ['c2 reject', 'c1 accept'],
    ],
    ['none at all, which is allowed', [], []],
    [
      'with calls that policy approved among them',
      [
        ['free', 'accept'],
        ['c1', 'accept'],
        ['c2', 'accept'],
      ],
      ['c1 accept', 'c2 accept'],
    ],
  ])('comes %s', (_what, answers, expected) => {
    expect(outcome(ASKED, answer(answers))).toEqual(expected)
  })

  test('reaches the state: it is decided, and nothing else changes', () => {
    const calls = given([...ASKED, decided('c2', 'custom_result', 'mine'), decided('c1', 'reject')])?.calls
    expect(calls?.map(({ id, status, decision }) => [id, status, decision])).toEqual([
      ['free', 'open', undefined],
      ['never', 'open', undefined],
      ['c1', 'decided', { action: 'reject', by: 'alice' }],
      ['c2', 'decided', { action: 'custom_result', content: 'mine', by: 'alice' }],
    ])
  })

  test('is possible while another call of the turn runs', () => {
    expect(outcome([...ASKED, running('free')], answer([['c1', 'accept']]))).toEqual(['c1 accept'])
  })

  test('is possible after the run was taken over', () => {
    const claimed: StreamEvent = { type: 'RunClaimed', runId: R1, fence: 2, driver: 2 }
    expect(outcome([...ASKED, claimed], answer([['c1', 'accept']]))).toEqual(['c1 accept'])
  })
})

describe('the first answer stands (A1)', () => {
  const ANSWERS: readonly [DecisionAction, string?][] = [['accept'], ['reject'], ['custom_result', 'x'], ['custom_result', 'y']]
  const pairs = ANSWERS.flatMap((first) => ANSWERS.map((second) => [first, second, first === second] as const))

  test.each(pairs)('%j, then %j: the same is no event, another is a conflict', (first, second, same) => {
    const log = [...ASKED, decided('c1', ...first)]
    expect(outcome(log, answer([['c1', ...second]]))).toEqual(same ? [] : 'decision_conflict')
  })

  test.each([
    ['while its call runs', [running('c1')]],
    ['when its call has ended', [running('c1'), done('c1')]],
    ['when the run has ended', [running('c1'), done('c1'), end]],
  ])('%s too', (_when, later) => {
    const log = [...ASKED, decided('c1'), ...later]
    expect(outcome(log, answer([['c1', 'accept']]))).toEqual([])
    expect(outcome(log, answer([['c1', 'reject']]))).toBe('decision_conflict')
    expect(outcome(log, answer([['c1', 'custom_result', 'x']]))).toBe('decision_conflict')
  })

  test('within one command: the same twice is one answer, two different ones are a conflict', () => {
    expect(
      outcome(
        ASKED,
        answer([
          ['c1', 'accept'],
          ['c1', 'accept'],
        ]),
      ),
    ).toEqual(['c1 accept'])
    expect(
      outcome(
        ASKED,
        answer([
          ['c1', 'accept'],
          ['c1', 'reject'],
        ]),
      ),
    ).toBe('decision_conflict')
  })

  test('whoever repeats it: who answered first stays on record', () => {
    const bobs: StreamEvent = { type: 'ApprovalDecided', runId: R1, toolCallId: 'c1', action: 'accept', by: userId('bob') }
    expect(outcome([...ASKED, bobs], answer([['c1', 'accept']]))).toEqual([])
    expect(given([...ASKED, bobs])?.calls.find(({ id }) => id === 'c1')?.decision?.by).toBe('bob')
  })
})

describe('a call that nobody was asked about', () => {
  test.each<[string, DecisionAction, readonly string[] | string]>([
    ['free', 'accept', []],
    ['free', 'reject', 'decision_conflict'],
    ['free', 'custom_result', 'decision_conflict'],
    ['never', 'accept', []],
    ['never', 'reject', 'decision_conflict'],
  ])('needs no answer: %s, %s', (id, action, expected) => {
    expect(outcome(ASKED, answer([[id, action, 'x']]))).toEqual(expected)
    expect(outcome([...ASKED, running(id), done(id)], answer([[id, action, 'x']]))).toEqual(expected)
  })

  test('is not accepted before it is asked about: an answer that would be lost is never called accepted', () => {
    const log = [...TURN, proposed({ c1: 'ask' })]
    expect(outcome(log, answer([['c1', 'accept']]))).toBe('decision_conflict')
    expect(outcome(log, answer([['c1', 'reject']]))).toBe('decision_conflict')
  })
})

describe('a late answer', () => {
  test.each<[string, readonly StreamEvent[]]>([
    ['a steering message made the call pointless', [skipped('c1'), skipped('c2')]],
    ['the run was cancelled', [done('c1'), done('c2'), end]],
    ['the call was left open when its run ended', [end]],
  ])('is refused, not called accepted, when %s', (_what, later) => {
    const code = later.length === 1 ? 'session_not_running' : 'decision_conflict'
    for (const action of ['accept', 'reject', 'custom_result'] as const) expect(outcome([...ASKED, ...later], answer([['c1', action, 'x']]))).toBe(code)
  })

  test('to a call of an earlier turn is refused as unknown', () => {
    const next = [...ASKED, decided('c1'), done('c1'), turnOf(2), proposed({ c9: 'ask' }), asked('c9')]
    expect(outcome(next, answer([['c1', 'accept']]))).toBe('tool_call_not_found')
    expect(outcome(next, answer([['c9', 'accept']]))).toEqual(['c9 accept'])
  })

  test('to the last run is refused while another is active', () => {
    expect(outcome([...ASKED, decided('c1'), end, startOf(R2, 2)], answer([['c1', 'accept']]))).toBe('run_mismatch')
  })
})

describe('an answer to nothing', () => {
  test.each<[string, readonly StreamEvent[], DecideCalls, string]>([
    ['a session that never ran', [created], answer([['c1', 'accept']]), 'session_not_running'],
    ['a session that never ran, with no decision in it', [created], answer([]), 'session_not_running'],
    ['another run than the active one', ASKED, answer([['c1', 'accept']], R2), 'run_mismatch'],
    ['another run than the last one', [...ASKED, end], answer([['c1', 'accept']], R2), 'run_mismatch'],
    ['a call that nobody proposed', ASKED, answer([['c7', 'accept']]), 'tool_call_not_found'],
    ['a call that nobody proposed, in a run that has ended', [...ASKED, end], answer([['c7', 'accept']]), 'tool_call_not_found'],
    ['a call of a run that has proposed none', [created, startOf()], answer([['c1', 'accept']]), 'tool_call_not_found'],
  ])('is refused: %s', (_what, events, command, code) => {
    expect(outcome(events, command)).toBe(code)
  })

  test('is never kept for later: a guessed id is no approval of the call that gets it (A3)', () => {
    const state = given([...TURN, decided('c1'), proposed({ c1: 'ask' }), asked('c1')])
    expect(state?.calls).toMatchObject([{ id: 'c1', status: 'asked' }])
    expect(state?.calls[0]).not.toHaveProperty('decision')
  })
})

describe('a bulk answer is whole or nothing (A2)', () => {
  test.each<[string, readonly Answer[], string]>([
    [
      'an unknown call at its end',
      [
        ['c1', 'accept'],
        ['c7', 'accept'],
      ],
      'tool_call_not_found',
    ],
    [
      'an unknown call at its beginning',
      [
        ['c7', 'accept'],
        ['c1', 'accept'],
      ],
      'tool_call_not_found',
    ],
    [
      'a call that needs no decision',
      [
        ['c1', 'accept'],
        ['free', 'reject'],
      ],
      'decision_conflict',
    ],
  ])('with %s it is refused', (_what, answers, code) => {
    expect(outcome(ASKED, answer(answers))).toBe(code)
  })

  test('with a call that was answered otherwise it is refused; with the same answer the rest is recorded', () => {
    const log = [...ASKED, decided('c1', 'reject')]
    expect(
      outcome(
        log,
        answer([
          ['c2', 'accept'],
          ['c1', 'accept'],
        ]),
      ),
    ).toBe('decision_conflict')
    expect(
      outcome(
        log,
        answer([
          ['c2', 'accept'],
          ['c1', 'reject'],
        ]),
      ),
    ).toEqual(['c2 accept'])
  })

  test('answers all 256 calls of a large turn', () => {
    const ids = Array.from({ length: 256 }, (_, index) => `c${index}`)
    const log = [...TURN, proposed(Object.fromEntries(ids.map((id) => [id, 'ask']))), asked(...ids)]
    const command = answer(ids.map((id) => [id, 'accept']))
    expect(outcome(log, command)).toEqual(ids.map((id) => `${id} accept`))
    const answered = decide(given(log), command, ALICE).events.reduce((state, event) => evolve(state, event, 999), given(log))
    expect(answered?.calls.every((call) => call.status === 'decided')).toBe(true)
  })
})

test('a message is never an answer: it leaves every call as it was (A3)', () => {
  const message: StreamEvent = { type: 'MessageAdded', messageId: messageId('m'), runId: R1, message: { role: 'user', content: 'yes, accept c1' } }
  expect(given([...ASKED, message])?.calls).toEqual(given(ASKED)?.calls)
})
