/**
 * A reader of all streams of one owner (`/v1/events`).
 *
 * F1. Its cursor is opaque and names a commit and how much of it was read: resuming after any frame neither loses nor repeats.
 * F2. The feed of the log is the truth. Feed numbers of other owners lie between those of this one, so that a live batch cannot be
 *     seen to follow the last one: it only says that the feed is worth reading. What one turn of the loop commits is read together.
 * F3. A reader that does not drain is given nothing until it does (P9), as in `tail.ts`.
 */
import type { UserId } from '../domain/ids.ts'
import type { Clock } from '../domain/ports.ts'
import type { EventBatch } from './codec.ts'
import type { Hub, LiveBatch } from './hub.ts'
import type { LogReader } from './log-reader.ts'
import type { ByteSink } from './sink.ts'
import { gateOf, KEEP_ALIVE_MS, READER_BUFFER_BYTES_MAX } from './tail.ts'

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
export interface FeedTailOptions {
  readonly store: LogReader
  readonly hub: Hub
  readonly clock: Clock
  readonly owner: UserId
  readonly after: FeedCursor
  /** The frames of a batch from event `skip` on. */
  readonly encode: (batch: EventBatch, skip: number) => Uint8Array
  readonly sink: ByteSink
  readonly keepAlive: Uint8Array
  readonly onClose?: () => void
  readonly onError: (error: unknown) => void
}

/** One reader of many streams. Live batches are only hints here: the feed is read in their order. */
export class FeedTail {
  readonly #options: FeedTailOptions
  #cursor: FeedCursor
  #closed = false
  #reading = false
  #behind = true
  #stalled = false
  #unsubscribe: () => void = () => undefined
  #cancelKeepAlive: () => void = () => undefined

  constructor(options: FeedTailOptions) {
    this.#options = options
    this.#cursor = options.after
  }

  /** Begins. */
  start(): void {
    const { hub, owner, sink } = this.#options
    sink.onClose(() => this.close())
    if (this.#closed) return
    sink.onDrain(() => this.#drained())
    this.#unsubscribe = hub.subscribeOwner(owner, (batch) => this.#hint(batch))
    this.#keepAlive()
    this.#catchUp()
  }

  /** Ends the reader. Its sink is left to whoever owns it. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#unsubscribe()
    this.#cancelKeepAlive()
    this.#options.onClose?.()
  }

  #hint(batch: LiveBatch): void {
    if (batch.feed <= this.#cursor.feed) return
    this.#behind = true
    this.#catchUp()
  }

  #drained(): void {
    if (!this.#stalled) return
    this.#stalled = false
    this.#behind = true
    this.#catchUp()
  }

  #catchUp(): void {
    if (this.#reading || this.#stalled || this.#closed) return
    this.#reading = true
    this.#read().then(
      () => {
        this.#reading = false
        if (this.#behind) this.#catchUp()
      },
      (error: unknown) => {
        this.#options.onError(error)
        this.#options.sink.destroy()
        this.close()
      },
    )
  }

  async #read(): Promise<void> {
    await turn()
    while (this.#behind && !this.#stalled && !this.#closed) {
      await gateOf(this.#options.store).run(() => this.#readPage())
      if (this.#behind) await turn()
    }
  }

  async #readPage(): Promise<void> {
    // While it waited for its turn, the reader may have gone or stalled.
    if (this.#closed || this.#stalled) return
    this.#behind = false
    const { feed, count } = this.#cursor
    // A commit that was read in part is read again, and its known part skipped.
    const page = await this.#options.store.readFeed(this.#options.owner, count > 0 ? Math.max(0, feed - 1) : feed, PAGE)
    if (this.#closed) return
    for (const batch of page.batches) {
      if (this.#stalled) return
      this.#put(batch, batch.feed === feed ? count : 0)
      this.#cursor = { feed: batch.feed, count: batch.events.length }
    }
    if (page.next >= this.#cursor.feed) this.#cursor = { feed: page.next, count: 0 }
    if (page.more) this.#behind = true
  }

  #put(batch: EventBatch, skip: number): void {
    if (skip >= batch.events.length) return
    const { sink, encode } = this.#options
    const bytes = encode(batch, skip)
    if (bytes.length > 0 && !sink.write(bytes) && sink.buffered() > READER_BUFFER_BYTES_MAX) this.#stalled = true
  }

  #keepAlive(): void {
    this.#cancelKeepAlive = this.#options.clock.after(KEEP_ALIVE_MS, () => {
      if (this.#closed) return
      if (!this.#stalled) this.#options.sink.write(this.#options.keepAlive)
      this.#behind = true
      this.#catchUp()
      this.#keepAlive()
    })
  }
}

/** Lets the loop run once. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
