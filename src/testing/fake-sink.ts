/** A peer that reads when it is told to. */
export interface FakeSink {
  /** What the peer has read, as text. */
  readonly seen: string
  readonly ended: boolean
  readonly destroyed: boolean
  /** Most bytes that ever waited. */
  readonly mostBuffered: number
  /** Stops reading: what is written waits. */
  block(): void
  /** Reads what waits, and goes on reading. */
  unblock(): void
  /** Goes away; what waits is never read. */
  vanish(): void
  write(bytes: Uint8Array): boolean
  buffered(): number
  end(): void
  destroy(): void
  onDrain(listener: () => void): void
  onClose(listener: () => void): void
}

/** A sink whose peer reads at once until it is blocked. */
export function fakeSink(): FakeSink {
  const decoder = new TextDecoder()
  let seen = ''
  let waiting: string[] = []
  let bytesWaiting = 0
  let mostBuffered = 0
  let blocked = false
  let closed = false
  let ended = false
  let destroyed = false
  let drained = () => {}
  let onClosed = () => {}
  const close = () => {
    if (closed) return
    closed = true
    onClosed()
  }
  return {
    get seen() {
      return seen
    },
    get ended() {
      return ended
    },
    get destroyed() {
      return destroyed
    },
    get mostBuffered() {
      return mostBuffered
    },
    block: () => void (blocked = true),
    unblock() {
      blocked = false
      const had = bytesWaiting > 0
      seen += waiting.join('')
      waiting = []
      bytesWaiting = 0
      if (had && !closed) drained()
    },
    vanish: close,
    write(bytes) {
      if (closed || ended) return false
      const text = decoder.decode(bytes)
      if (!blocked) {
        seen += text
        return true
      }
      waiting.push(text)
      bytesWaiting += bytes.length
      mostBuffered = Math.max(mostBuffered, bytesWaiting)
      return false
    },
    buffered: () => bytesWaiting,
    end() {
      ended = true
      close()
    },
    destroy() {
      destroyed = true
      close()
    },
    onDrain: (listener) => void (drained = listener),
    onClose: (listener) => (closed ? listener() : void (onClosed = listener)),
  }
}
