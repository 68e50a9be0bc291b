/** The ports through which everything outside is reached, so that all of it can be simulated. */

/** Time. */
export interface Clock {
  /** Milliseconds since the Unix epoch. */
  nowMs(): number
  /** Milliseconds that only grow; for durations. */
  monotonicMs(): number
  /** Resolves at `atMs` (epoch), or rejects with the signal's reason when that is aborted first. */
  sleepUntil(atMs: number, signal?: AbortSignal): Promise<void>
  /** Calls `fn` once after `delayMs`; the returned function takes it back. Does not keep the process alive. */
  after(delayMs: number, fn: () => void): () => void
  /** Resolves when what is ready now has run, and the loop has gone round once. */
  turn(): Promise<void>
}

/** Randomness and new ids. */
export interface Random {
  /** A UUID version 7 (RFC 9562). */
  uuid(): string
  /** A number in [0, 1). */
  fraction(): number
}

/** Where the program says what happens to it. Values must never hold secrets. */
export interface Telemetry {
  log(level: 'debug' | 'info' | 'warn' | 'error', message: string, fields?: Readonly<Record<string, unknown>>): void
}
