/** Connections that come and go a thousand times a second, in every rude way, while others work. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { Worker } from 'node:worker_threads'
import { quantile } from '../../bench/support/measure.ts'
import { elapsed, within } from '../support/wait.ts'
import { openReader } from './reader.ts'

/** Pieces of a second in which connections are begun. */
const TICK_MS = 10
/** Sockets that send their head byte by byte for the whole time. */
const SLOW_HEADS = 50
/** How long a rude connection may last that the server does not end, in ms. */
const RUDE_MS = 3000
const READ_MS = 60_000

/** Where the storm goes. */
export interface Target {
  readonly url: string
  readonly session: string
  readonly head: number
  readonly random: () => number
}

/** Measures commands of one client for as long as `work` takes. Every one must be acknowledged. */
export async function besideCommands({ url }: Target, lost: string[], work: () => Promise<unknown>): Promise<readonly number[]> {
  const client = new Worker(new URL('./live-client.ts', import.meta.url), { workerData: { url } })
  try {
    const failed = once(client, 'error').then(([error]) => Promise.reject(error as Error))
    await Promise.race([work(), failed])
    const told = once(client, 'message')
    client.postMessage('stop')
    const [seen] = (await within(READ_MS, 'the live client', Promise.race([told, failed]))) as [
      { readonly latencies: readonly number[]; readonly lost: readonly string[] },
    ]
    lost.push(...seen.lost)
    return seen.latencies
  } finally {
    await client.terminate()
  }
}

/** p50 and p99. */
export const p50p99 = (values: readonly number[]): readonly [number, number] => [quantile(values, 0.5), quantile(values, 0.99)]

/** Begins `perSecond` rude connections a second for `ms`. Answers how many of each kind there were. */
export async function storm(target: Target, perSecond: number, ms: number): Promise<ReadonlyMap<string, number>> {
  const counts = new Map<string, number>()
  const open = new Set<Socket>()
  const names = Object.keys(RUDE)
  const slow = Array.from({ length: SLOW_HEADS }, () => slowHead(target, open))
  const until = Date.now() + ms
  let begun = 0
  const startedMs = Date.now()
  while (Date.now() < until) {
    // What a busy machine could not begin in time is begun now, up to a tenth of a second of it.
    const due = Math.min(perSecond / 10, Math.floor(((Date.now() - startedMs) * perSecond) / 1000) - begun)
    for (let left = due; left > 0; left--) {
      const name = names[Math.floor(target.random() * names.length)] as string
      counts.set(name, (counts.get(name) ?? 0) + 1)
      begun++
      ;(RUDE[name] as Rude)(opened(target, open), target)
    }
    await elapsed(TICK_MS)
  }
  for (const stop of slow) stop()
  for (const socket of open) socket.destroy()
  return counts.set('heads byte by byte', SLOW_HEADS)
}

type Rude = (socket: Socket, target: Target) => void

function opened({ url }: Target, open: Set<Socket>): Socket {
  const { hostname, port } = new URL(url)
  const socket = connect({ host: hostname, port: Number(port) })
  open.add(socket)
  // A reset is one way for the server to say no.
  socket.on('error', () => undefined)
  const late = setTimeout(() => socket.destroy(), RUDE_MS)
  socket.once('close', () => {
    clearTimeout(late)
    open.delete(socket)
  })
  return socket
}

const streamOf = ({ session, head, random }: Target) =>
  `GET /v1/sessions/${session}/events?events=all HTTP/1.1\r\nhost: localhost\r\nlast-event-id: ${Math.floor(random() * head)}\r\n\r\n`
const upgradeOf = ({ session, head, random }: Target) =>
  `GET /v1/sessions/${session}/ws?after=${Math.floor(random() * head)} HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`

/** Each gets a socket that connects. What comes back is thrown away. */
const RUDE: Readonly<Record<string, Rude>> = {
  'dropped inside a frame': (socket, target) => {
    socket.write(streamOf(target))
    socket.once('data', () => socket.resetAndDestroy())
  },
  'dropped inside a frame, in good order': (socket, target) => {
    socket.write(streamOf(target))
    socket.once('data', () => socket.destroy())
  },
  'dropped at once': (socket) => void socket.once('connect', () => socket.resetAndDestroy()),
  'dropped inside a head': (socket, target) => void socket.write(streamOf(target).slice(0, 40), () => socket.destroy()),
  'dropped inside a handshake': (socket, target) => void socket.write(upgradeOf(target).slice(0, 120), () => socket.destroy()),
  'dropped behind a handshake': (socket, target) => void socket.write(upgradeOf(target), () => socket.resetAndDestroy()),
  'dropped inside a message': (socket, target) => {
    socket.write(upgradeOf(target))
    socket.once('data', () => socket.resetAndDestroy())
  },
  'half open': (socket, target) => {
    socket.pause()
    socket.end(streamOf(target))
  },
  'left without a word': (socket) => void socket.pause(),
  pipelined: (socket) => {
    socket.resume()
    socket.write('GET /v1/health HTTP/1.1\r\nhost: localhost\r\n\r\n'.repeat(10), () => setTimeout(() => socket.destroy(), 50))
  },
  garbage: (socket, { random }) => {
    socket.resume()
    socket.write(Buffer.from(Array.from({ length: 200 }, () => Math.floor(random() * 256))))
  },
  'garbage behind a handshake': (socket, target) => {
    socket.resume()
    socket.write(upgradeOf(target))
    socket.once('data', () => socket.write(Buffer.from(Array.from({ length: 200 }, () => Math.floor(target.random() * 256)))))
  },
}

function slowHead(target: Target, open: Set<Socket>): () => void {
  const socket = opened(target, open)
  const head = streamOf(target)
  let at = 0
  const timer = setInterval(() => void (socket.writable && socket.write(head[at++ % head.length] ?? 'x')), 300)
  return () => clearInterval(timer)
}

/** `count` readers at once replay the log from cursors of their own, again and again for `ms`. Answers how many replays were whole. */
export async function replayStorm(target: Target, count: number, ms: number, lost: string[]): Promise<number> {
  const { url, session, head, random } = target
  const until = Date.now() + ms
  let replays = 0
  const one = async () => {
    do {
      const reader = await openReader(url, session, Math.floor(random() * head))
      try {
        await within(READ_MS, 'a replay', reader.until(head))
        lost.push(...reader.wrong.map((sentence) => `a reader that came back: ${sentence}`))
        replays++
      } finally {
        reader.close()
      }
    } while (Date.now() < until)
  }
  await Promise.all(Array.from({ length: count }, one))
  return replays
}
