/** The floor of the whole road: a bare `http` server that only forwards a provider's `doStream` as server-sent events. Argument: the provider's address. */
import { createServer } from 'node:http'
import { createOpenAICompatible } from '@ai-sdk/openai-compatible'
import { listen } from '../support/listen.ts'

const provider = createOpenAICompatible({ name: 'scripted', baseURL: `${process.argv[2]}/v1`, includeUsage: true, apiKey: 'none' })
const model = provider.languageModel('m')

const server = createServer((request, response) => {
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => void answer(Buffer.concat(chunks).toString()))

  async function answer(body: string): Promise<void> {
    const { content } = JSON.parse(body) as { content: string }
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const { stream } = await model.doStream({ prompt: [{ role: 'user', content: [{ type: 'text', text: content }] }] })
    // What arrives in one turn of the loop leaves in one write, as a good server does.
    let waiting = ''
    const flush = () => {
      response.write(waiting)
      waiting = ''
    }
    let id = 0
    for await (const part of stream) {
      if (part.type !== 'text-delta') continue
      if (waiting === '') setImmediate(flush)
      waiting += `id: ${++id}\nevent: text_delta\ndata: ${JSON.stringify({ delta: part.delta })}\n\n`
    }
    response.end(`${waiting}event: run_completed\ndata: {}\n\n`)
    waiting = ''
  }
})
listen(server)
