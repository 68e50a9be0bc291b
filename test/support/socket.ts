/** WebSocket clients for tests. */
import { arrivals } from './arrivals.ts'
import { WebSocket, type ClientOptions } from 'ws'

/** A message of the server, of any shape. */
// oxlint-disable-next-line typescript/no-explicit-any
export type SocketText = any

/** An open socket. */
export interface TestSocket {
  readonly socket: WebSocket
  /** All messages so far. */
  readonly messages: readonly SocketText[]
  /** Sends a frame; an object goes as JSON. */
  say(frame: unknown): void
  /** Sends a command under a ref of its own, and resolves with its `ack` or `error`. */
  command(frame: object): Promise<SocketText>
  /** The first message that `found` holds of, of those that came and will come. @throws when the socket closes without it */
  until(found: (message: SocketText) => boolean): Promise<SocketText>
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>
}

const wsUrl = (url: string, path: string) => `${url.replace('http', 'ws')}${path}`

/** Opens a socket. @throws {Error} when the server refuses the upgrade */
export async function openSocket(url: string, path: string, headers: Record<string, string> = {}, options: ClientOptions = {}): Promise<TestSocket> {
  const socket = new WebSocket(wsUrl(url, path), { headers, ...options })
  const messages: SocketText[] = []
  let refs = 0
  let over = false
  const { wake, next } = arrivals()
  socket.on('message', (data) => {
    messages.push(JSON.parse((data as Buffer).toString()))
    wake()
  })
  const closed = new Promise<{ code: number; reason: string }>((resolve) =>
    socket.once('close', (code, reason) => {
      over = true
      wake()
      resolve({ code, reason: reason.toString() })
    }),
  )
  await new Promise<void>((resolve, reject) => socket.once('open', resolve).once('error', reject))
  socket.on('error', () => undefined)
  const until = async (found: (message: SocketText) => boolean) => {
    for (let looked = 0; ;) {
      for (; looked < messages.length; looked++) if (found(messages[looked])) return messages[looked]
      if (over) throw new Error('the socket closed before the message came')
      await next()
    }
  }
  const say = (frame: unknown) => socket.send(typeof frame === 'string' || Buffer.isBuffer(frame) ? frame : JSON.stringify(frame))
  return {
    socket,
    messages,
    say,
    command(frame) {
      const ref = `ref-${refs++}`
      say({ ref, ...frame })
      return until((message) => message.ref === ref)
    },
    until,
    closed,
  }
}

/** What the server answers instead of a socket. */
export async function refusedSocket(url: string, path: string, headers: Record<string, string> = {}) {
  const socket = new WebSocket(wsUrl(url, path), { headers })
  const response = await new Promise<import('node:http').IncomingMessage>((resolve, reject) => {
    socket.once('unexpected-response', (_request, answer) => resolve(answer))
    socket.once('open', () => reject(new Error('the socket was opened')))
    socket.on('error', reject)
  })
  let text = ''
  for await (const chunk of response.setEncoding('utf8')) text += chunk
  return { status: response.statusCode ?? 0, headers: response.headers, text, json: JSON.parse(text) as SocketText }
}
