/** Readers that look at how they are sent away: a stop must tell them when to come back before it closes. */
import { openSocket } from '../../test/support/socket.ts'
import type { ReaderWorld } from '../support/readers.ts'
import { followSse } from '../support/sse.ts'
import { elapsed } from '../support/wait.ts'

/** What a stopping server asks its readers to wait, in ms. */
const RETRY_MS = 1000
/** The close code of a socket whose server restarts (RFC 6455, registered as "Service Restart"). */
const RESTART_CODE = 1012
/** Pause before a socket comes back, in ms. */
const PAUSE_MS = 30

/** Watchers at work. */
export interface Goodbyes {
  readonly watchers: number
  /** How many are connected now. */
  readonly connected: number
  /** How many were told and sent away since the last `reset`. */
  readonly told: number
  /** Begins to count anew. */
  reset(): void
  /** Connections that ended in another way. */
  readonly found: readonly string[]
  stop(): Promise<void>
}

/** Starts watchers of `session`: a stream, the feed and a socket. */
export function watchGoodbyes(world: ReaderWorld, session: string): Goodbyes {
  const stop = new AbortController()
  world.atClose(() => stop.abort())
  const found: string[] = []
  const connected = new Set<string>()
  let told = 0
  const ended = (who: string, right: boolean, how: string) => {
    connected.delete(who)
    if (right) told++
    else found.push(`P14: ${who} was not told to come back before it was closed: ${how}`)
  }
  const streams = [`/v1/sessions/${session}/events`, '/v1/events'].map((path) => {
    let retryMs = 0
    return followSse({
      url: () => world.url,
      path,
      cursor: () => '0',
      signal: stop.signal,
      onRetry: (ms) => void (retryMs = ms),
      onHead: () => void connected.add(path),
      onFrame: () => undefined,
      onReturn: (whole) => ended(path, whole && retryMs === RETRY_MS, `retry ${retryMs}, ${whole ? 'whole' : 'cut off'}`),
      onRefused: (status, text) => void found.push(`P14: ${path} was refused: ${status} ${text}`),
    })
  })
  const socket = async () => {
    for (; !stop.signal.aborted; await elapsed(PAUSE_MS)) {
      const path = `/v1/sessions/${session}/ws`
      const open = await openSocket(world.url, path).catch(() => undefined)
      if (open === undefined) continue
      const onAbort = () => open.socket.terminate()
      stop.signal.addEventListener('abort', onAbort)
      if (stop.signal.aborted) onAbort()
      connected.add(path)
      const { code } = await open.closed
      stop.signal.removeEventListener('abort', onAbort)
      if (!stop.signal.aborted) ended(path, code === RESTART_CODE, `close code ${code}`)
    }
  }
  const work = Promise.all([...streams, socket()])
  return {
    watchers: streams.length + 1,
    get connected() {
      return connected.size
    },
    get told() {
      return told
    },
    reset: () => void (told = 0),
    found,
    async stop() {
      stop.abort()
      await work
    },
  }
}
