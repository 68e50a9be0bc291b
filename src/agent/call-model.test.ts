import { expect, test } from 'vitest'
import type { ApprovalPolicy } from './policy.ts'
import type { AgentParts } from './parts.ts'
import type { RunContext } from '../runtime/agent.ts'
import { ConvokeError } from '../domain/errors.ts'
import { runId, sessionId, userId } from '../domain/ids.ts'
import { manualClock } from '../testing/manual-clock.ts'
import { countingRandom, keptLog } from '../testing/run-kit.ts'
import { askTools, scriptedModels, stop, text, toolCall, type Line } from '../testing/scripted-model.ts'
import { scriptedTool } from '../testing/scripted-tool.ts'
import { callModel } from './call-model.ts'

const unused = () => Promise.reject(new Error('a model call reads nothing'))
const POLICY: ApprovalPolicy = { mode: 'all', rules: {}, default: 'ask' }

/** One call of a model in a run whose writes fail with `thrown`. */
function call(lines: readonly Line[], thrown: Error) {
  const signal = new AbortController().signal
  const recorded: string[] = []
  const context: RunContext = {
    sessionId: sessionId('s'),
    runId: runId('r'),
    options: {},
    by: userId('alice'),
    startedAt: 2,
    signal,
    stopping: false,
    released: signal,
    full: false,
    follow: unused,
    changed: unused,
    drained: unused,
    settled: unused,
    finish: unused,
    emit: () => undefined,
    record(...events) {
      recorded.push(...events.map(({ type }) => type))
      return Promise.reject(thrown)
    },
  }
  const parts: AgentParts = {
    state: unused,
    reads: { session: unused, sessionAt: unused, sessions: unused, messages: unused, history: unused, sessionIds: unused },
    models: scriptedModels([lines]),
    tools: [scriptedTool('act')],
    policy: POLICY,
    clock: manualClock(),
    random: countingRandom(),
    telemetry: keptLog(),
    folders: unused,
  }
  const outcome = callModel(context, parts, [], { turn: 1, attempt: 1, model: 'test/one', callIds: new Set() })
  return { outcome, recorded }
}

test.each([new ConvokeError('store_failed', 'the log cannot be read'), new ConvokeError('store_unknown', 'the disk failed')])(
  'a log that fails while an answer is recorded is not taken for a failure of the model ($code)',
  async (thrown) => {
    const { outcome, recorded } = call([...text('I act.'), toolCall('c1', 'act'), askTools()], thrown)
    await expect(outcome).rejects.toBe(thrown)
    expect(recorded).toEqual(['TextCompleted', 'MessageAdded', 'UsageReported', 'ToolCallsProposed'])
  },
)

test('a plain answer is recorded by whoever ends the run, together with the end', async () => {
  const { outcome, recorded } = call([...text('done'), stop()], new Error('not to be seen'))
  expect(await outcome).toMatchObject({
    kind: 'said',
    closing: [{ type: 'TextCompleted' }, { type: 'MessageAdded' }, { type: 'UsageReported' }, { type: 'TurnCompleted' }],
  })
  expect(recorded).toEqual([])
})
