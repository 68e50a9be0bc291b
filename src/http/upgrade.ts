/** WebSocket upgrades: the same door as requests, before a socket exists. */
import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import type { WebSocket, WebSocketServer } from 'ws'
import type { Access } from '../access/keys.ts'
import type { Clock, Random } from '../domain/ports.ts'
import type { Principal } from '../domain/principal.ts'
import type { GuardOptions } from './guard.ts'
import { ConvokeError } from '../domain/errors.ts'
import { guardSocket } from './guard.ts'
import { rawAnswer } from './listener.ts'
import { newRequestId, requestIdOf } from './request-id.ts'

/** How often a socket is asked whether it is still there, in ms; two unanswered questions end it. */
export const PING_MS = 25_000

/** What to do with a socket once it is open. */
export type SocketHandler = (socket: WebSocket) => void

/** What the upgrader needs. */
export interface UpgradeOptions {
  readonly access: Access
  readonly guard: GuardOptions
  readonly clock: Clock
  readonly random: Random
  /** Bytes of one message from the client. */
  readonly bodyBytesMax: number
  /** The handler of a path for a principal. @throws {ConvokeError} what is to be answered instead */
  readonly open: (request: IncomingMessage, url: URL, principal: Principal) => Promise<SocketHandler>
}

/** Makes the listener for Node's `upgrade` event. It never throws: a refusal is an HTTP answer. */
export function createUpgrader(options: UpgradeOptions): (request: IncomingMessage, socket: Duplex, head: Buffer) => void {
  let server: Promise<WebSocketServer> | undefined
  const sockets = () => (server ??= openServer(options.bodyBytesMax))
  return (request, socket, head) => {
    // A peer that vanishes while it is being asked about is nobody's failure.
    socket.on('error', () => socket.destroy())
    upgrade(options, sockets, request, socket, head).catch((error: unknown) => {
      const requestId = requestIdOf(request.headers['x-request-id']) ?? newRequestId(options.random)
      socket.end(rawAnswer(error, requestId, request.url?.split('?')[0]))
    })
  }
}

async function openServer(bodyBytesMax: number): Promise<WebSocketServer> {
  const { WebSocketServer: Sockets } = await import('ws')
  // No subprotocol is spoken here. By default the first one asked for would be sent back, which may be somebody's key.
  const handleProtocols = () => false as const
  const server = new Sockets({ noServer: true, maxPayload: bodyBytesMax, perMessageDeflate: false, clientTracking: false, handleProtocols })
  server.on('wsClientError', (_error, broken) => broken.end(rawAnswer(new ConvokeError('invalid_request', 'this is not a valid websocket handshake'))))
  return server
}

async function upgrade(
  options: UpgradeOptions,
  sockets: () => Promise<WebSocketServer>,
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
): Promise<void> {
  const header = (name: string) => {
    const value = request.headers[name]
    return Array.isArray(value) ? value[0] : value
  }
  guardSocket(header, options.guard)
  const principal = await options.access.authenticate(header)
  const handler = await options.open(request, targetOf(request), principal)
  const server = await sockets()
  // While it was asked who this is, the peer may have gone.
  if (socket.destroyed) return
  server.handleUpgrade(request, socket, head, (open) => {
    keepAsking(open, options.clock)
    handler(open)
  })
}

/** @throws {ConvokeError} `invalid_request` for a target that is no path */
function targetOf(request: IncomingMessage): URL {
  try {
    return new URL(`http://server${request.url ?? '/'}`)
  } catch (error) {
    throw new ConvokeError('invalid_request', 'the target of this request is not valid', { cause: error })
  }
}

function keepAsking(socket: WebSocket, clock: Clock): void {
  let unanswered = 0
  let takeBack: () => void = () => undefined
  const ask = () => {
    takeBack = clock.after(PING_MS, () => {
      if (++unanswered > 2) return socket.terminate()
      socket.ping()
      ask()
    })
  }
  socket.on('pong', () => (unanswered = 0))
  socket.on('close', () => takeBack())
  socket.on('error', () => socket.terminate())
  ask()
}
