import { describe, expect, test } from 'vitest'
import type { ProposedCall, StreamEvent } from './event.ts'
import { lookBack, NOT_LOOKED } from './fork-point.ts'
import { messageId, runId, sessionId, userId } from './ids.ts'
import { NO_USAGE } from './usage.ts'

const ALICE = userId('alice')
const run = { runId: runId('r1') }
const call = (id: string): ProposedCall => ({ id, name: 'bash', arguments: {}, disposition: 'ask' })
const of = (toolCallId: string) => ({ ...run, toolCallId, toolName: 'bash' })

const E = {
  created: { type: 'SessionCreated', owner: ALICE, title: '', agent: 'a' },
  started: { type: 'RunStarted', ...run, fence: 1, driver: 1, agent: 'a', options: {}, by: ALICE },
  asked: { type: 'MessageAdded', ...run, messageId: messageId('m1'), message: { role: 'user', content: 'x' } },
  turn: { type: 'TurnStarted', ...run, turn: 1, attempt: 1, model: 'm' },
  delta: { type: 'TextDelta', ...run, delta: 'x' },
  superseded: { type: 'AttemptSuperseded', ...run, turn: 1, attempt: 1, from: 5 },
  again: { type: 'AttemptStarted', ...run, turn: 1, attempt: 2, model: 'm' },
  said: { type: 'MessageAdded', ...run, messageId: messageId('m2'), message: { role: 'assistant', content: [] } },
  proposed: { type: 'ToolCallsProposed', ...run, turn: 1, calls: [call('c1'), call('c2')] },
  waiting: { type: 'ApprovalRequested', ...run, toolCallIds: ['c1'] },
  running: { type: 'ToolStarted', ...of('c1'), attempt: 1 },
  done: { type: 'ToolCompleted', ...of('c1'), result: '', isError: false },
  rejected: { type: 'ToolRejected', ...of('c2'), reason: '' },
  turned: { type: 'TurnCompleted', ...run, turn: 1, finishReason: 'stop' },
  completed: { type: 'RunCompleted', ...run, totalTurns: 1, totalUsage: NO_USAGE, stopReason: 'completed' },
  failed: { type: 'RunFailed', ...run, code: 'x', error: '', totalUsage: NO_USAGE },
  forked: { type: 'SessionForked', origin: { sessionId: sessionId('s'), position: 1 }, owner: ALICE, title: '', agent: 'a', messages: 0, by: ALICE },
  renamed: { type: 'SessionUpdated', title: 'x', by: ALICE },
  lost: { type: 'Unknown', originalType: 'damaged' },
} as const satisfies Readonly<Record<string, StreamEvent>>
type Name = keyof typeof E

function isForkPoint(log: readonly Name[]): boolean | undefined {
  return log.toReversed().reduce((look, name) => lookBack(look, E[name]), NOT_LOOKED).isForkPoint
}

const begun: readonly Name[] = ['created', 'started', 'asked']
const tools: readonly Name[] = [...begun, 'turn', 'said', 'proposed', 'waiting', 'running']

describe('a session can be forked', () => {
  test.each<[string, readonly Name[]]>([
    ['behind its creation', ['created']],
    ['behind a change of its own', ['created', 'renamed']],
    ['before the first turn', begun],
    ['behind a turn', [...begun, 'turn', 'delta', 'said', 'turned']],
    ['behind a turn whose calls all have results', [...tools, 'done', 'rejected', 'turned']],
    ['behind a run', [...begun, 'turn', 'said', 'turned', 'completed']],
    ['behind a run that failed within its turn', [...begun, 'turn', 'delta', 'failed']],
    ['behind a run that never began a turn', [...begun, 'failed']],
    ['between two turns, behind a message that goes in', [...tools, 'done', 'rejected', 'turned', 'asked']],
    ['behind a fork', [...tools, 'forked']],
    ['behind an event that cannot be read', [...begun, 'turn', 'said', 'turned', 'lost']],
  ])('%s', (_where, log) => {
    expect(isForkPoint(log)).toBe(true)
  })
})

describe('a session cannot be forked', () => {
  test.each<[string, readonly Name[]]>([
    ['where a turn begins', [...begun, 'turn']],
    ['within a turn', [...begun, 'turn', 'delta', 'said']],
    ['between two attempts', [...begun, 'turn', 'delta', 'superseded']],
    ['in the second attempt', [...begun, 'turn', 'superseded', 'again', 'delta']],
    ['where calls are open', [...tools]],
    ['where one of two calls has its result', [...tools, 'done']],
    ['where all calls have results but the turn is open', [...tools, 'done', 'rejected']],
    ['behind a turn that left a call open', [...tools, 'done', 'turned']],
    ['behind a run that left a call open', [...tools, 'rejected', 'completed']],
  ])('%s', (_where, log) => {
    expect(isForkPoint(log)).toBe(false)
  })

  test('where nothing says so yet: the look goes on', () => {
    expect(isForkPoint(['delta', 'said', 'turned'])).toBeUndefined()
    expect(isForkPoint(['proposed', 'done', 'rejected', 'turned'])).toBeUndefined()
  })
})
