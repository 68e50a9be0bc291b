import { describe, expect, test } from 'vitest'
import { judgeLog, seenOf, type Seen } from './log.ts'

type Step = readonly [name: string, payload?: object, runId?: string | null]

/** A log of these events, by default of the run `r1`. */
function logOf(...steps: readonly Step[]): readonly Seen[] {
  return steps.map(([name, payload = {}, runId = 'r1'], index) =>
    seenOf(name, { id: index + 1, run_id: runId, timestamp: '', event: { Any: payload as Record<string, unknown> } }),
  )
}

const call = (id: string): Step => ['tool_calls_proposed', { tool_calls: [{ id, name: 'pay' }] }]
const started = (id: string): Step => ['tool_execution_started', { tool_call_id: id }]
const done = (id: string, result = 'unknown'): Step => ['tool_execution_completed', { tool_call_id: id, result }]
const rejected = (id: string): Step => ['tool_rejected', { tool_call_id: id }]
const BEGIN: Step = ['run_started']
const END: Step = ['run_completed']
const CREATED: Step = ['session_created', {}, null]
const found = (...steps: readonly Step[]) => judgeLog('s1', logOf(...steps)).found

describe('a log', () => {
  test('with runs that end once and calls that have one result is right, and is counted', () => {
    const log = logOf(
      CREATED,
      BEGIN,
      call('c1'),
      started('c1'),
      ['run_claimed'],
      ['retry_attempt', { attempt: 1, superseded_from: 2 }],
      ['retry_attempt', { attempt: 2 }],
      started('c1'),
      done('c1', 'ok c1'),
      ['turn_completed'],
      END,
      ['run_started', {}, 'r2'],
      call('c2'),
      ['approval_decided', { tool_call_id: 'c2', action: 'reject' }, 'r2'],
      ['tool_rejected', { tool_call_id: 'c2' }, 'r2'],
      ['run_error', { code: 'crash_loop' }, 'r2'],
    )
    // The helper proposes in the run r1.
    const inSecond = log.map((event) => (event.position === 13 ? { ...event, runId: 'r2' } : event))
    const judged = judgeLog('s1', inSecond)
    expect(judged).toMatchObject({ found: [], runs: 2, takeovers: 1, crashLoops: 1, superseded: 1 })
    expect(judged.calls.get('c1')).toEqual({
      id: 'c1',
      tool: 'pay',
      session: 's1',
      position: 3,
      starts: 2,
      rejected: false,
      accepted: false,
      answeredByTool: true,
    })
    expect(judged.calls.get('c2')).toMatchObject({ starts: 0, rejected: true, accepted: false, answeredByTool: false })
  })

  test.each<[string, readonly Step[], string]>([
    ['a run without an end', [BEGIN], 'P6: session s1: the run r1 has 0 ends'],
    ['a run that ended twice', [BEGIN, END, ['run_error']], 'P6: session s1: the run r1 has 2 ends'],
    ['an event of a run that has ended', [BEGIN, END, ['text_delta']], 'P6: session s1, position 3, text_delta: the run r1 has ended before'],
    ['an event of a run that has not begun', [['text_delta']], 'P6: session s1, position 1, text_delta: the run r1 has not begun'],
    ['a run that began twice', [BEGIN, END, BEGIN, END], 'P6: session s1, position 3, run_started: the run r1 began before'],
    ['two runs at once', [BEGIN, ['run_started', {}, 'r2'], END, ['run_completed', {}, 'r2']], 'P4: session s1, position 2, run_started: the run r1 is active'],
    ['a call without a result', [BEGIN, call('c1'), END], 'P5: session s1: the call c1, proposed at 2, has 0 results'],
    ['a call with two results', [BEGIN, call('c1'), done('c1'), rejected('c1'), END], 'P5: session s1: the call c1, proposed at 2, has 2 results'],
    [
      'a turn that ended before its calls',
      [BEGIN, call('c1'), ['turn_completed'], done('c1'), END],
      'P5: session s1, position 3, turn_completed: the call c1 has no result',
    ],
    [
      'a call that was started after its result',
      [BEGIN, call('c1'), done('c1'), started('c1'), END],
      'P5: session s1, position 4, tool_execution_started: its call is not open',
    ],
    ['a result that nobody asked for', [BEGIN, done('c1'), END], 'P5: session s1, position 2, tool_execution_completed: nobody proposed its call'],
    [
      'a call that was proposed twice',
      [BEGIN, call('c1'), done('c1'), call('c1'), done('c1'), END],
      'P5: session s1, position 4, tool_calls_proposed: the call c1 was proposed before',
    ],
  ])('with %s is not right', (_, steps, complaint) => {
    expect(found(...steps)).toContain(complaint)
  })

  test('with a hole in its positions is not right', () => {
    const log = logOf(CREATED, BEGIN, END).filter(({ position }) => position !== 2)
    expect(judgeLog('s1', log).found[0]).toBe('P3: session s1, position 3, run_completed: its place in the log is 2')
  })
})
