import { describe, expect, test } from 'vitest'
import type { StreamEvent } from '../domain/event.ts'
import { messageId, runId, sessionId, userId } from '../domain/ids.ts'
import { NO_USAGE } from '../domain/usage.ts'
import { summarize, type SessionSummary } from './session-summary.ts'

const ID = sessionId('s1')
const ALICE = userId('alice')
const R1 = runId('r1')
const R2 = runId('r2')
const call = (toolCallId: string) => ({ runId: R1, toolCallId, toolName: 'bash' })

const created: StreamEvent = { type: 'SessionCreated', owner: ALICE, title: 'a title', agent: 'coder' }
const startOf = (id = R1): StreamEvent => ({ type: 'RunStarted', runId: id, fence: 1, driver: 1, agent: 'coder', options: {}, by: ALICE })
const turn: StreamEvent = { type: 'TurnStarted', runId: R1, turn: 1, attempt: 1, model: 'a/b' }
const said: StreamEvent = { type: 'MessageAdded', messageId: messageId('m'), runId: R1, message: { role: 'user', content: 'hi' } }
const asked = (...toolCallIds: string[]): StreamEvent => ({ type: 'ApprovalRequested', runId: R1, toolCallIds })
const decided = (toolCallId: string): StreamEvent => ({ type: 'ApprovalDecided', runId: R1, toolCallId, action: 'accept', by: ALICE })
const running = (id: string): StreamEvent => ({ type: 'ToolStarted', ...call(id), attempt: 1 })
const done = (id: string): StreamEvent => ({ type: 'ToolCompleted', ...call(id), result: '', isError: false })
const rejected = (id: string): StreamEvent => ({ type: 'ToolRejected', ...call(id), reason: '' })
const completed: StreamEvent = { type: 'RunCompleted', runId: R1, totalTurns: 1, totalUsage: NO_USAGE, stopReason: 'completed' }
const failed: StreamEvent = { type: 'RunFailed', runId: R1, code: 'model_auth', error: 'the key is wrong', totalUsage: NO_USAGE }

/** The row after `events`, one per ms from 1000 on. */
function given(events: readonly StreamEvent[]): SessionSummary {
  const summary = events.reduce<SessionSummary | undefined>(
    (row, event, index) => summarize(ID, row, { position: index + 1, atMs: 1000 + index, event }),
    undefined,
  )
  if (summary === undefined) throw new Error('the log creates no session')
  return summary
}

describe('a new session', () => {
  test('is listed as it was created: at rest, private, with no message', () => {
    expect(given([created])).toEqual({
      id: 's1',
      owner: 'alice',
      title: 'a title',
      agent: 'coder',
      status: 'active',
      visibility: 'PRIVATE',
      createdAtMs: 1000,
      updatedAtMs: 1000,
      run: { state: 'idle' },
      messageCount: 0,
    })
  })

  test('is listed anew as a fork, with the messages that it inherits and where it comes from', () => {
    const origin = { sessionId: ID, position: 3 }
    const fork: StreamEvent = { type: 'SessionForked', origin, owner: ALICE, title: 'b', agent: 'coder', model: 'a/b', messages: 1, by: ALICE }
    const row = {
      id: 's1',
      owner: 'alice',
      title: 'b',
      agent: 'coder',
      model: 'a/b',
      status: 'active',
      visibility: 'PRIVATE',
      run: { state: 'idle' },
      messageCount: 1,
      origin,
    }
    expect(summarize(ID, undefined, { position: 4, atMs: 2000, event: fork })).toEqual({ ...row, createdAtMs: 2000, updatedAtMs: 2000 })
    expect(given([created, startOf(), said, { type: 'SessionDeleted', by: ALICE }, fork, said])).toEqual({
      ...row,
      messageCount: 2,
      createdAtMs: 1004,
      updatedAtMs: 1005,
    })
  })

  test('has a folder and a model where it was given them', () => {
    expect(given([{ ...created, cwd: '/work', model: 'a/b' } as StreamEvent])).toMatchObject({ cwd: '/work', model: 'a/b' })
  })

  test.each([startOf(), said, completed, { type: 'SessionDeleted', by: ALICE } as const, { type: 'Unknown', originalType: 'x' } as const])(
    'does not come from $type',
    (event) => {
      expect(summarize(ID, undefined, { position: 1, atMs: 1, event })).toBeUndefined()
    },
  )
})

describe('what a list shows of a change', () => {
  test.each<[string, StreamEvent, Partial<SessionSummary>]>([
    ['a title', { type: 'SessionUpdated', title: 'b', by: ALICE }, { title: 'b', visibility: 'PRIVATE' }],
    ['an empty title', { type: 'SessionUpdated', title: '', by: ALICE }, { title: '' }],
    ['a visibility', { type: 'SessionUpdated', visibility: 'PUBLIC', by: ALICE }, { title: 'a title', visibility: 'PUBLIC' }],
    ['a deletion', { type: 'SessionDeleted', by: ALICE }, { status: 'deleted' }],
    ['a handover', { type: 'SessionAssigned', from: ALICE, to: userId('bob') }, { owner: userId('bob') }],
    ['a model', { type: 'ModelChanged', model: 'a/c', by: ALICE }, { model: 'a/c' }],
  ])('%s', (_what, event, change) => {
    expect(given([created, event])).toEqual({ ...given([created]), ...change, updatedAtMs: 1001 })
  })
})

describe('the state of the run', () => {
  const log = (...events: readonly StreamEvent[]) => [created, startOf(), said, ...events]

  test.each<[string, readonly StreamEvent[], SessionSummary['run']['state']]>([
    ['a start', [], 'starting'],
    ['its first turn', [turn], 'running'],
    ['a question', [turn, asked('c1')], 'waiting'],
    ['the answer', [turn, asked('c1'), decided('c1')], 'running'],
    ['the answer to one of two questions', [turn, asked('c1', 'c2'), decided('c1')], 'waiting'],
    ['the answers to both', [turn, asked('c1', 'c2'), decided('c2'), decided('c1')], 'running'],
    ['an answered call that has ended while another is asked about', [turn, asked('c1', 'c2'), decided('c1'), running('c1'), done('c1')], 'waiting'],
    ['the end of a call that nobody was asked about', [turn, asked('c2'), running('c1'), done('c1')], 'waiting'],
    ['a refusal of a call that nobody was asked about', [turn, asked('c2'), rejected('c1')], 'waiting'],
    ['a question that a steering message made pointless', [turn, asked('c1'), rejected('c1')], 'running'],
    ['two of them', [turn, asked('c1', 'c2'), rejected('c1'), rejected('c2')], 'running'],
    ['a question that was asked again', [turn, asked('c1'), asked('c1'), decided('c1')], 'running'],
    ['a second question, which alone was answered', [turn, asked('c1'), asked('c2'), decided('c2')], 'waiting'],
    ['the next turn', [turn, asked('c1'), turn], 'running'],
    ['a question in the next turn', [turn, asked('c1'), decided('c1'), done('c1'), turn, asked('c2')], 'waiting'],
  ])('after %s', (_what, events, state) => {
    const { run } = given(log(...events))
    expect([run.state, run.runId, run.startedAt]).toEqual([state, 'r1', 2])
  })

  test.each([[], [turn], [turn, asked('c1')]])('is at rest when the run completes, whatever was open: %#', (...events) => {
    expect(given(log(...events, completed)).run).toEqual({ state: 'idle' })
  })

  test('does not begin with what is left of a run that has ended', () => {
    for (const late of [decided('c1'), done('c1'), rejected('c1')]) expect(given(log(turn, completed, late)).run).toEqual({ state: 'idle' })
  })

  test('is failed, and says why, until the next run starts', () => {
    expect(given(log(turn, asked('c1'), failed)).run).toEqual({ state: 'failed', code: 'model_auth', error: 'the key is wrong' })
    expect(given(log(turn, failed, startOf(R2))).run).toEqual({ state: 'starting', runId: 'r2', startedAt: 6 })
  })
})

describe('messages are counted', () => {
  test.each<[StreamEvent, number]>([
    [said, 1],
    [done('c1'), 1],
    [rejected('c1'), 1],
    [asked('c1'), 0],
    [running('c1'), 0],
    [{ type: 'TextCompleted', runId: R1, text: 'x' }, 0],
    [{ type: 'MessageQueued', messageId: messageId('q'), nextRunId: R2, delivery: 'steer', message: { role: 'user', content: '' }, options: {}, by: ALICE }, 0],
  ])('%j counts %i', (event, count) => {
    expect(given([created, startOf(), event]).messageCount).toBe(count)
    expect(given([created, startOf(), event, event]).messageCount).toBe(2 * count)
  })
})

describe('the time of the last change', () => {
  const at = (row: SessionSummary, atMs: number, event: StreamEvent) => summarize(ID, row, { position: 9, atMs, event })

  test('never goes back, also when the clock does', () => {
    expect(at(given([created]), 10, said)).toMatchObject({ updatedAtMs: 1000, createdAtMs: 1000 })
  })

  test.each([startOf(), said, asked('c1'), decided('c1'), done('c1'), rejected('c1'), completed, failed])('moves with $type', (event) => {
    expect(at(given([created, startOf(), turn, asked('c1')]), 5000, event)?.updatedAtMs).toBe(5000)
  })

  test('does not move with a turn: a list keeps its order while a run goes on', () => {
    expect(at(given([created, startOf()]), 5000, turn)).toMatchObject({ run: { state: 'running' }, updatedAtMs: 1001 })
    expect(at(given([created, startOf()]), 5000, { type: 'StepStarted', runId: R1, key: 'k', attempt: 1 })).toMatchObject({ run: { state: 'running' } })
  })

  test.each<StreamEvent>([
    { type: 'TextDelta', runId: R1, delta: 'x' },
    { type: 'UsageReported', runId: R1, turn: 1, model: 'a/b', usage: NO_USAGE },
    { type: 'RunClaimed', runId: R1, fence: 2, driver: 2 },
    { type: 'CancelRequested', runId: R1, by: ALICE },
    { type: 'TurnCompleted', runId: R1, turn: 1, finishReason: 'stop' },
    { type: 'Unknown', originalType: 'x' },
    running('c1'),
    turn,
  ])('nor with $type, which a list does not show: the row is the very same', (event) => {
    const row = given([created, startOf(), turn])
    expect(at(row, 5000, event)).toBe(row)
  })
})
