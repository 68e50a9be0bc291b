/**
 * A tail: one reader of one stream. First what the log holds after its cursor, then what comes (P3).
 *
 * T1. A live batch is taken only if its first position is the reader's next one; otherwise the log is read.
 * T2. A reader whose sink holds more than `READER_BUFFER_BYTES_MAX` gets nothing until it drains, and then reads the log (P9).
 * T3. At each keep-alive the head is compared, so that a lost hint heals itself.
 * T4. A page of replay is read only after the one before was taken, the loop runs between pages, and `PAGES_AT_ONCE` bounds those that
 *     all readers of a store hold at once: replays are fair, and their memory does not grow with the number of readers.
 * T5. What several readers replay is read and encoded once, as far as memory goes (`slices.ts`).
 */
import type { Position, SessionId } from '../domain/ids.ts'
import type { Clock } from '../domain/ports.ts'
import type { Codec, EventBatch } from './codec.ts'
import type { Hub, LiveBatch } from './hub.ts'
import type { LogReader } from './log-reader.ts'
import type { ByteSink } from './sink.ts'
import { READ_EVENTS_MAX } from '../log/store.ts'
import { encodeOnce } from './codec.ts'
import { isTerminal } from '../domain/event.ts'
import { Gate } from './gate.ts'
import { SLICE_EVENTS, Slices, slicesOf, wholeSlices } from './slices.ts'

/** Bytes that may wait in a reader's sink before it is sent back to the log. */
export const READER_BUFFER_BYTES_MAX = 256 * 1024
/** How often a reader gets a keep-alive, in ms. Proxies commonly cut idle streams at 30 to 60 s. */
export const KEEP_ALIVE_MS = 15_000
/** Pages of replay that all readers of one store hold at once. */
export const PAGES_AT_ONCE = 4
/** Events that a page of replay holds at least, however large they are. */
const PAGE_EVENTS_MIN = 16

const gates = new WeakMap<LogReader, Gate>()
const sliced = new WeakMap<LogReader, Slices>()

/** What the readers of `store` have encoded lately. */
function slicesFor(store: LogReader): Slices {
  const known = sliced.get(store) ?? new Slices()
  sliced.set(store, known)
  return known
}

/** The gate that all readers of `store` pass for a page. */
export function gateOf(store: LogReader): Gate {
  const known = gates.get(store) ?? new Gate(PAGES_AT_ONCE)
  gates.set(store, known)
  return known
}

/** What a tail reads and where it writes. */
export interface TailOptions {
  readonly store: LogReader
  readonly hub: Hub
  readonly clock: Clock
  readonly stream: SessionId
  readonly after: Position
  readonly codec: Codec
  readonly sink: ByteSink
  /** What is written every `KEEP_ALIVE_MS`. */
  readonly keepAlive: Uint8Array
  /** End the stream behind the first end of a run. */
  readonly untilRunEnd?: boolean
  /** Called once when the tail is over, whoever ended it. */
  readonly onClose?: () => void
  /** Called when the log cannot be read: the sink is destroyed, and the reader will come back. */
  readonly onError: (error: unknown) => void
}

/** One reader. It lives until its sink closes, or until the run's end where that was asked for. */
export class Tail {
  readonly #options: TailOptions
  #position: Position
  #closed = false
  #reading = false
  #stalled = false
  /** Something may be in the log that was not read yet. */
  #behind = true
  #pageEvents = READ_EVENTS_MAX
  #unsubscribe: () => void = () => undefined
  #cancelKeepAlive: () => void = () => undefined

  constructor(options: TailOptions) {
    this.#options = options
    this.#position = options.after
  }

  /** Position of the last event that was taken into account. */
  get position(): Position {
    return this.#position
  }

  /** Begins. The hub comes first, so that no gap opens between the log and what is live. */
  start(): void {
    const { hub, stream, sink } = this.#options
    sink.onClose(() => this.close())
    if (this.#closed) return
    sink.onDrain(() => this.#drained())
    this.#unsubscribe = hub.subscribe(stream, (batch) => this.#take(batch))
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

  #take(batch: LiveBatch): void {
    if (this.#closed || batch.to <= this.#position) return
    if (this.#behind || this.#reading || this.#stalled || batch.from !== this.#position + 1) {
      this.#behind = true
      return this.#catchUp()
    }
    if (this.#options.untilRunEnd === true && batch.events.some(isTerminal)) return this.#write(cutAfterEnd(batch))
    this.#position = batch.to
    this.#put(encodeOnce(batch, this.#options.codec))
  }

  /** Writes a batch, and ends the stream behind the end of a run where that was asked for. */
  #write(batch: EventBatch): void {
    this.#position = batch.to
    this.#put(this.#options.codec.encode(batch))
    const last = batch.events.at(-1)
    if (this.#options.untilRunEnd === true && last !== undefined && isTerminal(last)) {
      this.#options.sink.end()
      this.close()
    }
  }

  #put(bytes: Uint8Array): void {
    if (bytes.length === 0) return
    const { sink } = this.#options
    const more = sink.write(bytes)
    if (!more && sink.buffered() > READER_BUFFER_BYTES_MAX) this.#stalled = true
  }

  #drained(): void {
    if (!this.#stalled || this.#closed) return
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
    while (this.#behind && !this.#stalled && !this.#closed) {
      await gateOf(this.#options.store).run(() => this.#readPage())
      if (this.#behind) await new Promise<void>((resolve) => setImmediate(resolve))
    }
  }

  async #readPage(): Promise<void> {
    // While it waited for its turn, the reader may have gone or stalled.
    if (this.#closed || this.#stalled) return
    if (this.#replayKept()) return
    this.#behind = false
    const { store, stream } = this.#options
    const page = await store.read(stream, this.#position, this.#pageLimit())
    if (page === undefined || this.#closed) return
    for (const slice of slicesOf(stream, wholeSlices(page.events, page.head))) {
      if (this.#closed || this.#stalled) break
      this.#writeSlice(slice)
    }
    // Large events make for small pages.
    this.#pageEvents = this.#stalled ? Math.max(PAGE_EVENTS_MIN, this.#pageEvents >> 2) : Math.min(READ_EVENTS_MAX, this.#pageEvents << 1)
    if (page.head > this.#position) this.#behind = true
  }

  /** Goes on with slices that other readers have left. Answers whether there was one; then the log is looked at again. */
  #replayKept(): boolean {
    const { store, stream, codec, untilRunEnd } = this.#options
    if (untilRunEnd === true) return false
    const from = this.#position
    while (!this.#closed && !this.#stalled && this.#position - from < READ_EVENTS_MAX) {
      const bytes = slicesFor(store).get(codec.name, stream, this.#position)
      if (bytes === undefined) break
      this.#position += SLICE_EVENTS
      this.#put(bytes)
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
      for (const batch of batches) if (!this.#closed) this.#write(cutAfterEnd(batch))
      return
    }
    const after = (batches[0]?.from ?? 1) - 1
    const encoded = batches.map((batch) => codec.encode(batch))
    const bytes = encoded.length === 1 ? (encoded[0] as Uint8Array) : Buffer.concat(encoded)
    this.#position = batches.at(-1)?.to ?? after
    if (this.#position - after === SLICE_EVENTS) slicesFor(store).keep(codec.name, stream, after, bytes)
    this.#put(bytes)
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

/** The batch up to and with the first end of a run in it. */
function cutAfterEnd(batch: EventBatch): EventBatch {
  const end = batch.events.findIndex(isTerminal)
  if (end === -1 || end === batch.events.length - 1) return batch
  return { ...batch, to: batch.from + end, events: batch.events.slice(0, end + 1) }
}
