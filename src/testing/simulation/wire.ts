/** A connection between a server's stream and a client, under a seeded scheduler: it has a speed, it may stall, and it breaks in the middle of a frame. */
import type { Scope } from './scheduler.ts'
import type { SeededRandom } from './seeded.ts'

/** Bytes from which a sink says that it is full, as Node's sockets do. */
const HIGH_WATER_BYTES = 16 * 1024

/** What a wire is made of. */
export interface WireOptions {
  /** The network: it outlives servers. */
  readonly network: Scope
  /** The process that writes: what it is told, it hears only while it lives. */
  readonly server: Scope
  readonly random: SeededRandom
  /** Longest time of a piece on its way, in ms. */
  readonly latencyMs: number
  /** Bytes that arrive at once, at most. */
  readonly pieceBytes: number
  readonly receive: (bytes: Uint8Array) => void
  /** The client has noticed that the connection is gone. */
  readonly broken: () => void
}

/** One connection. The server's side is a `ByteSink`. */
export class SimulatedWire {
  readonly #options: WireOptions
  #queue: Uint8Array[] = []
  #bytes = 0
  #most = 0
  #stalled = false
  #moving = false
  #full = false
  #ending = false
  #closed = false
  #drained: () => void = () => undefined
  #onClosed: () => void = () => undefined

  constructor(options: WireOptions) {
    this.#options = options
  }

  /** Most bytes that ever waited. */
  get mostBuffered(): number {
    return this.#most
  }

  get closed(): boolean {
    return this.#closed
  }

  /** The client stops reading. */
  stall(): void {
    this.#stalled = true
  }

  /** The client reads on. */
  flow(): void {
    this.#stalled = false
    this.#move()
  }

  /** The connection is gone, for whatever reason; what was on its way arrives up to a byte that chance picks. */
  break(): void {
    if (this.#closed) return
    const { random, receive } = this.#options
    const next = this.#queue[0]
    if (!this.#stalled && next !== undefined) receive(next.subarray(0, random.int(next.length + 1)))
    this.#close()
  }

  write(bytes: Uint8Array): boolean {
    if (this.#closed || this.#ending) return false
    this.#queue.push(bytes)
    this.#bytes += bytes.length
    this.#most = Math.max(this.#most, this.#bytes)
    this.#move()
    this.#full = this.#bytes > HIGH_WATER_BYTES
    return !this.#full
  }

  buffered(): number {
    return this.#bytes
  }

  end(): void {
    this.#ending = true
    if (this.#bytes === 0) this.#close()
  }

  destroy(): void {
    this.break()
  }

  onDrain(listener: () => void): void {
    this.#drained = listener
  }

  onClose(listener: () => void): void {
    if (this.#closed) listener()
    else this.#onClosed = listener
  }

  #move(): void {
    if (this.#moving || this.#stalled || this.#closed || this.#bytes === 0) return
    this.#moving = true
    const { network, random, latencyMs } = this.#options
    network.at(random.between(0, latencyMs), 'a piece arrives', () => {
      this.#moving = false
      if (this.#closed || this.#stalled) return
      this.#arrive()
      this.#move()
    })
  }

  #arrive(): void {
    const { receive, pieceBytes, server } = this.#options
    for (let room = pieceBytes; room > 0 && this.#queue.length > 0;) {
      const next = this.#queue[0] as Uint8Array
      const piece = next.subarray(0, room)
      if (piece.length === next.length) this.#queue.shift()
      else this.#queue[0] = next.subarray(piece.length)
      room -= piece.length
      this.#bytes -= piece.length
      receive(piece)
    }
    if (this.#bytes > 0) return
    if (this.#ending) this.#close()
    else if (this.#full) {
      this.#full = false
      server.at(0, 'a sink has drained', () => this.#closed || this.#drained())
    }
  }

  #close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#queue = []
    this.#bytes = 0
    const { server, network, broken, random, latencyMs } = this.#options
    server.at(0, 'a sink is closed', () => this.#onClosed())
    network.at(random.between(0, latencyMs), 'a connection is gone', broken)
  }
}
