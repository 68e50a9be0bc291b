/**
 * A provider of models in this process: it does what the last message of a request says (`script.ts`), at a pace, and looks at each
 * request as a strict provider would.
 */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { eventsOf } from '../../test/support/fake-wire.ts'
import type { FakeBlock } from '../../test/support/fake-wire.ts'
import { judgePrompt, textOfPrompt, type PromptMessage } from './prompt-check.ts'
import { scriptIn, type Script, type ScriptCall, type ScriptTurn } from './script.ts'

/** The model's name in a configuration that has this provider as `scripted`. */
export const SCRIPTED_MODEL = 'scripted/actor'
/** Complaints that are kept; more of the same say nothing new. */
const FOUND_MAX = 50

/** The provider. */
export interface ScriptedProvider {
  /** For a configuration's `baseURL`. */
  readonly url: string
  readonly requests: number
  /** Answers whose asker was gone before they ended. */
  readonly cutOff: number
  /** What was wrong with requests. */
  readonly found: readonly string[]
  /** The result that the model was shown of each call. */
  readonly results: ReadonlyMap<string, string>
  close(): Promise<void>
}

/** Starts a provider that takes `paceMs` for each word. */
export async function startScriptedProvider(paceMs: number): Promise<ScriptedProvider> {
  const state = {
    requests: 0,
    cutOff: 0,
    found: [] as string[],
    results: new Map<string, string>(),
    answers: new Map<string, number>(),
    tries: new Map<string, number>(),
  }
  const server = createServer((message, response) => {
    void bodyOf(message).then((messages) => answer(response, messages))
  })
  const complain = (key: string, what: string) => {
    if (state.found.length < FOUND_MAX) state.found.push(`P5: the model was asked with a history that is not valid (${key}): ${what}`)
  }
  const answer = async (response: ServerResponse, messages: readonly PromptMessage[]) => {
    state.requests++
    const { script, answers } = placeOf(messages)
    for (const what of judgePrompt(messages)) complain(script.key, what)
    if (answers < (state.answers.get(script.key) ?? 0)) complain(script.key, `its answer ${answers + 1} was asked for again after the next one`)
    state.answers.set(script.key, answers)
    rememberResults(messages, state.results, (what) => complain(script.key, what))
    const turn = script.turns[answers] ?? { words: 2, calls: [] }
    const name = `${script.key}_${answers}`
    const tries = (state.tries.get(name) ?? 0) + 1
    state.tries.set(name, tries)
    response.once('close', () => void (state.cutOff += response.writableFinished ? 0 : 1))
    if (turn.flaky === true && tries === 1) return void response.writeHead(503, { 'retry-after': '0' }).end('{"error":{"message":"busy"}}')
    await stream(response, turn, `${name}_${tries}`, paceMs)
  }
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    get requests() {
      return state.requests
    },
    get cutOff() {
      return state.cutOff
    },
    found: state.found,
    results: state.results,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function bodyOf(message: IncomingMessage): Promise<readonly PromptMessage[]> {
  let text = ''
  for await (const chunk of message.setEncoding('utf8')) text += chunk as string
  return (JSON.parse(text) as { messages: readonly PromptMessage[] }).messages
}

/** The last script, and how many answers stand behind it. */
function placeOf(messages: readonly PromptMessage[]): { readonly script: Script; readonly answers: number } {
  for (let index = messages.length - 1; index >= 0; index--) {
    const message = messages[index] as PromptMessage
    const script = message.role === 'user' ? scriptIn(textOfPrompt(message)) : undefined
    if (script !== undefined) return { script, answers: messages.slice(index).filter(({ role }) => role === 'assistant').length }
  }
  return { script: { key: 'none', turns: [] }, answers: 0 }
}

/** A result, once shown to the model, is never another one. */
function rememberResults(messages: readonly PromptMessage[], results: Map<string, string>, complain: (what: string) => void): void {
  for (const message of messages) {
    if (message.role !== 'tool') continue
    const id = message.tool_call_id ?? ''
    const text = textOfPrompt(message)
    const before = results.get(id)
    if (before !== undefined && before !== text) complain(`the result of ${id} was ${JSON.stringify(before)} and is ${JSON.stringify(text)}`)
    results.set(id, text)
  }
}

async function stream(response: ServerResponse, turn: ScriptTurn, name: string, paceMs: number): Promise<void> {
  const words: FakeBlock = { text: Array.from({ length: turn.words }, (_, index) => `${name}.${index} `) }
  const calls = turn.calls.map((call, index): FakeBlock => blockOf(call, `${name}_${index}`))
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  for (const event of eventsOf('openai-compatible', { blocks: [words, ...calls] })) {
    if (response.destroyed) return
    response.write(`data: ${JSON.stringify(event)}\n\n`)
    await new Promise((resolve) => setTimeout(resolve, paceMs))
  }
  response.end('data: [DONE]\n\n')
}

function blockOf({ tool, args, raw }: ScriptCall, id: string): FakeBlock {
  const text = (raw ?? JSON.stringify(args)).replaceAll('CALL', id)
  const middle = text.length >> 1
  return { call: id, name: tool, input: [text.slice(0, middle), text.slice(middle)] }
}
