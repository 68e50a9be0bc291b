/** Lets a test wait for what arrives piece by piece, without polling. */
export interface Arrivals {
  /** Something has come, or nothing more will. */
  readonly wake: () => void
  /** Resolves at the next `wake`. */
  readonly next: () => Promise<void>
}

/** Nobody waits yet. */
export function arrivals(): Arrivals {
  let waiting: (() => void)[] = []
  return {
    wake() {
      const woken = waiting
      waiting = []
      for (const tell of woken) tell()
    },
    next: () => new Promise((resolve) => waiting.push(resolve)),
  }
}
