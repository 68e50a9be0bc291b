/** The scenarios that are cut at every point: each command and each kind of step stands in one of them. */
import type { SendMessage, SessionCommand } from '../../src/domain/command.ts'
import type { DecisionAction } from '../../src/domain/event.ts'
import type { ModelPart, ModelRequest } from '../../src/domain/model.ts'
import type { Scenario, Seen } from './stage.ts'
import { ConvokeError } from '../../src/domain/errors.ts'
import { messageId, runId } from '../../src/domain/ids.ts'

type Lines = readonly (ModelPart | Error)[]

const usage = { inputTokens: 10, outputTokens: 1, totalTokens: 11 }
const says = (...deltas: readonly string[]): Lines => [...deltas.map((delta) => ({ type: 'text_delta', delta }) as const), { type: 'text_end' }]
const calls = (...named: readonly (readonly [string, string])[]): Lines => [
  ...named.map(([id, name]) => ({ type: 'tool_call', id, name, arguments: {} }) as const),
  { type: 'finish', reason: 'tool_calls', usage },
]
const END: Lines = [...says('all ', 'done'), { type: 'finish', reason: 'stop', usage }]

/** The answers, by how many the prompt holds: which turn it is can be told from it, as a real model would. */
const turns =
  (...answers: readonly Lines[]) =>
  ({ messages }: ModelRequest): Lines =>
    answers[messages.filter(({ role }) => role === 'assistant').length] ?? END

const message = (tag: string, more: Partial<SendMessage> = {}): SessionCommand => ({
  type: 'SendMessage',
  messageId: messageId(''),
  newRunId: runId(''),
  driver: 0,
  message: { role: 'user', content: tag },
  options: {},
  whenBusy: 'reject',
  ...more,
})
const go = { when: () => true, wish: (_seen: Seen, tag: string) => message(tag) }
const asked = (seen: Seen) => seen.count('ApprovalRequested') > 0
const begun = (seen: Seen) => seen.count('ToolStarted') > 0
const over = (seen: Seen) => seen.count('RunCompleted') + seen.count('RunFailed') > 0
const decide =
  (id: string, action: DecisionAction) =>
  (seen: Seen, tag: string): SessionCommand => ({ type: 'DecideCalls', runId: seen.run, decisions: [{ toolCallId: id, action, content: tag }] })
const ASKS = turns(calls(['d', 'danger']))

/** A model that is out of order in the middle of its answer; asked a second time by a person, it refuses. */
function failing({ messages }: ModelRequest): Lines {
  const again = messages.filter(({ role }) => role === 'user').length > 1
  if (again) return [...says('it '), new ConvokeError('model_refused', 'scripted')]
  return [...says('half '), new ConvokeError('model_unavailable', 'scripted', { retryAfterMs: 10 })]
}

/** All scenarios. */
export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'model calls, several tools, an approval',
    plan: turns([...says('I look ', 'around.'), ...calls(['l1', 'look'], ['l2', 'look'], ['a', 'act'])], [...says('Now this.'), ...calls(['d', 'danger'])]),
    steps: [go, { when: asked, wish: decide('d', 'accept') }],
  },
  {
    name: 'a refusal and an answer in the tool’s place',
    plan: turns(calls(['d1', 'danger'], ['d2', 'danger'])),
    steps: [go, { when: asked, wish: decide('d1', 'reject') }, { when: asked, wish: decide('d2', 'custom_result') }],
  },
  {
    name: 'a steering message, a follow-up and one that waits',
    plan: ASKS,
    steps: [
      go,
      { when: asked, wish: (seen, tag) => message(tag, { delivery: 'follow_up', runId: seen.run }) },
      { when: asked, wish: (_seen, tag) => message(tag, { whenBusy: 'enqueue' }) },
      { when: asked, wish: (seen, tag) => message(tag, { delivery: 'steer', runId: seen.run }) },
    ],
  },
  {
    name: 'an interrupt while a question is open',
    plan: ASKS,
    steps: [go, { when: asked, wish: (_seen, tag) => message(tag, { whenBusy: 'interrupt' }) }],
  },
  {
    name: 'an interrupt while a tool runs',
    plan: turns(calls(['a', 'act'])),
    slowMs: 200,
    steps: [go, { when: begun, wish: (_seen, tag) => message(tag, { whenBusy: 'interrupt' }) }],
  },
  {
    name: 'a cancel while a tool runs, with a message that waits',
    plan: turns(calls(['f', 'fetch'], ['a', 'act'])),
    slowMs: 200,
    steps: [
      go,
      { when: begun, wish: (_seen, tag) => message(tag, { whenBusy: 'enqueue' }) },
      { when: begun, wish: (seen) => ({ type: 'CancelRun', runId: seen.run }) },
    ],
  },
  {
    name: 'a cancel while a question is open',
    plan: ASKS,
    steps: [go, { when: asked, wish: (seen) => ({ type: 'CancelRun', runId: seen.run }) }],
  },
  {
    name: 'a model call that is tried until it has failed for good, then one that is refused at once',
    plan: failing,
    steps: [go, { when: over, wish: (_seen, tag) => message(tag) }],
  },
  {
    name: 'a name, a model and a policy for interruptions are changed',
    onInterrupt: 'ask',
    plan: ASKS,
    steps: [
      go,
      { when: asked, wish: (seen, tag) => ({ type: 'SetModel', runId: seen.run, model: `sim/${tag}` }) },
      { when: asked, wish: (_seen, tag) => ({ type: 'UpdateSession', title: tag, onInterrupt: 'ask' }) },
      { when: asked, wish: decide('d', 'accept') },
      { when: over, wish: (_seen, tag) => message(tag) },
    ],
  },
  {
    name: 'an interrupted run ends by its session’s wish',
    onInterrupt: 'fail',
    plan: turns(calls(['l', 'look'], ['a', 'act'])),
    slowMs: 100,
    steps: [go, { when: over, wish: (_seen, tag) => message(tag) }],
  },
  {
    name: 'a session is deleted while a tool runs',
    plan: turns(calls(['a', 'act'])),
    slowMs: 200,
    steps: [go, { when: begun, wish: (_seen, tag) => message(tag, { whenBusy: 'enqueue' }) }, { when: begun, wish: () => ({ type: 'DeleteSession' }) }],
  },
]
