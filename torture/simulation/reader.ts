/** A client that reads: slowly, with breaks, with a cursor; and compares each frame with what was really written. */
import type { SessionId, UserId } from '../../src/domain/ids.ts'
import type { Scope } from '../../src/testing/simulation/scheduler.ts'
import type { SeededRandom } from '../../src/testing/simulation/seeded.ts'
import type { Frame } from './frames.ts'
import type { SimulatedProcess } from './process.ts'
import type { Shape } from './shape.ts'
import type { Truth } from './truth.ts'
import { decodeFeedCursor } from '../../src/stream/feed-tail.ts'
import { SimulatedWire } from '../../src/testing/simulation/wire.ts'
import { FrameReader, PADDING_BYTES } from './frames.ts'

/** Most bytes that may wait for a reader: its limit, and what is written in one piece, a slice of a page or a commit: 48 events. */
const BUFFERED_BYTES_MAX = 256 * 1024 + 48 * (PADDING_BYTES + 2048)
/** How often a reader may have a mishap, in ms. */
const MISHAP_MS = 1_000

/** What readers share. */
export interface ReaderWorld {
  readonly network: Scope
  readonly random: SeededRandom
  readonly truth: Truth
  readonly owner: UserId
  readonly shape: () => Shape
  /** The process that takes connections now, if one does. */
  readonly server: () => SimulatedProcess | undefined
  readonly broken: (sentence: string) => void
}

/** One reader, of one session or of all. */
export class SimulatedReader {
  readonly #world: ReaderWorld
  readonly #name: string
  /** One session, or the feed. */
  readonly #stream: SessionId | undefined
  readonly #pieceBytes: number
  #cursor: string
  /** Events that it has seen: its place in the truth. */
  #seen: number
  #wire: SimulatedWire | undefined
  #process: SimulatedProcess | undefined
  #over = false
  #frames = 0

  constructor(name: string, stream: SessionId | undefined, world: ReaderWorld) {
    this.#name = name
    this.#stream = stream
    this.#world = world
    const { random, truth } = world
    // Some begin in the middle of the log.
    this.#seen = stream === undefined || random.chance(0.6) ? 0 : random.int(truth.headOf(stream) + 1)
    this.#cursor = stream === undefined ? 'f0.0' : String(this.#seen)
    this.#pieceBytes = random.pick(world.shape().largeFrames ? [30_000, 300_000] : [50, 700, 1_000_000])
    this.#connect(0)
    this.#mishaps()
  }

  /** Frames that it has read. */
  get frames(): number {
    return this.#frames
  }

  /** Whether it has seen everything. */
  get current(): boolean {
    const { truth } = this.#world
    if (this.#stream === undefined) return this.#skip(undefined) >= truth.feed.length
    // One whose session is gone has been told so when its connection ends.
    return truth.erased.has(this.#stream) ? this.#wire === undefined : this.#seen >= truth.headOf(this.#stream)
  }

  /** Where the feed goes on: a reader may have missed what was erased, up to `frame`. */
  #skip(frame: Frame | undefined): number {
    const { feed, erased } = this.#world.truth
    let at = this.#seen
    for (let next = feed[at]; next !== undefined && erased.has(next.stream); next = feed[++at]) {
      if (next.stream === frame?.stream && next.position === frame.position) break
    }
    return at
  }

  /** Where it stands, for a sentence. */
  get place(): string {
    return `${this.#name} has seen ${this.#seen} event(s), its cursor is ${this.#cursor}`
  }

  /** Reads on, whatever it did. */
  settle(): void {
    this.#wire?.flow()
  }

  /** Leaves for good. */
  leave(): void {
    this.#over = true
    this.#wire?.break()
  }

  #connect(delayMs: number): void {
    const { network, random, server, owner, truth } = this.#world
    if (this.#stream !== undefined && truth.erased.has(this.#stream)) return
    network.at(delayMs + random.between(0, 5), `${this.#name} connects`, () => {
      if (this.#over) return
      const process = server()
      if (process === undefined) return this.#connect(50)
      const frames = new FrameReader()
      const wire: SimulatedWire = new SimulatedWire({
        network,
        server: process.scope,
        random,
        latencyMs: random.pick([0, 2, 20]),
        pieceBytes: this.#pieceBytes,
        receive: (bytes) => frames.push(bytes).forEach((frame) => this.#see(frame)),
        broken: () => this.#lost(wire),
      })
      this.#wire = wire
      this.#process = process
      process.scope.at(random.between(0, 5), `${this.#name} is taken in at ${this.#cursor}`, () => {
        if (this.#stream !== undefined) return process.tail(this.#stream, Number(this.#cursor), wire)
        const cursor = decodeFeedCursor(this.#cursor)
        if (cursor === undefined) return this.#world.broken(`P3: ${this.#cursor} is no cursor`)
        process.feedTail(owner, cursor, wire)
      })
    })
  }

  #lost(wire: SimulatedWire): void {
    if (wire.mostBuffered > BUFFERED_BYTES_MAX) this.#world.broken(`P9: ${wire.mostBuffered} bytes waited for ${this.#name}`)
    if (this.#wire !== wire) return
    this.#wire = undefined
    this.#connect(this.#world.random.between(0, 100))
  }

  /** The process that it reads from is gone. */
  cutOff(process: SimulatedProcess): void {
    if (this.#process === process) this.#wire?.break()
  }

  #see(frame: Frame): void {
    const { truth, broken } = this.#world
    if (this.#stream === undefined) this.#seen = this.#skip(frame)
    const next = this.#stream === undefined ? truth.feed[this.#seen] : { stream: this.#stream, position: this.#seen + 1 }
    const where = `${this.#name} at ${frame.cursor}`
    if (truth.bodyAt(frame.stream as SessionId, frame.position) === undefined) return broken(`P2: ${where} was shown what is not written`)
    if (next === undefined || frame.stream !== next.stream || frame.position !== next.position) {
      broken(`P3: ${where} was shown ${frame.stream} ${frame.position}, next is ${next === undefined ? 'nothing' : `${next.stream} ${next.position}`}`)
    } else if (frame.body !== truth.bodyAt(next.stream, next.position)) broken(`P3: ${where} was shown another event than the log holds`)
    this.#seen++
    this.#frames++
    this.#cursor = frame.cursor
  }

  #mishaps(): void {
    const { network, random, shape } = this.#world
    network.at(random.between(0, 2 * MISHAP_MS), `${this.#name} may have a mishap`, () => {
      const { breaks, stalls } = shape()
      if (this.#over || (breaks === 0 && stalls === 0)) return
      if (random.chance(breaks)) this.#wire?.break()
      if (random.chance(stalls)) {
        const wire = this.#wire
        wire?.stall()
        network.at(random.between(0, 4_000), `${this.#name} reads on`, () => wire?.flow())
      }
      this.#mishaps()
    })
  }
}
