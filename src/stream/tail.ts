/**
 * A tail: one reader of one stream. First what the log holds after its cursor, then what comes (P3).
 *
 * T1. A live batch is taken only if its first position is the reader's next one; otherwise the log is read.
 * T2. What several readers replay is read and encoded once, as far as memory goes (`slices.ts`).
 * T3. A stream that is erased ends its readers.
 * How pages are paced, and what becomes of a slow sink, is the business of `reading.ts`.
 */
import type { Position, SessionId } from '../domain/ids.ts'
import type { Codec, EventBatch } from './codec.ts'
import type { Hub, LiveBatch } from './hub.ts'
import type { LogReader } from './log-reader.ts'
import { READ_EVENTS_MAX } from '../log/store.ts'
import { encodeOnce } from './codec.ts'
import { isTerminal } from '../domain/event.ts'
import { Reading, type ReaderOptions } from './reading.ts'
import { SLICE_EVENTS, Slices, slicesOf, wholeSlices } from './slices.ts'

/** Events that a page of replay holds at least, however large they are. */
const PAGE_EVENTS_MIN = 16

const sliced = new WeakMap<LogReader, Slices>()

/** What the readers of `store` have encoded lately. */
function slicesFor(store: LogReader): Slices {
  const known = sliced.get(store) ?? new Slices()
  sliced.set(store, known)
  return known
}

/** What a tail reads and where it writes. */
export interface TailOptions extends ReaderOptions {
  readonly hub: Hub
  readonly stream: SessionId
  readonly after: Position
  readonly codec: Codec
  /** End the stream behind the first end of a run. */
  readonly untilRunEnd?: boolean
}

/** One reader. It lives until its sink closes, or until the run's end where that was asked for. */
export class Tail {
  readonly #options: TailOptions
  readonly #reading: Reading
  #position: Position
  #pageEvents = READ_EVENTS_MAX

  constructor(options: TailOptions) {
    this.#options = options
    this.#position = options.after
    this.#reading = new Reading(options, {
      readPage: () => this.#readPage(),
      subscribe: () => {
        const ends = [options.hub.subscribe(options.stream, (batch) => this.#take(batch)), options.hub.onDoubt(() => this.#reading.behind())]
        return () => ends.forEach((end) => end())
      },
    })
  }

  /** Position of the last event that was taken into account. */
  get position(): Position {
    return this.#position
  }

  /** Begins. */
  start(): void {
    this.#reading.start()
  }

  /** Ends the reader. Its sink is left to whoever owns it. */
  close(): void {
    this.#reading.close()
  }

  #take(batch: LiveBatch): void {
    if (this.#reading.closed || batch.to <= this.#position) return
    if (!this.#reading.current || batch.from !== this.#position + 1) return this.#reading.behind()
    if (this.#options.untilRunEnd === true && batch.events.some(isTerminal)) return this.#write(cutAfterEnd(batch))
    this.#position = batch.to
    this.#reading.put(encodeOnce(batch, this.#options.codec))
  }

  /** Writes a batch, and ends the stream behind the end of a run where that was asked for. */
  #write(batch: EventBatch): void {
    this.#position = batch.to
    this.#reading.put(this.#options.codec.encode(batch))
    const last = batch.events.at(-1)
    if (this.#options.untilRunEnd === true && last !== undefined && isTerminal(last)) this.#reading.end()
  }

  async #readPage(): Promise<boolean> {
    const { store, stream } = this.#options
    // What others have left outlives the stream itself (T3).
    if (this.#isKept() && (await store.head(stream)) !== undefined && this.#replayKept()) return true
    if (this.#reading.closed) return false
    const page = await store.read(stream, this.#position, this.#pageLimit())
    if (this.#reading.closed) return false
    if (page === undefined) {
      // The session was erased: there is nothing to wait for.
      this.#reading.end()
      return false
    }
    for (const slice of slicesOf(stream, wholeSlices(page.events, page.head))) {
      if (this.#reading.halted) break
      this.#writeSlice(slice)
    }
    // Large events make for small pages.
    this.#pageEvents = this.#reading.stalled ? Math.max(PAGE_EVENTS_MIN, this.#pageEvents >> 2) : Math.min(READ_EVENTS_MAX, this.#pageEvents << 1)
    return page.head > this.#position
  }

  /** Whether other readers have left what comes next. */
  #isKept(): boolean {
    const { store, stream, codec, untilRunEnd } = this.#options
    return untilRunEnd !== true && slicesFor(store).get(codec.name, stream, this.#position) !== undefined
  }

  /** Goes on with slices that other readers have left. Answers whether there was one; then the log is looked at again. */
  #replayKept(): boolean {
    const { store, stream, codec } = this.#options
    const from = this.#position
    while (!this.#reading.halted && this.#position - from < READ_EVENTS_MAX) {
      const bytes = slicesFor(store).get(codec.name, stream, this.#position)
      if (bytes === undefined) break
      this.#position += SLICE_EVENTS
      this.#reading.put(bytes)
    }
    return this.#position > from
  }

  /** Events to read: only up to the next border where others have left what comes behind it. */
  #pageLimit(): number {
    const { store, stream, codec, untilRunEnd } = this.#options
    const toBorder = SLICE_EVENTS - (this.#position % SLICE_EVENTS)
    const isKept = untilRunEnd !== true && slicesFor(store).get(codec.name, stream, this.#position + toBorder) !== undefined
    return isKept ? Math.min(toBorder, this.#pageEvents) : this.#pageEvents
  }

  #writeSlice(batches: readonly EventBatch[]): void {
    const { store, stream, codec, untilRunEnd } = this.#options
    if (untilRunEnd === true) {
      for (const batch of batches) if (!this.#reading.closed) this.#write(cutAfterEnd(batch))
      return
    }
    const after = (batches[0]?.from ?? 1) - 1
    const encoded = batches.map((batch) => codec.encode(batch))
    const bytes = encoded.length === 1 ? (encoded[0] as Uint8Array) : Buffer.concat(encoded)
    this.#position = batches.at(-1)?.to ?? after
    if (this.#position - after === SLICE_EVENTS) slicesFor(store).keep(codec.name, stream, after, bytes)
    this.#reading.put(bytes)
  }
}

/** The batch up to and with the first end of a run in it. */
function cutAfterEnd(batch: EventBatch): EventBatch {
  const end = batch.events.findIndex(isTerminal)
  if (end === -1 || end === batch.events.length - 1) return batch
  return { ...batch, to: batch.from + end, events: batch.events.slice(0, end + 1) }
}
