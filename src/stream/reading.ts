/**
 * What all readers of the log do beside their sinks: read page after page while they are behind, stop while the sink is full, write into
 * silence, and end with the sink.
 *
 * G1. One page at a time; the loop runs between pages, and `PAGES_AT_ONCE` bounds those that all readers of a store hold at once: replays
 *     are fair, and their memory does not grow with the number of readers.
 * G2. A sink that holds more than `READER_BUFFER_BYTES_MAX` gets nothing until it drains; then the log is read again (promise P9).
 * G3. At each keep-alive the log is looked at, so that a lost hint heals itself.
 */
import type { Clock } from '../domain/ports.ts'
import type { LogReader } from './log-reader.ts'
import type { ByteSink } from './sink.ts'
import { Gate } from './gate.ts'

/** Bytes that may wait in a reader's sink before it is sent back to the log. */
export const READER_BUFFER_BYTES_MAX = 256 * 1024
/** How often a reader gets a keep-alive, in ms. Proxies commonly cut idle streams at 30 to 60 s. */
export const KEEP_ALIVE_MS = 15_000
/** Pages of replay that all readers of one store hold at once. */
export const PAGES_AT_ONCE = 4

/** What every reader is given. */
export interface ReaderOptions {
  readonly store: LogReader
  readonly clock: Clock
  readonly sink: ByteSink
  /** What is written every `KEEP_ALIVE_MS`. */
  readonly keepAlive: Uint8Array
  /** Called once when the reader is over, whoever ended it. */
  readonly onClose?: () => void
  /** Called when the log cannot be read: the sink is destroyed, and the reader will come back. */
  readonly onError: (error: unknown) => void
}

/** The part of a reader that is its own. */
export interface Pages {
  /** Reads one page and writes it, from where the reader stands. Answers whether there may be more already. */
  readPage(): Promise<boolean>
  /** Listens for what is committed. The returned function ends it. */
  subscribe(): () => void
}

const gates = new WeakMap<LogReader, Gate>()

/** The gate that all readers of `store` pass for a page. */
function gateOf(store: LogReader): Gate {
  const known = gates.get(store) ?? new Gate(PAGES_AT_ONCE)
  gates.set(store, known)
  return known
}

/** One reader's life. */
export class Reading {
  readonly #options: ReaderOptions
  readonly #pages: Pages
  #closed = false
  #reading = false
  #stalled = false
  /** Something may be in the log that was not read yet. */
  #behind = true
  #unsubscribe: () => void = () => undefined
  #cancelKeepAlive: () => void = () => undefined

  constructor(options: ReaderOptions, pages: Pages) {
    this.#options = options
    this.#pages = pages
  }

  /** Begins. The subscription comes first, so that no gap opens between the log and what is live. */
  start(): void {
    const { sink } = this.#options
    sink.onClose(() => this.close())
    if (this.#closed) return
    sink.onDrain(() => this.#drained())
    // A sink may have had a reader before, and be full of what that one wrote.
    this.#stalled = sink.buffered() > READER_BUFFER_BYTES_MAX
    this.#unsubscribe = this.#pages.subscribe()
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

  get closed(): boolean {
    return this.#closed
  }

  /** Whether the reader must write nothing now. */
  get halted(): boolean {
    return this.#closed || this.#stalled
  }

  get stalled(): boolean {
    return this.#stalled
  }

  /** Whether nothing stands between the reader and what is live. */
  get current(): boolean {
    return !this.#behind && !this.#reading && !this.#stalled
  }

  /** There is more in the log. */
  behind(): void {
    this.#behind = true
    this.#catchUp()
  }

  /** Writes to the sink, and stalls when it is full. */
  put(bytes: Uint8Array): void {
    if (bytes.length === 0) return
    const { sink } = this.#options
    if (!sink.write(bytes) && sink.buffered() > READER_BUFFER_BYTES_MAX) this.#stalled = true
  }

  /** Ends the stream behind what was written. */
  end(): void {
    this.#options.sink.end()
    this.close()
  }

  #drained(): void {
    if (!this.#stalled || this.#closed) return
    this.#stalled = false
    this.behind()
  }

  #catchUp(): void {
    if (this.#reading || this.halted) return
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
    while (this.#behind && !this.halted) {
      const gate = gateOf(this.#options.store)
      await gate.run(async () => {
        await this.#readPage()
        // Within the gate: a page that was at hand takes no turn of the loop, and all who wait would read theirs before anybody else is heard.
        if (this.#behind || gate.crowded) await this.#options.clock.turn()
      })
    }
  }

  async #readPage(): Promise<void> {
    // While it waited for its turn, the reader may have gone or stalled.
    if (this.halted) return
    this.#behind = false
    if (await this.#pages.readPage()) this.#behind = true
  }

  #keepAlive(): void {
    this.#cancelKeepAlive = this.#options.clock.after(KEEP_ALIVE_MS, () => {
      if (this.#closed) return
      if (!this.#stalled) this.#options.sink.write(this.#options.keepAlive)
      this.behind()
      this.#keepAlive()
    })
  }
}
