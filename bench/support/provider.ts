/**
 * A scripted model behind HTTP: speaks the streaming form of OpenAI's chat completions, answers every request with the same tokens.
 * A process of its own. Arguments: tokens per answer.
 */
import { createServer } from 'node:http'
import { listen } from './listen.ts'

const tokens = Number(process.argv[2] ?? 100)
const chunk = (delta: object, finish: string | null, extra = {}) =>
  `data: ${JSON.stringify({ id: 'c', object: 'chat.completion.chunk', created: 0, model: 'm', choices: [{ index: 0, delta, finish_reason: finish }], ...extra })}\n\n`
const head = chunk({ role: 'assistant', content: '' }, null)
const word = chunk({ content: 'token ' }, null)
const tail = chunk({}, 'stop', { usage: { prompt_tokens: 10, completion_tokens: tokens, total_tokens: tokens + 10 } }) + 'data: [DONE]\n\n'
/** Tokens that leave in one write: one, as providers send them. */
const TOKENS_PER_WRITE = 1
const burst = Buffer.from(word.repeat(TOKENS_PER_WRITE))

const server = createServer((request, response) => {
  request.resume()
  request.on('end', () => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(head)
    let left = tokens
    const more = () => {
      if (left <= 0) return response.end(tail)
      left -= TOKENS_PER_WRITE
      response.write(burst)
      setImmediate(more)
    }
    more()
  })
})
listen(server)
