/** Sends commands to a server that dies again and again, and notes what was answered. */
import { randomUUID } from 'node:crypto'
import { ConvokeClientError, createClient, type Client, type Decisions, type MessageOptions } from '../../src/client/index.ts'
import type { CommandOutcome, SentCommand } from './judge-commands.ts'
import { eagerTimer, movingFetch, type ReaderWorld } from './readers.ts'
import { openSocket } from '../../test/support/socket.ts'
import { textOf, type Script } from './script.ts'
import { elapsed } from './wait.ts'

/** Refusals that follow from what somebody else did meanwhile. */
const EXPECTED = new Set(['session_already_running', 'session_not_running', 'run_mismatch', 'decision_conflict', 'tool_call_not_found', 'queue_full'])
/** How long a keyed command is sent again and again, in ms, and the pause between. */
const KEYED_MS = 60_000
const KEYED_PAUSE_MS = 40

/** How a message is sent: by the typed client, twice at once under one key and then again, or over a socket without a key. */
export type Via = 'client' | 'twins' | 'socket'

/** Sends and notes. */
export interface Commander {
  readonly client: Client
  readonly sent: readonly SentCommand[]
  /** What was answered that must not be. */
  readonly found: readonly string[]
  /** Answers to repeated keys: their effect was there before. */
  readonly replayed: number
  /** Resolves whether the message was acknowledged, with the position of the answer. */
  message(session: string, script: Script, via: Via, whenBusy: MessageOptions['when_busy']): Promise<number | undefined>
  decide(session: string, runId: string, call: string, action: Decisions['decisions'][string]['action']): Promise<CommandOutcome>
  cancel(session: string, runId: string): Promise<CommandOutcome>
  rename(session: string, title: string): Promise<CommandOutcome>
}

/** How to send. */
export interface CommanderOptions {
  /** Gives everything up. */
  readonly signal?: AbortSignal
  /** Come back after a fraction of the usual pauses: for servers that live for a moment. */
  readonly eager?: boolean
}

/** A commander of the server of `world`. */
export function createCommander(world: ReaderWorld, { signal, eager = false }: CommanderOptions = {}): Commander {
  const sent: SentCommand[] = []
  const found: string[] = []
  const state = { replayed: 0 }
  const see = (response: Response) => void (state.replayed += response.headers.get('idempotency-replayed') === 'true' ? 1 : 0)
  const fetch = movingFetch(world, see)
  const client = createClient({ url: 'http://server', fetch, signal, ...(eager ? { after: eagerTimer } : {}) })
  /** The outcome of a command, and its answer if there was one. */
  const settle = async <T>(work: Promise<T>): Promise<{ readonly outcome: CommandOutcome; readonly answer?: T }> => {
    try {
      return { outcome: 'acknowledged', answer: await work }
    } catch (error) {
      if (!(error instanceof ConvokeClientError)) throw error
      if (error.status === 0 || error.status === 503) return { outcome: 'unknown' }
      if (!EXPECTED.has(error.code)) found.push(`P13: a command was answered ${error.status} ${error.code}: ${error.message}`)
      return { outcome: error.status >= 500 ? 'unknown' : 'refused' }
    }
  }
  const commander: Commander = {
    client,
    sent,
    found,
    get replayed() {
      return state.replayed
    },
    async message(session, script, via, whenBusy) {
      const body = { message: { role: 'user', content: textOf(script) } as const, ...(whenBusy == null ? {} : { when_busy: whenBusy }) }
      const send = {
        client: () => client.sendMessage(session, body.message, body),
        twins: () => twins(session, body),
        socket: () => overSocket(world, session, body),
      }
      const { outcome, answer } = await settle<{ message_id?: string; run_id?: string; position: number }>(send[via]())
      // A socket's acknowledgement names no ids.
      const ids = answer?.message_id === undefined ? {} : { messageId: answer.message_id, runId: answer.run_id }
      sent.push({ kind: 'message', session, key: script.key, outcome, position: answer?.position, ...ids })
      return answer?.position
    },
    async decide(session, runId, call, action) {
      const content = action === 'custom_result' ? { content: `a person answered ${call}` } : {}
      const { outcome, answer } = await settle(client.decide(session, runId, { [call]: { action, ...content } }))
      sent.push({ kind: 'decision', session, call, action, outcome, position: answer?.position })
      return outcome
    },
    async cancel(session, runId) {
      const { outcome, answer } = await settle(client.cancel(session, runId))
      sent.push({ kind: 'cancel', session, runId, outcome, position: answer?.position })
      return outcome
    },
    async rename(session, title) {
      const { outcome, answer } = await settle(client.updateSession(session, { title }))
      sent.push({ kind: 'rename', session, title, outcome, position: answer?.position })
      return outcome
    },
  }
  /** The same command under one key, twice at once and then once more: one effect, one answer. */
  const twins = async (session: string, body: object) => {
    const headers = { 'content-type': 'application/json', 'idempotency-key': randomUUID() }
    const send = () => keyed(fetch, `/v1/sessions/${session}/messages`, { method: 'POST', headers, body: JSON.stringify(body) }, signal)
    const both = await Promise.all([send(), send()])
    const answers = [...both, ...(both[0].status === 200 ? [await send()] : [])]
    const [first] = answers as [KeyedAnswer]
    for (const [index, answer] of answers.entries()) {
      const same = answer.json['message_id'] === first.json['message_id'] && answer.json['run_id'] === first.json['run_id']
      // Of a refused twin nothing is remembered: the second may be refused for another reason, or accepted.
      if (first.status === 200 && (!same || answer.status !== 200)) found.push(`P7: session ${session}: one key was answered ${first.text} and ${answer.text}`)
      if (index === 2 && !answer.replayed) found.push(`P7: session ${session}: a repeat was answered as new: ${answer.text}`)
    }
    const good = answers.find(({ status }) => status === 200)
    if (good !== undefined) return good.json as { message_id: string; run_id: string; position: number }
    throw new ConvokeClientError({ code: String(first.json['code']), message: first.text, status: first.status })
  }
  return commander
}

interface KeyedAnswer {
  readonly status: number
  readonly text: string
  readonly json: Readonly<Record<string, unknown>>
  readonly replayed: boolean
}

/** Sends until something is answered that waiting does not change. */
async function keyed(fetch: typeof globalThis.fetch, path: string, init: RequestInit, signal?: AbortSignal): Promise<KeyedAnswer> {
  const endMs = performance.now() + KEYED_MS
  for (;;) {
    try {
      const response = await fetch(`http://server${path}`, init)
      const text = await response.text()
      const replayed = response.headers.get('idempotency-replayed') === 'true'
      if (response.status !== 503) return { status: response.status, text, json: JSON.parse(text) as KeyedAnswer['json'], replayed }
    } catch {
      // Killed before or in its answer.
    }
    if (performance.now() > endMs || signal?.aborted === true) throw new ConvokeClientError({ code: 'unreachable', message: 'no answer came', status: 0 })
    await elapsed(KEYED_PAUSE_MS)
  }
}

/** Over a socket there are no keys: what was not acknowledged is not sent again. */
async function overSocket(world: ReaderWorld, session: string, body: object): Promise<{ readonly position: number }> {
  const lost = new ConvokeClientError({ code: 'unreachable', message: 'the socket closed', status: 0 })
  const socket = await openSocket(world.url, `/v1/sessions/${session}/ws`).catch(() => undefined)
  if (socket === undefined) throw lost
  try {
    const answer = (await socket.command({ type: 'message', ...body }).catch(() => undefined)) as
      | { readonly type: string; readonly position: number; readonly code?: string; readonly error?: string }
      | undefined
    if (answer === undefined) throw lost
    if (answer.type === 'ack') return { position: answer.position }
    throw new ConvokeClientError({ code: answer.code ?? '', message: answer.error ?? '', status: answer.code === 'shutting_down' ? 503 : 409 })
  } finally {
    socket.socket.terminate()
  }
}
