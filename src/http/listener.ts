/** One address that the server accepts connections on. */
import { getRequestListener } from '@hono/node-server'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { NodeBindings } from './app.ts'
import { ConvokeError } from '../domain/errors.ts'
import { problemOf } from './errors.ts'

/** Connections that one listener holds. */
export const CONNECTIONS_MAX = 20_000
/** Bytes of a request's head. */
export const HEADER_BYTES_MAX = 16 * 1024
/** Header fields of one request. */
const HEADERS_MAX = 100
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
  readonly onUpgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void
}

/** An open listener. */
export interface Listener {
  readonly address: AddressInfo
  /** Accepts nothing more; waits for what is under way up to `graceMs`, then cuts it off. */
  close(graceMs: number): Promise<void>
}

/** Opens a listener. Resolves when requests can be answered; rejects with the system's error when the address cannot be had. */
export async function listen(options: ListenerOptions): Promise<Listener> {
  const handle = getRequestListener((request, env) => options.fetch(request, env as NodeBindings), { overrideGlobalObjects: false })
  const server = createServer(
    { maxHeaderSize: HEADER_BYTES_MAX, headersTimeout: HEADERS_MS, requestTimeout: options.requestMs, keepAliveTimeout: IDLE_MS },
    (request, response) => void handle(request, response),
  )
  server.maxConnections = CONNECTIONS_MAX
  server.maxHeadersCount = HEADERS_MAX
  server.on('clientError', answerBroken)
  server.on('upgrade', options.onUpgrade)
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen({ host: options.host, port: options.port, backlog: 1024 }, () => {
      server.off('error', reject)
      resolve()
    })
  })
  return { address: server.address() as AddressInfo, close: (graceMs) => close(server, graceMs) }
}

function close(server: Server, graceMs: number): Promise<void> {
  return new Promise((resolve) => {
    const cut = setTimeout(() => server.closeAllConnections(), graceMs)
    server.close(() => {
      clearTimeout(cut)
      resolve()
    })
    server.closeIdleConnections()
  })
}

/** Answers a request that is no HTTP, or too large, in the house's shape, and closes. */
function answerBroken(error: NodeJS.ErrnoException, socket: Socket | Duplex): void {
  if (!socket.writable || error.code === 'ECONNRESET') {
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

/** An answer for a connection that has no response object: broken requests and refused upgrades. */
export function rawAnswer(error: unknown, requestId = 'req_unknown', path = '/'): string {
  const { status, body, headers } = problemOf(error, { requestId, path })
  const lines = Object.entries({ ...headers, 'content-length': String(Buffer.byteLength(body)), connection: 'close' })
  return `HTTP/1.1 ${status} ${status === 431 ? 'Request Header Fields Too Large' : 'Error'}\r\n${lines.map(([name, value]) => `${name}: ${value}`).join('\r\n')}\r\n\r\n${body}`
}
