/** The floor of a first token: bare `http`; GET opens an event stream, POST writes one frame to it and answers. */
import { createServer, type ServerResponse } from 'node:http'
import { listen } from '../support/listen.ts'

let reader: ServerResponse | undefined
const server = createServer((request, response) => {
  if (request.method === 'GET') {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(': hello\n\n')
    reader = response
    return
  }
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    const body = JSON.parse(Buffer.concat(chunks).toString()) as { content: string }
    reader?.write(`id: 1\nevent: text_delta\ndata: ${JSON.stringify({ delta: body.content })}\n\n`)
    const answer = JSON.stringify({ ok: true })
    response.writeHead(200, { 'content-type': 'application/json', 'content-length': answer.length })
    response.end(answer)
  })
})
listen(server)
