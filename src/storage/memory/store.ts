/** The memory engine: a full engine that keeps everything in arrays. What it holds survives `reopen`, not the process. */
import type { Random } from '../../domain/ports.ts'
import type { ForkSession } from '../../domain/command.ts'
import type { Recorded } from '../../domain/event.ts'
import type { SessionId } from '../../domain/ids.ts'
import type { SessionState } from '../../domain/session.ts'
import type { AppendWrite, Drivers, EraseWrite, Idempotency, LogBatch, Store, Write, WriteOutcome } from '../../log/store.ts'
import type { Leftover, Upkeep } from '../../log/upkeep.ts'
import type { SessionQuery, SessionReads } from '../../projection/reads.ts'
import type { SessionSummary } from '../../projection/session-summary.ts'
import type { TranscriptMessage } from '../../projection/transcript.ts'
import type { ForkSource } from '../../domain/decide-fork.ts'
import { ConvokeError } from '../../domain/errors.ts'
import { applyWrite, refuseErase } from '../../log/apply.ts'
import { READ_EVENTS_MAX } from '../../log/store.ts'
import { LIST_LIMIT_MAX } from '../../projection/reads.ts'
import { summarize } from '../../projection/session-summary.ts'
import { readUpTo, SegmentedLog, type Segment } from './segments.ts'

/** Batches that one page of the feed looks at. */
const FEED_BATCHES_MAX = 256

type Appended = Extract<WriteOutcome, { kind: 'appended' }>
type Erased = Extract<WriteOutcome, { kind: 'erased' }>

interface Stream {
  state: SessionState | undefined
  summary: SessionSummary | undefined
  readonly log: SegmentedLog
}

interface Data {
  readonly logId: string
  driver: number
  open: boolean
  /** Set where the store is shared: until when each driver lives. */
  readonly lives: Map<number, number> | undefined
  readonly streams: Map<SessionId, Stream>
  readonly feed: LogBatch[]
  feedHead: number
  /** Erased sessions whose files may still be there, with what they wrote. */
  readonly leftovers: Map<SessionId, Segment>
  readonly keys: Map<string, { readonly fingerprint: string; readonly outcome: Appended | Erased }>
}

/** A store in memory, which can be closed and opened again. */
export interface MemoryStore extends Store, SessionReads, Upkeep {
  /** Opens the same data again, after `close`. @throws {ConvokeError} `store_locked` while it is open */
  reopen(): MemoryStore
  /** What it holds, each event once, for those who look for what should be gone. */
  held(): HeldInMemory
}

/** Everything in a store but the answers to idempotency keys. */
export interface HeldInMemory {
  readonly events: readonly Recorded[]
  readonly messages: readonly TranscriptMessage[]
  readonly states: readonly unknown[]
  readonly feed: readonly LogBatch[]
}

/** Opens an empty store. A shared one can be opened again, as by another process, while it is open. */
export function memoryStore(random: Random, { shared = false } = {}): MemoryStore {
  const lives = shared ? new Map<number, number>() : undefined
  return open({ logId: random.uuid(), driver: 0, open: false, lives, streams: new Map(), feed: [], feedHead: 0, leftovers: new Map(), keys: new Map() })
}

function driversOf(lives: Map<number, number>, driver: number): Drivers {
  return {
    renew: async (untilMs) => void lives.set(driver, untilMs),
    gone: async (drivers, nowMs) => new Set(drivers.filter((other) => (lives.get(other) ?? 0) <= nowMs)),
  }
}

function open(data: Data): MemoryStore {
  if (data.open && data.lives === undefined) throw new ConvokeError('store_locked', 'the memory store is open already')
  data.open = true
  data.driver++
  let closed = false
  const driver = data.driver
  return {
    logId: data.logId,
    driver,
    ...(data.lives === undefined ? {} : { drivers: driversOf(data.lives, driver) }),
    async commit(writes) {
      if (closed) throw new ConvokeError('store_failed', 'the log is closed')
      return writes.map((write) => commitOne(data, write))
    },
    async read(id, after, limit) {
      const log = data.streams.get(id)?.log
      if (log === undefined) return undefined
      return { head: log.head, events: log.events(after, after + Math.max(0, Math.min(limit, READ_EVENTS_MAX))) }
    },
    head: async (id) => data.streams.get(id)?.log.head,
    state: async (id) => data.streams.get(id)?.state,
    async readFeed(owner, after, limit) {
      const begin = data.feed.findIndex(({ feed }) => feed > after)
      const looked = begin === -1 ? [] : data.feed.slice(begin, begin + Math.max(1, Math.min(limit, FEED_BATCHES_MAX)))
      const next = looked.at(-1)?.feed ?? after
      return { next, more: next < (data.feed.at(-1)?.feed ?? 0), batches: looked.filter((batch) => data.streams.get(batch.stream)?.state?.owner === owner) }
    },
    feedHead: async () => data.feedHead,
    async unfinishedRuns(limit, after) {
      const found = [...data.streams].flatMap(([stream, { state }]) => {
        if (state?.run === undefined) return []
        return [{ stream, runId: state.run.id, driver: state.run.driver, fence: state.fence, owner: state.owner }]
      })
      const behind = after === undefined ? found : found.filter(({ stream }) => stream > after)
      return behind.toSorted((a, b) => (a.stream < b.stream ? -1 : 1)).slice(0, limit)
    },
    async pruneIdempotency(beforeMs) {
      const old = [...data.keys].filter(([, kept]) => kept.outcome.atMs < beforeMs)
      for (const [key] of old) data.keys.delete(key)
      return old.length
    },
    ...reads(data),
    ...upkeep(data),
    async close() {
      if (!closed) data.open = false
      closed = true
    },
    reopen: () => open(data),
    held() {
      const segments = new Set([...logsOf(data).flatMap((log) => log.segments), ...data.leftovers.values()])
      const states = [...data.streams.values()].map(({ state, summary }) => ({ state, summary }))
      return { events: [...segments].flatMap(({ events }) => events), messages: [...segments].flatMap(({ messages }) => messages), states, feed: data.feed }
    },
  }
}

function commitOne(data: Data, write: Write): WriteOutcome {
  const idempotency = write.kind === 'record' ? undefined : write.idempotency
  const repeated = idempotency === undefined ? undefined : repeat(data, idempotency)
  if (repeated !== undefined) return repeated
  const outcome = write.kind === 'erase' ? erase(data, write) : apply(data, write)
  if (idempotency !== undefined && (outcome.kind === 'appended' || outcome.kind === 'erased'))
    data.keys.set(keyOf(idempotency), { fingerprint: idempotency.fingerprint, outcome })
  return outcome
}

function apply(data: Data, write: AppendWrite): WriteOutcome {
  const found = data.streams.get(write.stream) ?? { state: undefined, summary: undefined, log: new SegmentedLog(write.stream) }
  const fork = write.kind === 'decide' && write.command.type === 'ForkSession' ? forkOf(data, write.stream, write.command) : undefined
  const applied = applyWrite(found.state, fork?.log.head ?? found.log.head, write, fork?.source)
  if (applied.kind !== 'apply') return applied
  const stream = fork === undefined ? found : { ...found, log: fork.log }
  // Written events are facts: a caller that changes its objects later must not change them.
  const events = structuredClone(applied.events)
  const from = stream.log.head + 1
  const to = stream.log.head + events.length
  const owner = applied.state?.owner
  if (owner === undefined) throw new Error('a write was applied to a stream without an owner')
  const feed = events.length === 0 ? 0 : data.feedHead + 1
  const outcome: Appended = { kind: 'appended', stream: write.stream, from, to, feed, events, atMs: write.atMs, owner, reply: applied.reply, replayed: false }
  if (events.length > 0) append(data, stream, outcome, applied.state)
  return outcome
}

function append(data: Data, stream: Stream, outcome: Appended, state: SessionState | undefined): void {
  const { stream: id, from, to, feed, atMs, events } = outcome
  stream.state = state
  data.streams.set(id, stream)
  data.feedHead = feed
  data.feed.push({ stream: id, from, to, feed, atMs, events })
  const batch = events.map((event, index): Recorded => ({ position: from + index, atMs, event }))
  stream.log.push(batch)
  stream.summary = batch.reduce((summary, recorded) => summarize(id, summary, recorded), stream.summary)
}

function erase(data: Data, write: EraseWrite): WriteOutcome {
  const found = data.streams.get(write.stream)
  const refused = refuseErase(found?.state, found?.summary?.updatedAtMs ?? 0, write)
  if (refused !== undefined || found?.state === undefined) return refused ?? { kind: 'refused', code: 'not_found', message: 'session not found' }
  const { state, log } = found
  data.streams.delete(write.stream)
  data.feed.splice(0, data.feed.length, ...data.feed.filter(({ stream }) => stream !== write.stream))
  const { left, ownKept, ...counts } = log.erase(logsOf(data))
  for (const segment of left) data.leftovers.set(segment.id, segment)
  const { workspace = 0, outputs = 0 } = write.files ?? {}
  const receipt = { ...counts, state: 2 + state.queue.length + state.calls.length, files: workspace + (ownKept ? 0 : outputs) }
  return { kind: 'erased', stream: write.stream, owner: state.owner, atMs: write.atMs, receipt, replayed: false }
}

function logsOf(data: Data): readonly SegmentedLog[] {
  return [...data.streams.values()].map(({ log }) => log)
}

/** Nothing is left to sweep: what was erased is gone with its commit. */
function upkeep(data: Data): Upkeep {
  const leftoverOf = (segment: Segment): Leftover => {
    const stream = segment.id
    const upTo = readUpTo(segment, logsOf(data))
    const reader = [...data.streams].find(([, { log }]) => log.inherited.some((piece) => piece.segment === segment && piece.last === upTo))
    return reader === undefined ? { stream } : { stream, readBy: { stream: reader[0], upTo } }
  }
  return {
    sweep: async () => false,
    // Arrays share nothing that could be packed.
    pack: async () => false,
    release: async () => false,
    usedBytes: async () => logsOf(data).reduce((bytes, log) => bytes + log.ownChars, 0),
    async idleSessions(sinceMs, limit) {
      const idle = [...data.streams.values()].flatMap(({ state, summary }) => (state?.run === undefined && summary !== undefined ? [summary] : []))
      const old = idle.filter(({ updatedAtMs }) => updatedAtMs <= sinceMs).sort((a, b) => a.updatedAtMs - b.updatedAtMs || (a.id < b.id ? -1 : 1))
      return old.slice(0, limit).map(({ id }) => id)
    },
    leftovers: async (limit) => [...data.leftovers.values()].slice(0, limit).map(leftoverOf),
    async forgetLeftover({ stream, readBy }) {
      const segment = data.leftovers.get(stream)
      if (segment !== undefined && readUpTo(segment, logsOf(data)) === (readBy?.upTo ?? 0)) data.leftovers.delete(stream)
    },
  }
}

/** What a fork inherits, and what is to be decided about. */
function forkOf(data: Data, id: SessionId, { origin, at }: ForkSession): { readonly log: SegmentedLog; readonly source?: ForkSource } {
  const { state, summary, log } = data.streams.get(origin) ?? {}
  if (state === undefined || summary === undefined || log === undefined) return { log: new SegmentedLog(id) }
  const inherited = log.fork(id, Math.min(at, log.head))
  const { title, cwd } = summary
  const counts = { head: log.head, messages: inherited.messageCount, segments: inherited.inherited.length }
  return { log: inherited, source: { state, title, ...counts, ...(cwd === undefined ? {} : { cwd }) } }
}

function repeat(data: Data, idempotency: Idempotency): WriteOutcome | undefined {
  const kept = data.keys.get(keyOf(idempotency))
  if (kept === undefined) return undefined
  if (kept.fingerprint === idempotency.fingerprint)
    return kept.outcome.kind === 'erased' ? { ...kept.outcome, replayed: true } : { ...kept.outcome, events: [], replayed: true }
  return { kind: 'refused', code: 'idempotency_key_reused', message: 'this idempotency key was used with another body' }
}

function keyOf({ scope, key }: Idempotency): string {
  return JSON.stringify([scope, key])
}

function reads(data: Data): SessionReads {
  return {
    session: async (id) => data.streams.get(id)?.summary,
    async sessionAt(id) {
      const stream = data.streams.get(id)
      return stream?.summary === undefined ? undefined : { summary: stream.summary, head: stream.log.head }
    },
    async sessions(query) {
      const matching = [...data.streams.values()].flatMap(({ summary }) => (summary !== undefined && matches(summary, query) ? [summary] : []))
      matching.sort((a, b) => b.updatedAtMs - a.updatedAtMs || (a.id < b.id ? 1 : -1))
      const { after, offset = 0 } = query
      const behind = after === undefined ? matching : matching.filter((row) => isBehind(row, after))
      return { items: behind.slice(offset, offset + Math.min(query.limit, LIST_LIMIT_MAX)), total: matching.length }
    },
    async messages(id, { limit, offset }) {
      const log = data.streams.get(id)?.log
      return { items: log?.messages(offset, offset + Math.min(limit, LIST_LIMIT_MAX)) ?? [], total: log?.messageCount ?? 0 }
    },
    async history(id, upTo, limit, after = 0) {
      const log = data.streams.get(id)?.log
      const messages = log?.messages(0, log.messageCount).filter(({ position }) => position <= upTo && position > after) ?? []
      return messages.slice(Math.max(0, messages.length - limit))
    },
    async sessionIds(owner, after, limit) {
      const ids = [...data.streams].flatMap(([id, { summary }]) => (summary?.owner === owner && (after === undefined || id > after) ? [id] : []))
      return ids.sort().slice(0, limit)
    },
  }
}

function matches(summary: SessionSummary, query: SessionQuery): boolean {
  if (summary.owner !== query.owner) return false
  if (query.status !== undefined && summary.status !== query.status) return false
  return query.search === undefined || summary.title.toLowerCase().includes(query.search.toLowerCase())
}

function isBehind(row: SessionSummary, key: { readonly updatedAtMs: number; readonly id: string }): boolean {
  return row.updatedAtMs < key.updatedAtMs || (row.updatedAtMs === key.updatedAtMs && row.id < key.id)
}
