/** A peer that speaks bytes, for what no HTTP client would send. */
import { connect, type Socket } from 'node:net'
import { afterEach, expect } from 'vitest'
import { arrivals } from './arrivals.ts'
import { ask } from './http.ts'

/** One TCP connection. */
export interface RawPeer {
  readonly socket: Socket
  /** All that came so far. */
  readonly text: string
  /** Sends bytes; a peer that the server has cut off hears nothing of it. */
  send(bytes: string | Uint8Array): void
  /** Resolves with all that came as soon as `found` holds of it, or when the connection is over. */
  until(found: (text: string) => boolean): Promise<string>
  /** Resolves with all that came when the server has ended the connection. */
  readonly ended: Promise<string>
}

/** Connects to the server at `url`. */
export async function connectRaw(url: string): Promise<RawPeer> {
  const { hostname, port } = new URL(url)
  const socket = connect({ host: hostname, port: Number(port) })
  await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject))
  let text = ''
  let over = false
  const { wake, next } = arrivals()
  socket.setEncoding('utf8')
  socket.on('data', (chunk: string) => {
    text += chunk
    wake()
  })
  // A reset is one way for the server to say no: `close` follows.
  socket.on('error', () => undefined)
  const ended = new Promise<string>((resolve) =>
    socket.once('close', () => {
      over = true
      wake()
      resolve(text)
    }),
  )
  return {
    socket,
    get text() {
      return text
    },
    send: (bytes) => void (socket.writable && socket.write(bytes)),
    async until(found) {
      while (!over && !found(text)) await next()
      return text
    },
    ended,
  }
}

/** One answer as it came over the wire. */
export interface RawAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** The answers in `text`, one after the other; chunked bodies put together. What is cut off at the end is left out. */
export function answersIn(text: string): readonly RawAnswer[] {
  const answers: RawAnswer[] = []
  let rest = text
  for (;;) {
    const end = rest.indexOf('\r\n\r\n')
    if (end === -1) return answers
    const [line = '', ...lines] = rest.slice(0, end).split('\r\n')
    const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(line)?.[1])
    const headers = Object.fromEntries(
      lines.map((header) => [header.slice(0, header.indexOf(':')).toLowerCase(), header.slice(header.indexOf(':') + 1).trim()]),
    )
    const taken = bodyOf(rest.slice(end + 4), status, headers)
    if (taken === undefined) return answers
    answers.push({ status, headers, body: taken.body })
    rest = taken.rest
  }
}

function bodyOf(text: string, status: number, headers: Readonly<Record<string, string>>): { readonly body: string; readonly rest: string } | undefined {
  if (status < 200 || status === 204 || status === 304) return { body: '', rest: text }
  if (headers['transfer-encoding'] === 'chunked') return chunksOf(text)
  const length = headers['content-length']
  // Without a length the end of the connection is the end of the body.
  if (length === undefined) return { body: text, rest: '' }
  const bytes = Buffer.from(text)
  if (bytes.length < Number(length)) return undefined
  return { body: bytes.subarray(0, Number(length)).toString(), rest: bytes.subarray(Number(length)).toString() }
}

function chunksOf(text: string): { readonly body: string; readonly rest: string } | undefined {
  let bytes = Buffer.from(text)
  let body = ''
  for (;;) {
    const line = bytes.indexOf('\r\n')
    if (line === -1) return undefined
    const size = Number.parseInt(bytes.subarray(0, line).toString(), 16)
    if (bytes.length < line + 4 + size) return undefined
    body += bytes.subarray(line + 2, line + 2 + size).toString()
    bytes = bytes.subarray(line + 4 + size)
    if (size === 0) return { body, rest: bytes.toString() }
  }
}

/** Connections to one surface for a file of tests: closed after each, and the server must be alive then. */
export function rawPeers(url: () => string): () => Promise<RawPeer> {
  const peers: RawPeer[] = []
  afterEach(async () => {
    for (const { socket } of peers.splice(0)) socket.destroy()
    expect((await ask(url(), 'GET', '/v1/health')).status).toBe(200)
  })
  return async () => {
    const made = await connectRaw(url())
    peers.push(made)
    return made
  }
}
