/** What it costs to record each step: the same work by an agent that records its steps and by one that records only what it says. */
import type { Bench } from './support/bench.ts'
import type { Model } from '../src/domain/model.ts'
import type { Agent, RunContext } from '../src/runtime/agent.ts'
import { Committer } from '../src/command/committer.ts'
import { isTerminal } from '../src/domain/event.ts'
import { messageId, runId } from '../src/domain/ids.ts'
import { createModelRegistry } from '../src/model/registry.ts'
import { Supervisor } from '../src/runtime/supervisor.ts'
import { openSqliteStore } from '../src/storage/sqlite/store.ts'
import { Hub } from '../src/stream/hub.ts'
import { systemClock } from '../src/system/clock.ts'
import { systemRandom } from '../src/system/random.ts'
import { perSecond, ratio } from './support/bench.ts'
import { creation, LOCAL, newFolder, newStream, remove } from './support/log.ts'
import { inParallel, interleave, median } from './support/measure.ts'
import { startProvider } from './support/process.ts'

const RUNS = 600
const AT_ONCE = 64
const ROUNDS = 5
/** Model calls of a run, a tool call between each two, and tokens of each. */
const TURNS = 3
const TOKENS = 50
const USAGE = { inputTokens: 1, outputTokens: 1, totalTokens: 2 }

const PROMPT = [{ role: 'user', content: 'go' }] as const
let model: Model

/** A turn's tokens, from a model behind HTTP. */
async function say(context: RunContext): Promise<void> {
  for await (const part of model.stream({ system: '', messages: PROMPT, tools: [], signal: context.signal })) {
    if (part.type === 'text_delta') context.emit({ type: 'TextDelta', runId: context.runId, delta: part.delta })
    context.signal.throwIfAborted()
  }
}

const END = { outcome: { kind: 'completed', stopReason: 'completed' }, closing: [], totalTurns: TURNS, totalUsage: USAGE } as const

const unrecorded: Agent = {
  name: 'unrecorded',
  async run(context) {
    await context.follow(() => undefined)
    for (let turn = 1; turn <= TURNS; turn++) await say(context)
    await context.finish(END)
  },
}

/** Intent and result of each model call and each tool call; nothing acts before its intent is durable. */
const recorded: Agent = {
  name: 'recorded',
  async run(context) {
    const { runId: run } = context
    await context.follow(() => undefined)
    for (let turn = 1; turn <= TURNS; turn++) {
      await context.record({ type: 'TurnStarted', runId: run, turn, attempt: 1, model: 'a/b' })
      await say(context)
      const usage = { type: 'UsageReported', runId: run, turn, model: 'a/b', usage: USAGE } as const
      if (turn === TURNS) {
        await context.finish({ ...END, closing: [usage, { type: 'TurnCompleted', runId: run, turn, finishReason: 'stop' }] })
        return
      }
      const call = { runId: run, toolCallId: `c${turn}`, toolName: 'act' }
      const calls = [{ id: call.toolCallId, name: 'act', arguments: {}, disposition: 'approve' }] as const
      await context.record(usage, { type: 'ToolCallsProposed', runId: run, turn, calls })
      await context.record({ type: 'ToolStarted', ...call, attempt: 1 })
      await context.record(
        { type: 'ToolCompleted', ...call, result: 'done', isError: false },
        { type: 'TurnCompleted', runId: run, turn, finishReason: 'tool_calls' },
      )
    }
  },
}

export const journal: Bench = {
  name: 'journal',
  about: `runs of ${TURNS} calls of an HTTP model of ${TOKENS} tokens with a tool call between them, ${AT_ONCE} at once; floor: the same tokens, without intents and results of steps`,
  async run() {
    const folder = newFolder()
    const provider = await startProvider(TOKENS)
    const providers = { scripted: { kind: 'openai-compatible', baseURL: `${provider.url}/v1` } } as const
    const telemetry = { log: () => undefined }
    const registry = createModelRegistry({ providers, aliases: {}, catalog: {}, apiKeys: {}, clock: systemClock, telemetry, discover: false })
    model = await registry.get('scripted/m')
    const store = await openSqliteStore({ folder, random: systemRandom })
    const hub = new Hub()
    const committer = new Committer(store, hub)
    const agents: Readonly<Record<string, Agent>> = { recorded, unrecorded }
    const supervisor = new Supervisor({ store, hub, committer, clock: systemClock, telemetry, agent: (name) => agents[name], killGroup: () => undefined })
    await supervisor.start()
    const oneRun = async (agent: string) => {
      const stream = newStream()
      const created = { ...creation(stream), command: { type: 'CreateSession', title: '', agent } } as const
      await committer.commit([created as ReturnType<typeof creation>])
      const ended = new Promise<void>((resolve) => {
        const stop = hub.subscribe(stream, ({ events }) => {
          if (!events.some(isTerminal)) return
          stop()
          resolve()
        })
      })
      const ids = { messageId: messageId(systemRandom.uuid()), newRunId: runId(systemRandom.uuid()), driver: store.driver }
      const command = { type: 'SendMessage', ...ids, message: { role: 'user', content: 'go' }, options: {}, whenBusy: 'reject' } as const
      await committer.commit([{ kind: 'decide', stream, command, asker: LOCAL, atMs: Date.now() }])
      await ended
    }
    const rate = async (agent: string) => {
      const start = performance.now()
      await inParallel(RUNS, AT_ONCE, () => oneRun(agent))
      return (RUNS / (performance.now() - start)) * 1000
    }
    try {
      const found = await interleave(ROUNDS, { recorded: () => rate('recorded'), unrecorded: () => rate('unrecorded') })
      const [ours, bare] = [median(found.recorded), median(found.unrecorded)]
      return [
        {
          what: 'runs',
          ours: `${perSecond(ours)} (${ratio(bare / ours)} the time)`,
          floor: perSecond(bare),
          target: 'at most 1.3x the time',
          met: bare / ours <= 1.3,
        },
      ]
    } finally {
      await supervisor.stop(1000)
      await store.close()
      await provider.stop()
      remove(folder)
    }
  },
}
