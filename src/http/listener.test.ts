import { Agent, createServer, request } from 'node:http'
import { connect } from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'
import { ConvokeError } from '../domain/errors.ts'
import { listen, rawAnswer, type Listener, type ListenerOptions } from './listener.ts'

/** A listener whose answers wait until they are let go. */
async function held(options: Partial<ListenerOptions> = {}) {
  let letGo: () => void = () => undefined
  const held = new Promise<void>((resolve) => (letGo = resolve))
  let asked: () => void = () => undefined
  const arrived = new Promise<void>((resolve) => (asked = resolve))
  const listener = await listen({
    host: '127.0.0.1',
    port: 0,
    requestMs: 30_000,
    onUpgrade: (_request, socket) => void socket.write('HTTP/1.1 101 Switching Protocols\r\n\r\n'),
    async fetch(asking) {
      if (new URL(asking.url).pathname !== '/held') return new Response('now')
      asked()
      await held
      return new Response('later')
    },
    ...options,
  })
  onTestFinished(() => listener.close(0))
  return { listener, letGo, arrived }
}
const agent = () => {
  const made = new Agent({ keepAlive: true })
  onTestFinished(() => made.destroy())
  return made
}

/** Asks for a path; resolves with body and `Connection`, rejects when it is cut off. */
function ask({ address }: Listener, path: string, options: { readonly agent?: Agent } = {}): Promise<{ body: string; connection: string | undefined }> {
  return new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port: address.port, path, ...options })
    sent.on('error', reject)
    sent.on('response', (response) => {
      let body = ''
      response.setEncoding('utf8').on('data', (chunk: string) => (body += chunk))
      response.on('end', () => resolve({ body, connection: response.headers.connection }))
      response.on('error', reject)
    })
    sent.end()
  })
}

describe('a listener that is closed', () => {
  test('finishes what is under way, and takes nothing new', async () => {
    const { listener, letGo, arrived } = await held()
    const answer = ask(listener, '/held')
    await arrived
    const closed = listener.close(30_000)
    await expect(ask(listener, '/')).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    letGo()
    expect((await answer).body).toBe('later')
    await closed
  })

  test('cuts off what takes longer than its grace', async () => {
    const { listener, arrived } = await held()
    const answer = ask(listener, '/held').catch((error: unknown) => error)
    await arrived
    await listener.close(0)
    expect(await answer).toMatchObject({ code: 'ECONNRESET' })
  })

  test('does not wait for connections that only stay open', async () => {
    const { listener } = await held()
    const kept = agent()
    expect(await ask(listener, '/', { agent: kept })).toEqual({ body: 'now', connection: 'keep-alive' })
    await listener.close(30_000)
  })

  test('does not wait for a connection that becomes idle while it closes', async () => {
    const { listener, letGo, arrived } = await held()
    const answer = ask(listener, '/held', { agent: agent() })
    await arrived
    const closed = listener.close(30_000)
    letGo()
    await answer
    await closed
  })

  test('cuts off sockets that left HTTP when its grace is over', async () => {
    const { listener } = await held()
    const socket = connect({ host: '127.0.0.1', port: listener.address.port })
    socket.on('error', () => undefined)
    socket.write('GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\r\n')
    await new Promise((resolve) => socket.once('data', resolve))
    const over = new Promise((resolve) => socket.once('close', resolve))
    await listener.close(0)
    await over
  })
})

test('a taken port is the caller’s to know', async () => {
  const other = createServer()
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void other.close())
  const { port } = other.address() as { port: number }
  await expect(held({ port })).rejects.toMatchObject({ code: 'EADDRINUSE' })
})

test('whatever an application throws is answered, and closes the connection', async () => {
  const { listener } = await held({ fetch: () => Promise.reject(new Error('secret')) })
  const { body, connection } = await ask(listener, '/')
  expect([JSON.parse(body).code, connection, body.includes('secret')]).toEqual(['invalid_request', 'close', false])
})

test('an answer without a response object is whole: line, headers, length in bytes, body', () => {
  const text = rawAnswer(new ConvokeError('not_found', 'nobody: ü€😀'), 'req-1', '/v1/x')
  const [head = '', body = ''] = text.split('\r\n\r\n')
  expect(head.split('\r\n')).toEqual([
    'HTTP/1.1 404 Not Found',
    'content-type: application/problem+json',
    'x-request-id: req-1',
    'cache-control: no-store',
    `content-length: ${Buffer.byteLength(body)}`,
    'connection: close',
  ])
  expect(JSON.parse(body)).toMatchObject({ code: 'not_found', instance: '/v1/x', request_id: 'req-1', error: 'nobody: ü€😀' })
})

test('a connection that never asked for anything does not hold a close up', async () => {
  const { listener } = await held()
  const socket = connect(listener.address.port, '127.0.0.1')
  onTestFinished(() => void socket.destroy())
  await new Promise<void>((resolve) => socket.once('connect', resolve))
  // The server has seen it once it has answered somebody who came later.
  await ask(listener, '/')
  const gone = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  await listener.close(60_000)
  await gone
})
