/**
 * One process of several on a shared log: drives runs of the built-in agent with a model that streams at a pace.
 *
 * Arguments: data folder, name, ledger file. Each line of standard input is a session to speak in; each line of output is JSON: what it is
 * (`ready`), and each run that it had to let go of (`left`).
 */
import { appendFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Tool } from '../../src/domain/tool.ts'
import { builtinAgent } from '../../src/agent/builtin.ts'
import { Committer } from '../../src/command/committer.ts'
import { messageId, runId, sessionId } from '../../src/domain/ids.ts'
import { Supervisor } from '../../src/runtime/supervisor.ts'
import { openSqliteStore } from '../../src/storage/sqlite/store.ts'
import { Hub } from '../../src/stream/hub.ts'
import { systemClock } from '../../src/system/clock.ts'
import { systemRandom } from '../../src/system/random.ts'
import { askTools, scriptedModels, stop, text, toolCall, type Line } from '../../src/testing/scripted-model.ts'
import { scriptedTool } from '../../src/testing/scripted-tool.ts'
import { TESTER } from '../../src/testing/run-kit.ts'
import { elapsed } from '../support/wait.ts'
import { DRIVER_TTL_MS, TOKEN_MS, TOKENS } from './figures.ts'

const [folder = '', name = '', ledger = ''] = process.argv.slice(2)
const say = (what: object) => process.stdout.write(`${JSON.stringify(what)}\n`)
const store = await openSqliteStore({ folder, random: systemRandom, shared: true })
const hub = new Hub()
const committer = new Committer(store, hub)

/** Each token carries the driver's number, so that the log shows who wrote it. */
function paced(first: boolean): readonly Line[] {
  // Each wait begins when the one before it has ended: a generator, since the script is made anew for each call.
  const lines: Line[] = []
  for (let token = 0; token < TOKENS; token++) lines.push({ type: 'text_delta', delta: `${store.driver} ` })
  return first ? [...lines, ...text(''), toolCall(systemRandom.uuid(), 'note'), askTools()] : [...lines, ...text(''), stop()]
}

const note: Tool = scriptedTool('note', {
  async run({ toolCallId }) {
    appendFileSync(ledger, `${toolCallId} ${store.driver}\n`)
    await elapsed(TOKEN_MS * 4)
    return 'noted'
  },
})
const models = scriptedModels((request) => paced(!request.messages.some(({ role }) => role === 'tool')))
const agent = builtinAgent({
  state: (session) => store.state(session),
  reads: store,
  models: { ...models, get: async (id) => slow(await models.get(id)) },
  tools: [note],
  policy: { mode: 'all', rules: {}, default: 'approve' },
  clock: systemClock,
  random: systemRandom,
  telemetry: { log: () => undefined },
  folders: async () => ({ workspace: folder, outputFolder: folder }),
})

/** The same model, a token each `TOKEN_MS`. */
function slow(model: Awaited<ReturnType<typeof models.get>>): typeof model {
  return {
    id: model.id,
    async *stream(request) {
      for await (const part of model.stream(request)) {
        if (part.type === 'text_delta') await elapsed(TOKEN_MS)
        request.signal.throwIfAborted()
        yield part
      }
    },
  }
}

const supervisor = new Supervisor({
  store,
  hub,
  committer,
  clock: systemClock,
  telemetry: { log: (_level, message, fields) => void (message === 'run left' && say({ left: fields?.['run'], why: fields?.['reason'] })) },
  agent: () => agent,
  killGroup: () => undefined,
  driverTtlMs: DRIVER_TTL_MS,
})
await supervisor.start()
say({ ready: name, driver: store.driver })

for await (const line of createInterface({ input: process.stdin })) {
  const ids = { messageId: messageId(systemRandom.uuid()), newRunId: runId(systemRandom.uuid()), driver: store.driver }
  const command = { type: 'SendMessage', ...ids, message: { role: 'user', content: 'go' }, options: {}, whenBusy: 'reject' } as const
  await committer.commit([{ kind: 'decide', stream: sessionId(line), command, asker: TESTER, atMs: systemClock.nowMs() }])
}
await supervisor.stop(2000)
await store.close()
