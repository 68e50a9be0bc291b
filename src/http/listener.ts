/**
 * One address that the server accepts connections on.
 *
 * Whatever comes in is answered in the house's shape, also what never becomes a request: broken HTTP, heads that are too large,
 * methods and expectations that nobody serves. Nothing that arrives here may throw out of an event (P13).
 */
import { getRequestListener } from '@hono/node-server'
import { createServer, STATUS_CODES, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Duplex } from 'node:stream'
import type { NodeBindings } from './app.ts'
import { ConvokeError } from '../domain/errors.ts'
import { problemOf } from './errors.ts'
import { requestIdOf } from './request-id.ts'

/** Connections that one listener holds. */
export const CONNECTIONS_MAX = 20_000
/** Bytes of a request's head. */
export const HEADER_BYTES_MAX = 16 * 1024
/** Time for a request's head to arrive, in ms. */
const HEADERS_MS = 15_000
/** How long an idle connection is kept, in ms. */
const IDLE_MS = 65_000

/** What a listener serves. */
export interface ListenerOptions {
  readonly host: string
  readonly port: number
  readonly fetch: (request: Request, env: NodeBindings) => Response | Promise<Response>
  /** Time for a whole request to arrive, in ms. */
  readonly requestMs: number
  /** Gets requests that ask for a WebSocket, and only those. Must not throw. */
  readonly onUpgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void
}

/** An open listener. */
export interface Listener {
  readonly address: AddressInfo
  /** Accepts nothing more; waits for what is under way up to `graceMs`, then cuts it off. */
  close(graceMs: number): Promise<void>
  /** Cuts off what is still open. */
  cut(): void
}

/** Opens a listener. Resolves when requests can be answered; rejects with the system's error when the address cannot be had. */
export async function listen(options: ListenerOptions): Promise<Listener> {
  const server = createServer({
    maxHeaderSize: HEADER_BYTES_MAX,
    headersTimeout: Math.min(HEADERS_MS, options.requestMs),
    requestTimeout: options.requestMs,
    keepAliveTimeout: IDLE_MS,
    // A missing Host is answered by us, in our shape.
    requireHostHeader: false,
    // Other upgrades (`h2c`, which Java's client offers by default) may be ignored (RFC 9110, 7.8), and are.
    shouldUpgradeCallback: (request) => request.headers.upgrade?.toLowerCase() === 'websocket',
  })
  server.maxConnections = CONNECTIONS_MAX
  // The head is bounded in bytes; a bound in fields would drop fields without a word.
  server.maxHeadersCount = 0
  const connections = serve(server, options)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host: options.host, port: options.port, backlog: 1024 }, () => {
      server.off('error', reject)
      resolve()
    })
  })
  return { address: server.address() as AddressInfo, close: (graceMs) => close(server, connections, graceMs), cut: () => cut(server, connections) }
}

/** What a listener knows of its connections. */
interface Connections {
  closing: boolean
  /** The answer that a connection gives or gave last. */
  readonly answers: WeakMap<Duplex, ServerResponse>
  readonly open: Set<Duplex>
  /** Sockets that left HTTP: the server does not close those by itself. */
  readonly upgraded: Set<Duplex>
}

function serve(server: Server, options: ListenerOptions): Connections {
  const connections: Connections = { closing: false, answers: new WeakMap(), open: new Set(), upgraded: new Set() }
  const handle = getRequestListener((request, env) => options.fetch(request, env as NodeBindings), {
    overrideGlobalObjects: false,
    errorHandler: () => problemResponse(new ConvokeError('invalid_request', 'the request needs a valid Host and a valid target')),
  })
  server.on('connection', (socket) => {
    connections.open.add(socket)
    socket.once('close', () => connections.open.delete(socket))
  })
  server.on('request', (request, response) => {
    connections.answers.set(request.socket, response)
    if (connections.closing) response.setHeader('connection', 'close')
    response.once('close', () => {
      if (connections.closing) server.closeIdleConnections()
    })
    void handle(request, response)
  })
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => answerBroken(error, socket, connections))
  server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
    const { status, body, headers } = problemOf(new ConvokeError('invalid_request', 'this expectation cannot be met'), placeOf(request))
    response.writeHead(status, { ...headers, connection: 'close' }).end(body)
  })
  server.on('connect', (request, socket) => {
    socket.on('error', () => socket.destroy())
    const { requestId } = placeOf(request)
    socket.end(rawAnswer(new ConvokeError('method_not_allowed', 'this server is no proxy'), requestId))
  })
  server.on('upgrade', (request, socket, head) => {
    connections.upgraded.add(socket)
    socket.once('close', () => connections.upgraded.delete(socket))
    options.onUpgrade(request, socket, head)
  })
  return connections
}

function close(server: Server, connections: Connections, graceMs: number): Promise<void> {
  connections.closing = true
  return new Promise((resolve) => {
    const late = setTimeout(() => cut(server, connections), graceMs)
    server.close(() => {
      clearTimeout(late)
      resolve()
    })
    server.closeIdleConnections()
    // Browsers open connections ahead of need. To Node one without a request is not idle.
    for (const socket of connections.open) if (!connections.answers.has(socket) && !connections.upgraded.has(socket)) socket.destroy()
  })
}

function cut(server: Server, connections: Connections): void {
  server.closeAllConnections()
  for (const socket of connections.upgraded) socket.destroy()
}

/** Answers a request that is no HTTP, or too large, in the house's shape, and closes. */
function answerBroken(error: NodeJS.ErrnoException, socket: Duplex, connections: Connections): void {
  const answer = connections.answers.get(socket)
  // Behind the head of an answer another head would be read as its body.
  const begun = answer !== undefined && answer.headersSent && !answer.writableFinished
  if (!socket.writable || error.code === 'ECONNRESET' || begun) {
    socket.destroy()
    return
  }
  socket.end(rawAnswer(brokenProblem(error)))
}

function brokenProblem(error: NodeJS.ErrnoException): ConvokeError {
  if (error.code === 'HPE_HEADER_OVERFLOW') return new ConvokeError('headers_too_large', `the request's head may have at most ${HEADER_BYTES_MAX} bytes`)
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT') return new ConvokeError('request_timeout', 'the request did not arrive in time')
  return new ConvokeError('invalid_request', 'this is not a valid HTTP request')
}

function placeOf(request: IncomingMessage): { readonly requestId: string; readonly path: string } {
  return { requestId: requestIdOf(request.headers['x-request-id']) ?? 'req_unknown', path: request.url ?? '/' }
}

function problemResponse(error: ConvokeError): Response {
  const { status, body, headers } = problemOf(error, { requestId: 'req_unknown', path: '/' })
  return new Response(body, { status, headers: { ...headers, connection: 'close' } })
}

/** An answer for a connection that has no response object: broken requests and refused upgrades. */
export function rawAnswer(error: unknown, requestId = 'req_unknown', path = '/'): string {
  const { status, body, headers } = problemOf(error, { requestId, path })
  const lines = Object.entries({ ...headers, 'content-length': String(Buffer.byteLength(body)), connection: 'close' })
  return `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Error'}\r\n${lines.map(([name, value]) => `${name}: ${value}`).join('\r\n')}\r\n\r\n${body}`
}
