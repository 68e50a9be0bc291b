/**
 * Providers that fail in every way that we know: the run ends once or is tried again as documented, its history stays valid, what was cut
 * off is superseded where everybody sees it, the next message works, and a cancel cancels meanwhile.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { z } from 'zod'
import type { FakeWire } from '../../test/support/fake-wire.ts'
import type { Part, PartOptions, PartResult } from '../part.ts'
import { json } from '../../bench/support/http.ts'
import { quantile, inParallel } from '../../bench/support/measure.ts'
import { defineTool, Server } from '../../src/index.ts'
import { wrongInLog, wrongInTranscript, nameOf, payloadOf, type Shown } from '../faults/log-check.ts'
import { numbersOf } from '../support/chance.ts'
import { elapsed, within } from '../support/wait.ts'
import { said, Undo } from '../support/undo.ts'
import { logOf, runsEnded } from '../faults/wire.ts'
import { COMPATIBLE } from './compatible.ts'
import { EVERYWHERE } from './everywhere.ts'
import type { Fault } from './replies.ts'
import { NEXT, startModelServer, type FaultyModel, type ModelServer } from './model-server.ts'

const WIRES: readonly FakeWire[] = ['openai-compatible', 'openai', 'anthropic', 'google']
/** Silence after which a model has failed here, in ms. */
const IDLE_MS = 3000
/** Sessions side by side. */
const WIDTH = 48
/** Longest run: three silent tries, and the pauses between them, on a busy machine, in ms. */
const RUN_MS = 90_000
/** Cancels that take longer are lost, in ms: the promise is 200, the machine may be busy with other things. */
const CANCEL_MS_MAX = 2000
/** Latest moment of a cancel, in ms after its message. */
const CANCEL_WITHIN_MS = 1200

export const provider: Part = {
  name: 'provider',
  breaks: 'providers: silence, resets, malformed and endless answers, every status, odd calls; each also cancelled',
  promises: 'P3 P5 P6 P8 P13',
  async run(options) {
    const undo = new Undo()
    try {
      return await torture(options, undo)
    } finally {
      await undo.run()
    }
  },
}

interface World {
  readonly url: string
  readonly models: ModelServer
  /** How often the tool ran, by session. */
  readonly ran: Map<string, number>
  readonly lost: string[]
  readonly cancelMs: number[]
}

async function torture({ seed, form, say }: PartOptions, undo: Undo): Promise<PartResult> {
  const data = mkdtempSync(join(tmpdir(), 'convoke-torture-provider-'))
  undo.add(() => rmSync(data, { recursive: true, force: true }))
  const models = await startModelServer()
  undo.add(() => models.close())
  const ran = new Map<string, number>()
  const note = defineTool({
    name: 'note',
    description: 'Notes a number.',
    input: z.object({ n: z.number() }),
    readOnly: true,
    run: async (_args, { sessionId }) => {
      ran.set(sessionId, (ran.get(sessionId) ?? 0) + 1)
      return 'noted'
    },
  })
  const providers = Object.fromEntries(
    WIRES.map((wire) => [wire, { kind: wire, baseURL: `${models.url}${wire === 'google' ? '/v1beta' : '/v1'}`, apiKey: 'key-of-torture' }]),
  )
  const server = new Server({
    port: 0,
    data,
    log: 'silent',
    models: { discover: false },
    providers,
    tools: [note],
    approvals: { mode: 'all' },
    limits: { modelIdleMs: IDLE_MS },
    shutdownMs: 500,
  })
  await server.start()
  undo.add(() => server.stop())
  const world: World = { url: server.url, models, ran, lost: [], cancelMs: [] }
  const crashes: string[] = []
  const onCrash = (error: unknown) => void crashes.push(said(error))
  for (const name of ['uncaughtException', 'unhandledRejection'] as const) {
    process.on(name, onCrash)
    undo.add(() => process.off(name, onCrash))
  }
  const cases = WIRES.flatMap((wire) => [...EVERYWHERE, ...(wire === 'openai-compatible' ? COMPATIBLE : [])].map((fault) => ({ wire, fault })))
  const random = numbersOf(seed)
  const cancels = (form === 'long' ? 8 : 1) * cases.length
  const work = [
    ...cases.map(
      ({ wire, fault }) =>
        () =>
          letFail(world, wire, fault),
    ),
    ...Array.from({ length: cancels }, (_, index) => {
      const { wire, fault } = cases[index % cases.length] as (typeof cases)[number]
      const afterMs = Math.floor(random() * CANCEL_WITHIN_MS)
      return () => cancelIt(world, wire, fault, afterMs)
    }),
  ]
  let done = 0
  await inParallel(work.length, WIDTH, async (index) => {
    await (work[index] as () => Promise<void>)()
    if (++done % 50 === 0) say(`${done} of ${work.length} sessions`)
  })
  world.lost.push(...crashes.map((error) => `the process would have crashed: ${error}`))
  const p50 = Math.round(quantile(world.cancelMs, 0.5))
  const max = Math.max(0, ...world.cancelMs)
  say(`${world.cancelMs.length} cancels of live runs: p50 ${p50} ms, max ${max} ms`)
  return {
    tried: [`${cases.length} faults of ${WIRES.length} kinds of provider`, `${cancels} cancels among them (p50 ${p50} ms, max ${max} ms)`],
    lost: world.lost,
  }
}

async function begin(world: World, wire: FakeWire, fault: Fault, mode: string) {
  const name = `${mode}-${wire}-${fault.name}-${world.models.models.size}`.replace(/[^\w-]/g, '_')
  const model: FaultyModel = { wire, fault, requests: 0 }
  world.models.models.set(name, model)
  const { id } = await json<{ id: string }>(`${world.url}/v1/sessions`, 'POST', { title: name, model: `${wire}/${name}` })
  const say = (content: string) => json<{ run_id: string }>(`${world.url}/v1/sessions/${id}/messages`, 'POST', { message: { role: 'user', content } })
  return { model, id, say, label: `${wire}: ${fault.name}` }
}

/** One fault without anybody's help, and the message after it. */
async function letFail(world: World, wire: FakeWire, fault: Fault): Promise<void> {
  const label = `${wire}: ${fault.name}`
  try {
    const { model, id, say } = await begin(world, wire, fault, 'plain')
    await say('go')
    await within(RUN_MS, label, runsEnded(world.url, id, 1, RUN_MS))
    const log = await logOf(world.url, id)
    world.lost.push(...wrongInLog(log).map((what) => `${label}: ${what}`))
    world.lost.push(...asExpected(log, fault, model, world.ran.get(id) ?? 0).map((what) => `${label}: ${what}`))
    await goesOn(world, { model, id, say, label })
  } catch (error) {
    world.lost.push(`${label}: ${said(error)}`)
  }
}

function asExpected(log: readonly Shown[], fault: Fault, model: FaultyModel, runs: number): readonly string[] {
  const end = log.findLast((shown) => ['RunCompleted', 'RunError'].includes(nameOf(shown))) as Shown
  const how = nameOf(end) === 'RunError' ? (payloadOf(end).code as string) : (payloadOf(end).stop_reason as string)
  const wrong = [fault.ends].flat().includes(how) ? [] : [`it ended as ${how} (${JSON.stringify(payloadOf(end)).slice(0, 300)}), not as ${String(fault.ends)}`]
  if (fault.requests !== undefined && fault.requests !== model.requests) wrong.push(`the provider was asked ${model.requests} times, not ${fault.requests}`)
  if (fault.runs !== undefined && fault.runs !== runs) wrong.push(`the tool ran ${runs} times, not ${fault.runs}`)
  if (fault.text === undefined) return wrong
  const message = log.findLast((shown) => nameOf(shown) === 'MessageAdded' && payloadOf(shown).message.role === 'assistant')
  const content = (message === undefined ? [] : payloadOf(message).message.content) as string | readonly { readonly text?: string }[]
  const text = typeof content === 'string' ? content : content.map((part) => part.text ?? '').join('')
  if (text !== fault.text) wrong.push(`the last message says ${JSON.stringify(text.slice(0, 60))}, not ${JSON.stringify(fault.text.slice(0, 60))}`)
  return wrong
}

/** One fault that is cancelled in the middle of it, and the message after it. */
async function cancelIt(world: World, wire: FakeWire, fault: Fault, afterMs: number): Promise<void> {
  const label = `${wire}: ${fault.name}, cancelled after ${afterMs} ms`
  try {
    const { model, id, say } = await begin(world, wire, fault, 'cancel')
    const { run_id } = await say('go')
    await elapsed(afterMs)
    const answer = await json<{ status?: string }>(`${world.url}/v1/sessions/${id}/cancel`, 'POST', { run_id })
    if (answer.status !== 'cancelled' && answer.status !== 'cancelling') world.lost.push(`${label}: the cancel answered ${JSON.stringify(answer)}`)
    await within(RUN_MS, label, runsEnded(world.url, id, 1, RUN_MS))
    const log = await logOf(world.url, id)
    world.lost.push(...wrongInLog(log).map((what) => `${label}: ${what}`))
    const asked = log.find((shown) => nameOf(shown) === 'CancelRequested')
    const end = log.find((shown) => ['RunCompleted', 'RunError'].includes(nameOf(shown))) as Shown
    if (asked !== undefined) {
      const ms = Date.parse(end.timestamp) - Date.parse(asked.timestamp)
      world.cancelMs.push(ms)
      if (ms > CANCEL_MS_MAX) world.lost.push(`${label}: the cancel took ${ms} ms`)
      if (payloadOf(end).stop_reason !== 'cancelled') world.lost.push(`${label}: a cancelled run ended as ${JSON.stringify(payloadOf(end))}`)
    }
    await goesOn(world, { model, id, say, label })
  } catch (error) {
    world.lost.push(`${label}: ${said(error)}`)
  }
}

/** The session takes another message, its model is told a valid history, and the transcript is one. */
async function goesOn(world: World, { model, id, say, label }: Awaited<ReturnType<typeof begin>>): Promise<void> {
  await say(NEXT)
  await within(RUN_MS, `${label}: the next message`, runsEnded(world.url, id, 2, RUN_MS))
  const log = await logOf(world.url, id)
  world.lost.push(...wrongInLog(log).map((what) => `${label}, next message: ${what}`))
  if (nameOf(log.at(-1) as Shown) !== 'RunCompleted') world.lost.push(`${label}: the next message ended as ${JSON.stringify(log.at(-1))}`)
  const { messages } = await json<{ messages: { role: string; content: unknown }[] }>(`${world.url}/v1/sessions/${id}/messages?limit=1000`)
  world.lost.push(...wrongInTranscript(messages).map((what) => `${label}, transcript: ${what}`))
  if (model.wire === 'openai-compatible') world.lost.push(...wrongInRequest(model.next ?? '').map((what) => `${label}, history: ${what}`))
}

/** What a strict server would refuse: calls without answers, answers without calls, two calls of one id. */
function wrongInRequest(body: string): readonly string[] {
  const { messages } = JSON.parse(body) as {
    messages: { role: string; tool_calls?: { id: string; function: { arguments: unknown } }[]; tool_call_id?: string }[]
  }
  const wrong: string[] = []
  let open = new Set<string>()
  for (const { role, tool_calls = [], tool_call_id = '' } of messages) {
    if (role === 'tool' && !open.delete(tool_call_id)) wrong.push(`an answer to ${tool_call_id} without its call`)
    if (role !== 'tool' && open.size > 0) wrong.push(`no answer to ${[...open].join(', ')}`)
    if (role !== 'tool') open = new Set(tool_calls.map(({ id }) => id))
    if (open.size < tool_calls.length) wrong.push('two calls of one id')
    for (const call of tool_calls) JSON.parse(String(call.function.arguments))
  }
  return wrong
}
