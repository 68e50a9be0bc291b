/** A socket to write to, as a stream's writer sees it: a port, so that slow readers can be simulated. */
export interface ByteSink {
  /** Takes bytes. Answers whether more may be written now; if not, `onDrain` is called later. */
  write(bytes: Uint8Array): boolean
  /** Bytes that were taken but not yet handed to the network. */
  buffered(): number
  /** Ends the stream after what was written. */
  end(): void
  /** Cuts the stream off. */
  destroy(): void
  /** Registers the one listener for "written bytes have left". */
  onDrain(listener: () => void): void
  /** Registers the one listener for the end, whoever ended it. Called once; at once if it already ended. */
  onClose(listener: () => void): void
}
