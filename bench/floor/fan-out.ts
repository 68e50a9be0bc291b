/**
 * The floor of fan-out: bare `http` that writes the same bytes to each reader.
 * GET opens a stream; POST takes the sizes of the pieces, writes each piece to all readers, one per turn of the loop, then an end.
 */
import { createServer, type ServerResponse } from 'node:http'
import { listen } from '../support/listen.ts'

const readers = new Set<ServerResponse>()
const server = createServer((request, response) => {
  if (request.method === 'GET') {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(': hello\n\n')
    readers.add(response)
    response.on('close', () => readers.delete(response))
    return
  }
  const chunks: Buffer[] = []
  request.on('data', (chunk: Buffer) => chunks.push(chunk))
  request.on('end', () => {
    const sizes = JSON.parse(Buffer.concat(chunks).toString()) as number[]
    response.end('{}')
    const pieces = sizes.map((size) => Buffer.alloc(size, 'x'))
    pieces.push(Buffer.from('run_completed'))
    const next = () => {
      const piece = pieces.shift()
      if (piece === undefined) return
      for (const reader of readers) reader.write(piece)
      setImmediate(next)
    }
    next()
  })
})
listen(server)
