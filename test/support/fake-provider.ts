/** A scripted model provider on a free port of this machine: it records what it is asked and answers what it was told to. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { eventsOf, type FakeAnswer, type FakeWire } from './fake-wire.ts'

/** A request as it came. */
export interface FakeRequest {
  readonly method: string
  readonly path: string
  readonly headers: IncomingMessage['headers']
  // A test looks into bodies of any shape.
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly json: any
  /** Resolves when the connection's answer is over, however: sent whole, cut, or given up by the asker. */
  readonly closed: Promise<void>
}

/** How one request is answered. */
export type FakeReply = (response: ServerResponse) => void

/** The provider. */
export interface FakeProvider {
  /** Without a path. */
  readonly url: string
  /** All requests, in the order in which they came. */
  readonly requests: readonly FakeRequest[]
  /** Queues answers; a request beyond them is answered 500. */
  script(...replies: readonly FakeReply[]): void
  /** The next request that nobody has taken yet. */
  next(): Promise<FakeRequest>
  close(): Promise<void>
}

/** Starts a provider. */
export async function startFakeProvider(): Promise<FakeProvider> {
  const replies: FakeReply[] = []
  const requests: FakeRequest[] = []
  const waiting: ((request: FakeRequest) => void)[] = []
  let taken = 0
  const server = createServer((message, response) => {
    const closed = new Promise<void>((resolve) => response.once('close', resolve))
    let text = ''
    message.setEncoding('utf8')
    message.on('data', (chunk: string) => (text += chunk))
    message.on('end', () => {
      const request = {
        method: message.method ?? '',
        path: message.url ?? '',
        headers: message.headers,
        json: text === '' ? undefined : JSON.parse(text),
        closed,
      }
      requests.push(request)
      const reply = replies.shift() ?? refuse(500, 'no answer was scripted')
      reply(response)
      if (waiting.length > 0) waiting.shift()?.(requests[taken++] as FakeRequest)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests,
    script: (...more) => void replies.push(...more),
    next: () => (taken < requests.length ? Promise.resolve(requests[taken++] as FakeRequest) : new Promise((resolve) => waiting.push(resolve))),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

/** The events of a whole answer, then the end. */
export function say(wire: FakeWire, answer: FakeAnswer): FakeReply {
  return stream(eventsOf(wire, answer))
}

/** Only the first `count` events of an answer; then the connection is cut, ended in good order, or left open in silence. */
export function sayOnly(count: number, wire: FakeWire, answer: FakeAnswer, then: 'cut' | 'end' | 'silence'): FakeReply {
  return stream(eventsOf(wire, answer).slice(0, count), then)
}

/** Events of any shape; a string goes as it is, as the data of one event. */
export function stream(events: readonly (object | string)[], then: 'cut' | 'end' | 'silence' = 'end'): FakeReply {
  return (response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    const text = events.map(frameOf).join('')
    // The cut comes after the bytes are out: a destroyed socket drops what it still holds.
    if (then === 'cut') response.write(text || ': nothing\n\n', () => response.socket?.resetAndDestroy())
    else if (then === 'silence') response.write(text || ': nothing\n\n')
    else response.end(text)
  }
}

/** An answer that is not a stream: an error with a body of the given shape, or any page. */
export function refuse(status: number, body: object | string = {}, headers: Readonly<Record<string, string>> = {}): FakeReply {
  return (response) => {
    const isText = typeof body === 'string'
    response.writeHead(status, { 'content-type': isText ? 'text/plain' : 'application/json', ...headers })
    response.end(isText ? body : JSON.stringify(body))
  }
}

/** Takes the request and never answers. */
export const silence: FakeReply = () => undefined

/** Resets the connection before an answer. */
export const hangUp: FakeReply = (response) => void response.socket?.resetAndDestroy()

/** The body of an error in a provider's own shape. */
export function errorBody(wire: FakeWire, message: string, type = 'some_error'): object {
  if (wire === 'anthropic') return { type: 'error', error: { type, message } }
  if (wire === 'google') return { error: { code: 400, message, status: type } }
  return { error: { message, type, param: null, code: type } }
}

/** All parts of a stream, or its throw. */
export async function gather<T>(stream: AsyncIterable<T>): Promise<readonly T[]> {
  const all: T[] = []
  for await (const item of stream) all.push(item)
  return all
}

function frameOf(event: object | string): string {
  const name = typeof event === 'object' && 'type' in event ? `event: ${String(event.type)}\n` : ''
  return `${name}data: ${typeof event === 'string' ? event : JSON.stringify(event)}\n\n`
}
