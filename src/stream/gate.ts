/** Lets a bounded number of pieces of work run at once; the others wait in the order in which they came. */
export class Gate {
  readonly #most: number
  readonly #waiting: (() => void)[] = []
  #running = 0

  /** @param most Pieces of work that may run at once. */
  constructor(most: number) {
    this.#most = most
  }

  /** Whether somebody waits. */
  get crowded(): boolean {
    return this.#waiting.length > 0
  }

  /** Runs `work` when it is its turn. Rejects as `work` does; a failure hurts nobody who waits. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#most) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    else this.#running++
    try {
      return await work()
    } finally {
      // The place is handed on, not freed, so that nobody slips in between.
      const next = this.#waiting.shift()
      if (next === undefined) this.#running--
      else next()
    }
  }
}
