/**
 * A reader of all streams of one owner (`/v1/events`).
 *
 * F1. Its cursor is opaque and names a commit and how much of it was read: resuming after any frame neither loses nor repeats.
 * F2. The feed of the log is the truth. Feed numbers of other owners lie between those of this one, so that a live batch cannot be
 *     seen to follow the last one: it only says that the feed is worth reading. What one turn of the loop commits is read together.
 * How pages are paced, and what becomes of a slow sink, is the business of `reading.ts`.
 */
import type { UserId } from '../domain/ids.ts'
import type { EventBatch } from './codec.ts'
import type { Hub, LiveBatch } from './hub.ts'
import { Reading, type ReaderOptions } from './reading.ts'

/** Events about which one page of the feed asks. */
const PAGE = 256

/** Place in the feed: all of commit `feed`'s first `count` events were read. */
export interface FeedCursor {
  readonly feed: number
  readonly count: number
}

/** The cursor as clients see it. */
export function encodeFeedCursor({ feed, count }: FeedCursor): string {
  return `f${feed.toString(36)}.${count.toString(36)}`
}

/** The cursor in `text`, or `undefined` if it is none of ours. */
export function decodeFeedCursor(text: string): FeedCursor | undefined {
  const match = /^f([0-9a-z]{1,11})\.([0-9a-z]{1,6})$/.exec(text)
  if (match === null) return undefined
  return { feed: Number.parseInt(match[1] ?? '', 36), count: Number.parseInt(match[2] ?? '', 36) }
}

/** What a feed tail reads and where it writes. */
export interface FeedTailOptions extends ReaderOptions {
  readonly hub: Hub
  readonly owner: UserId
  readonly after: FeedCursor
  /** The frames of a batch from event `skip` on. */
  readonly encode: (batch: EventBatch, skip: number) => Uint8Array
}

/** One reader of many streams. Live batches are only hints here: the feed is read in their order. */
export class FeedTail {
  readonly #options: FeedTailOptions
  readonly #reading: Reading
  #cursor: FeedCursor
  #hinted = false

  constructor(options: FeedTailOptions) {
    this.#options = options
    this.#cursor = options.after
    this.#reading = new Reading(options, {
      readPage: () => this.#readPage(),
      subscribe: () => {
        const ends = [options.hub.subscribeOwner(options.owner, (batch) => this.#hint(batch)), options.hub.onDoubt(() => this.#reading.behind())]
        return () => ends.forEach((end) => end())
      },
    })
  }

  /** Begins. */
  start(): void {
    this.#reading.start()
  }

  /** Ends the reader. Its sink is left to whoever owns it. */
  close(): void {
    this.#reading.close()
  }

  /** What one turn of the loop commits is read together. */
  #hint(batch: LiveBatch): void {
    if (batch.feed <= this.#cursor.feed || this.#hinted) return
    this.#hinted = true
    void this.#options.clock.turn().then(() => {
      this.#hinted = false
      this.#reading.behind()
    })
  }

  async #readPage(): Promise<boolean> {
    const { feed, count } = this.#cursor
    // A commit that was read in part is read again, and its known part skipped.
    const page = await this.#options.store.readFeed(this.#options.owner, count > 0 ? Math.max(0, feed - 1) : feed, PAGE)
    for (const batch of page.batches) {
      if (this.#reading.halted) return true
      const skip = batch.feed === feed ? count : 0
      if (skip < batch.events.length) this.#reading.put(this.#options.encode(batch, skip))
      this.#cursor = { feed: batch.feed, count: batch.events.length }
    }
    if (page.next >= this.#cursor.feed) this.#cursor = { feed: page.next, count: 0 }
    return page.more
  }
}
