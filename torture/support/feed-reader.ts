/** A reader of all sessions on one stream. It sees sessions that it did not ask for, and each of them must be whole. */
import type { Sight, View } from './judge-reader.ts'
import { seenOf, type Envelope, type Seen } from './log.ts'
import type { ReaderWorld } from './readers.ts'
import { followSse } from './sse.ts'
import { untilTrue } from './wait.ts'

/** A feed reader at work. */
export interface FeedReader {
  /** What it saw, by session. */
  sights(): readonly Sight[]
  readonly found: readonly string[]
  readonly returns: number
  /** Resolves whether the reader came to `position` of `session` in time. */
  reached(session: string, position: number, withinMs: number): Promise<boolean>
  stop(): Promise<void>
}

/** Starts one at the beginning. */
export function startFeedReader(world: ReaderWorld, view: View): FeedReader {
  const stop = new AbortController()
  world.atClose(() => stop.abort())
  const sessions = new Map<string, Seen[]>()
  const found: string[] = []
  const state = { cursor: '0', returns: 0 }
  const complain = (what: string) => found.push(`P3: the feed (${view}) after ${state.cursor}: ${what}`)
  const work = followSse({
    url: () => world.url,
    path: `/v1/events${view === 'all' ? '?events=all' : ''}`,
    cursor: () => state.cursor,
    signal: stop.signal,
    onReturn: () => void state.returns++,
    onFrame({ id, event = '', data }) {
      if (event === 'gap_detected') return void complain(`a gap was told: ${data}`)
      if (id === undefined) return void complain('a frame has no id')
      state.cursor = id
      const envelope = JSON.parse(data) as Envelope
      const list = sessions.get(envelope.session_id) ?? []
      sessions.set(envelope.session_id, list)
      list.push(seenOf(event, envelope))
    },
    onRefused: (status, text) => void complain(`it was refused: ${status} ${text}`),
  }).catch((error: unknown) => void complain(String(error)))
  return {
    sights: () => [...sessions].map(([session, events]) => ({ who: `the feed (${view})`, session, view, after: 0, events })),
    found,
    get returns() {
      return state.returns
    },
    reached: (session, position, withinMs) => untilTrue(withinMs, () => (sessions.get(session)?.at(-1)?.position ?? 0) >= position),
    async stop() {
      stop.abort()
      await work
    },
  }
}
