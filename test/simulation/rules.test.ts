/** The checker of the simulation sees each kind of broken log; one that sees nothing would prove nothing. */
import { describe, expect, test } from 'vitest'
import type { StreamEvent } from '../../src/domain/event.ts'
import { messageId, runId, sessionId, userId } from '../../src/domain/ids.ts'
import { NO_USAGE } from '../../src/domain/usage.ts'
import { Rules } from '../../torture/simulation/rules.ts'

const S = sessionId('s')
const R = runId('r')
const alice = userId('alice')

const created: StreamEvent = { type: 'SessionCreated', owner: alice, title: 't', agent: 'convoke' }
const started = (id = R, fence = 1): StreamEvent => ({ type: 'RunStarted', runId: id, fence, driver: 1, agent: 'convoke', options: {}, by: alice })
const claimed = (fence: number): StreamEvent => ({ type: 'RunClaimed', runId: R, fence, driver: 2 })
const said = (text: string, delivery?: 'steer'): StreamEvent => ({
  type: 'MessageAdded',
  messageId: messageId(text),
  runId: R,
  message: { role: 'user', content: text },
  ...(delivery === undefined ? {} : { delivery }),
})
const queued = (text: string): StreamEvent => ({
  type: 'MessageQueued',
  messageId: messageId(text),
  nextRunId: runId('next'),
  delivery: 'steer',
  message: { role: 'user', content: text },
  options: {},
  by: alice,
})
const turn = (number = 1): StreamEvent => ({ type: 'TurnStarted', runId: R, turn: number, attempt: 1, model: 'm' })
const attempt = (number: number): StreamEvent => ({ type: 'AttemptStarted', runId: R, turn: 1, attempt: number, model: 'm' })
const delta: StreamEvent = { type: 'TextDelta', runId: R, delta: 'x' }
const superseded = (from: number): StreamEvent => ({ type: 'AttemptSuperseded', runId: R, turn: 1, attempt: 1, from })
const answered: StreamEvent = { type: 'MessageAdded', messageId: messageId('a'), runId: R, message: { role: 'assistant', content: 'x' } }
const reported: StreamEvent = { type: 'UsageReported', runId: R, turn: 1, model: 'm', usage: NO_USAGE }
const proposed = (disposition: 'approve' | 'ask' = 'approve', name = 'act'): StreamEvent => ({
  type: 'ToolCallsProposed',
  runId: R,
  turn: 1,
  calls: [{ id: 'c', name, arguments: {}, disposition }],
})
const toolStarted: StreamEvent = { type: 'ToolStarted', runId: R, toolCallId: 'c', toolName: 'act', attempt: 1 }
const decided = (action: 'accept' | 'reject'): StreamEvent => ({ type: 'ApprovalDecided', runId: R, toolCallId: 'c', action, by: alice })
const result: StreamEvent = { type: 'ToolCompleted', runId: R, toolCallId: 'c', toolName: 'act', result: 'done', isError: false }
const asked: StreamEvent = { type: 'ResumeRequested', runId: R }
const answer = (action: 'resume' | 'fail'): StreamEvent => ({ type: 'ResumeDecided', runId: R, action, by: alice })
const turnEnd: StreamEvent = { type: 'TurnCompleted', runId: R, turn: 1, finishReason: 'stop' }
const ended: StreamEvent = { type: 'RunCompleted', runId: R, totalTurns: 1, totalUsage: NO_USAGE, stopReason: 'completed' }

const CALLS = [created, started(), turn(), answered, reported, proposed()]

/** What the checker says of a log, and of what it leaves open. */
function check(events: readonly StreamEvent[], from = 1): readonly string[] {
  const broken: string[] = []
  const rules = new Rules({ repeatable: (tool) => tool === 'look', broken: (sentence) => broken.push(sentence.replace(/ \(s at .*/, '')) })
  events.forEach((event, index) => rules.take(S, { position: from + index, atMs: 0, event }))
  return [...broken, ...rules.atEnd()]
}

test.each([
  ['a plain run', [created, started(), said('m'), turn(), delta, answered, reported, turnEnd, ended]],
  ['a call with its result', [...CALLS, toolStarted, result, turnEnd, ended]],
  [
    'a takeover that repeats a call of the model',
    [created, started(), turn(), delta, claimed(2), superseded(4), attempt(2), answered, reported, turnEnd, ended],
  ],
  ['an asked call that was accepted', [created, started(), turn(), answered, proposed('ask'), decided('accept'), toolStarted, result, turnEnd, ended]],
  ['a repeatable call that is repeated', [created, started(), turn(), answered, proposed('approve', 'look'), toolStarted, toolStarted, result, turnEnd, ended]],
  ['a run that was asked about and went on', [created, started(), turn(), claimed(2), asked, answer('resume'), superseded(0), attempt(2), turnEnd, ended]],
  ['a message that waited', [created, started(), queued('m'), said('m', 'steer'), ended]],
] as const)('%s is sound', (_what, events) => {
  expect(check(events)).toEqual([])
})

test.each([
  ['a hole', [created, started(), ended], 2, 'P3: position 2 follows 0'],
  ['a run without an end', [created, started()], 1, 'P6: run r never ended'],
  ['two ends', [created, started(), ended, ended], 1, 'P6: an event behind the end of its run'],
  ['a run that starts twice', [created, started(), ended, started(R, 2), ended], 1, 'P6: a run starts twice'],
  ['two runs at once', [created, started(), started(runId('q'), 2), ended], 1, 'P4: a run starts while another is active'],
  ['a fence that stands', [created, started(), claimed(1), ended], 1, 'P4: fence 1 follows 1'],
  ['a call without a result', [...CALLS, toolStarted, turnEnd, ended], 1, 'P5: call c has no result'],
  ['two results', [...CALLS, result, result, turnEnd, ended], 1, 'P5: c has two results'],
  ['a start behind the result', [...CALLS, result, toolStarted, turnEnd, ended], 1, 'P5: c starts behind its result'],
  ['a call that must not be repeated', [...CALLS, toolStarted, toolStarted, result, turnEnd, ended], 1, 'P5: c must not be repeated, and starts again'],
  ['a call without a yes', [created, started(), turn(), answered, proposed('ask'), toolStarted, result, turnEnd, ended], 1, 'P10: c starts without a yes'],
  ['a turn that is skipped', [created, started(), turn(2), turnEnd, ended], 1, 'P5: turn 2.1 follows 0.0'],
  ['a turn left open', [created, started(), turn(), answered, ended], 1, 'P5: the run ended in an open turn'],
  [
    'text that is not superseded',
    [created, started(), turn(), delta, attempt(2), turnEnd, ended],
    1,
    'P5: an attempt starts, and nothing was said about the one before',
  ],
  ['the wrong text superseded', [created, started(), turn(), delta, superseded(9), attempt(2), turnEnd, ended], 1, 'P5: superseded from 9, streamed from 4'],
  [
    'a model call finished twice',
    [created, started(), turn(), answered, reported, reported, turnEnd, ended],
    1,
    'P5: a model call was finished twice in one turn',
  ],
  ['a message taken in twice', [created, started(), queued('m'), said('m', 'steer'), said('m', 'steer'), ended], 1, 'P7: a message was taken in twice'],
  ['a run that goes on unasked', [created, started(), turn(), claimed(2), asked, superseded(0)], 1, 'P5: the run goes on, and nobody has said so'],
  ['a run that goes on against a no', [created, started(), asked, answer('fail'), turn()], 1, 'P5: the run goes on, and nobody has said so'],
  ['a second answer', [created, started(), asked, answer('resume'), answer('fail'), ended], 1, 'P5: nobody asked whether the run goes on'],
  ['a second question', [created, started(), asked, asked, ended], 1, 'P5: it is asked twice whether the run goes on'],
  ['a message forgotten', [created, started(), queued('m'), ended], 1, 'P6: 1 accepted message(s) of s were forgotten in the queue'],
] as const)('%s is seen', (_what, events, from, sentence) => {
  expect(check(events, from)).toContain(sentence)
})

describe('a fork', () => {
  const F = sessionId('f')
  const forked = (at: number): StreamEvent => {
    return { type: 'SessionForked', origin: { sessionId: S, position: at }, owner: alice, title: 't', agent: 'convoke', messages: 0, by: alice }
  }
  const LOG = [created, started(), turn(), answered, reported, proposed(), toolStarted, result, turnEnd, ended]

  /** What the checker says of a fork at `at` whose first own event stands at `position`, after something was done to it and its origin. */
  function checkFork(at: number, position = at + 1, then: (rules: Rules) => void = () => undefined): readonly string[] {
    const broken: string[] = []
    const rules = new Rules({ repeatable: () => false, broken: (sentence) => broken.push(sentence.replace(/ \([sf]2? at .*/, '')) })
    LOG.forEach((event, index) => rules.take(S, { position: index + 1, atMs: 0, event }))
    rules.take(F, { position, atMs: 0, event: forked(at) })
    then(rules)
    return broken
  }

  test.each([1, 2, 9, 10])('at %i, where nothing is open, is sound', (at) => {
    expect(checkFork(at)).toEqual([])
  })

  test.each([3, 5, 6, 7, 8, 11])('at %i, inside a turn or behind the end, is seen', (at) => {
    expect(checkFork(at)).toEqual([`L13: forked at ${at}, where something is open, or nothing is`])
  })

  test('that does not go on where its history ends is seen', () => {
    expect(checkFork(9, 11)).toEqual(['P3: position 11 follows 9'])
  })

  test('has fences and runs of its own, whatever becomes of its origin', () => {
    const own = runId('own')
    expect(
      checkFork(9, 10, (rules) => {
        rules.erase(S)
        rules.take(F, { position: 11, atMs: 0, event: started(own) })
      }),
    ).toEqual([])
  })

  test('of what was erased is seen', () => {
    const again = (rules: Rules) => {
      rules.erase(S)
      rules.take(sessionId('f2'), { position: 3, atMs: 0, event: forked(2) })
    }
    expect(checkFork(9, 10, again)).toEqual(['L13: forked from s, which is not there'])
  })
})

describe('an erasure', () => {
  function checkErased(events: readonly StreamEvent[], then: (rules: Rules) => void): readonly string[] {
    const broken: string[] = []
    const rules = new Rules({ repeatable: () => false, broken: (sentence) => broken.push(sentence.replace(/ \(s at .*/, '')) })
    events.forEach((event, index) => rules.take(S, { position: index + 1, atMs: 0, event }))
    rules.erase(S)
    then(rules)
    return [...broken, ...rules.atEnd()]
  }

  test.each<[string, readonly StreamEvent[], (rules: Rules) => void, readonly string[]]>([
    ['of an idle session is sound', [created], () => undefined, []],
    ['beside a run is seen', [created, started()], () => undefined, ['L14: s was erased, and its run r is active', 'P6: run r never ended']],
    ['twice is seen', [created], (rules) => rules.erase(S), ['L14: s was erased and is not there']],
    ['that is written to is seen', [created], (rules) => rules.take(S, { position: 2, atMs: 0, event: created }), ['L14: what was erased is written to']],
  ])('%s', (_what, events, then, sentences) => {
    expect(checkErased(events, then)).toEqual(sentences)
  })
})
