import { expect, test } from 'vitest'
import type { Recorded, StreamEvent } from '../domain/event.ts'
import type { Message } from '../domain/message.ts'
import { messageId, runId, sessionId, userId } from '../domain/ids.ts'
import type { SessionReads } from '../projection/reads.ts'
import type { Agent, DriverEvent, RunContext } from '../runtime/agent.ts'
import { messageOf } from '../projection/transcript.ts'
import { manualClock } from '../testing/manual-clock.ts'
import { countingRandom, keptLog } from '../testing/run-kit.ts'
import { scriptedModels, stop, text } from '../testing/scripted-model.ts'
import { BUILTIN_AGENT, builtinAgent } from './builtin.ts'
import { DEFAULT_POLICY } from './policy.ts'

const SESSION = sessionId('s1')
const ALICE = userId('alice')

/** A session of arrays whose runs the test starts by hand, with full say over when the agent sees what. */
function setUp() {
  const log: Recorded[] = []
  let listener: (recorded: Recorded) => void = () => undefined
  const append = (...events: readonly StreamEvent[]) => {
    for (const event of events) {
      const recorded = { position: log.length + 1, atMs: 0, event }
      log.push(recorded)
      listener(recorded)
    }
  }
  const unused = () => Promise.reject(new Error('the agent reads only the history'))
  const history: SessionReads['history'] = async (_id, upTo, _limit, after = 0) =>
    log.flatMap((recorded) => {
      const message = recorded.position <= upTo && recorded.position > after ? messageOf(recorded) : undefined
      return message === undefined ? [] : [message]
    })
  const models = scriptedModels([[...text('ok'), stop()]])
  const agent = builtinAgent({
    state: async () => undefined,
    reads: { history, session: unused, sessionAt: unused, sessions: unused, messages: unused, sessionIds: unused },
    models,
    tools: [],
    policy: DEFAULT_POLICY,
    clock: manualClock(),
    random: countingRandom(),
    telemetry: keptLog(),
    folders: unused,
  })
  const say = (run: string, content: string): readonly StreamEvent[] => [
    { type: 'RunStarted', runId: runId(run), fence: 1, driver: 1, agent: agent.name, options: {}, by: ALICE },
    { type: 'MessageAdded', messageId: messageId(`m-${run}`), runId: runId(run), message: { role: 'user', content } },
  ]
  return { agent, models, append, say, log, contextOf: (run: string) => contextOf(log, runId(run), append, (to) => (listener = to)) }
}

function contextOf(
  log: readonly Recorded[],
  id: RunContext['runId'],
  append: (...events: readonly DriverEvent[]) => void,
  listen: (to: (recorded: Recorded) => void) => void,
): RunContext {
  const startedAt = log.findLast(({ event }) => event.type === 'RunStarted')?.position ?? 1
  return {
    sessionId: SESSION,
    runId: id,
    options: {},
    by: ALICE,
    startedAt,
    signal: new AbortController().signal,
    stopping: false,
    released: new AbortController().signal,
    full: false,
    drained: async () => undefined,
    settled: async () => undefined,
    changed: () => Promise.reject(new Error('nothing to wait for')),
    async follow(listener) {
      for (const recorded of log.slice(startedAt - 1)) listener(recorded)
      listen(listener)
    },
    record: async (...events) => append(...events),
    emit: (event) => append(event),
    async finish({ closing, totalTurns, totalUsage }) {
      append(...closing, { type: 'RunCompleted', runId: id, totalTurns, totalUsage, stopReason: 'completed' })
      return 'finished'
    },
  }
}

const contents = (messages: readonly Message[] | undefined) => messages?.map(({ role, content }) => (typeof content === 'string' ? content : role))

test('the built-in agent is called convoke', () => {
  const { agent }: { agent: Agent } = setUp()
  expect([agent.name, BUILTIN_AGENT]).toEqual(['convoke', 'convoke'])
})

test('what is said right after a run has ended is in the next prompt once', async () => {
  const { agent, models, append, say, contextOf } = setUp()
  append(...say('r1', 'one'))
  await agent.run(contextOf('r1'))
  // The driver closes the old run's reader a moment later than the agent returns.
  append(...say('r2', 'two'))
  await agent.run(contextOf('r2'))
  expect(contents(models.seen[1]?.messages)).toEqual(['one', 'assistant', 'two'])
})
