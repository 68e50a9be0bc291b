/** The plainest log that a reader can have: arrays. The model that properties compare with. */
import type { Recorded, StreamEvent } from '../domain/event.ts'
import type { Position, SessionId, UserId } from '../domain/ids.ts'
import type { FeedPage, LogBatch, Page } from '../log/store.ts'

/** A log of arrays, with delays in its reads. */
export interface ArrayLog {
  readonly logId: string
  readonly driver: number
  /** Batches in the order of their commits. */
  readonly feed: readonly (LogBatch & { readonly owner: UserId })[]
  /** Pages that were read; for tests of cost. */
  reads: number
  append(stream: SessionId, owner: UserId, events: readonly StreamEvent[], atMs: number): LogBatch & { readonly owner: UserId }
  /** Takes the stream away; its batches stay in the feed. */
  erase(stream: SessionId): void
  read(stream: SessionId, after: Position, limit: number): Promise<Page | undefined>
  head(stream: SessionId): Promise<Position | undefined>
  state(): Promise<undefined>
  readFeed(owner: UserId, after: number, limit: number): Promise<FeedPage>
  feedHead(): Promise<number>
}

/** @param delays Turns of the loop that each read takes, one after the other, then from the start again. */
export function arrayLog(delays: readonly number[] = [0]): ArrayLog {
  const streams = new Map<SessionId, Recorded[]>()
  const feed: (LogBatch & { readonly owner: UserId })[] = []
  let turn = 0
  const wait = async () => {
    for (let left = delays[turn++ % delays.length] ?? 0; left > 0; left--) await new Promise((resolve) => setImmediate(resolve))
  }
  return {
    logId: '00000000-0000-7000-8000-000000000000',
    driver: 1,
    feed,
    reads: 0,
    append(stream, owner, events, atMs) {
      const log = streams.get(stream) ?? []
      streams.set(stream, log)
      const from = log.length + 1
      events.forEach((event, index) => log.push({ position: from + index, atMs, event }))
      const batch = { stream, owner, from, to: log.length, feed: feed.length + 1, atMs, events }
      feed.push(batch)
      return batch
    },
    erase: (stream) => void streams.delete(stream),
    async read(stream, after, limit) {
      this.reads++
      // What is read is what stood there when the answer comes: a page may be newer than the question.
      await wait()
      const log = streams.get(stream)
      return log === undefined ? undefined : { head: log.length, events: log.slice(after, after + limit) }
    },
    head: async (stream) => streams.get(stream)?.length,
    state: async () => undefined,
    async readFeed(owner, after, limit) {
      this.reads++
      await wait()
      const looked = feed.slice(after, after + Math.max(1, limit >> 6))
      const next = looked.at(-1)?.feed ?? after
      return { next, more: next < feed.length, batches: looked.filter((batch) => batch.owner === owner) }
    },
    feedHead: async () => feed.length,
  }
}
