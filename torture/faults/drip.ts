/** A model that speaks slowly: `drip N MS` in the last message asks for N words, one every MS. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { ConfigInput } from '../../src/config-schema.ts'

/** Words where nothing else was asked for. */
const WORDS = 5

/** The model. */
export interface DripModel {
  /** What a server's configuration needs to use it. */
  readonly config: ConfigInput
  close(): Promise<void>
}

/** Starts it. */
export async function startDripModel(): Promise<DripModel> {
  const chunk = (delta: object, finish: string | null = null) =>
    `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 0, model: 'm', choices: [{ index: 0, delta, finish_reason: finish }] })}\n\n`
  const server = createServer((request, response) => {
    let body = ''
    request.setEncoding('utf8').on('data', (text: string) => (body += text))
    response.on('error', () => undefined)
    request.on('end', () => {
      const { messages } = JSON.parse(body) as { messages: readonly { readonly role: string; readonly content: unknown }[] }
      const last = JSON.stringify(messages.findLast(({ role }) => role === 'user')?.content)
      const [, words = String(WORDS), everyMs = '0', chars = '6'] = /drip (\d+) (\d+)(?: (\d+))?/.exec(last) ?? []
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      let said = 0
      const more = () => {
        if (response.destroyed) return
        if (said >= Number(words)) return void response.end(`${chunk({}, 'stop')}data: [DONE]\n\n`)
        response.write(chunk({ content: `${said++} `.padEnd(Number(chars), 'w') }))
        if (Number(everyMs) === 0) setImmediate(more)
        else setTimeout(more, Number(everyMs))
      }
      more()
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const baseURL = `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`
  return {
    config: { providers: { drip: { kind: 'openai-compatible', baseURL } }, models: { default: 'drip/m', discover: false } },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
