/** Held by one at a time, in the order of asking. What holds the voice of an invocation: see `speech.ts`. */
export class Voice {
  #free: Promise<void> = Promise.resolve()

  /** Resolves when nobody else speaks, with what lets the next one speak. */
  async acquire(): Promise<() => void> {
    const before = this.#free
    let release: () => void = () => undefined
    this.#free = new Promise((resolve) => (release = resolve))
    await before
    return release
  }

  /** Does `work` while nobody else speaks. */
  async hold<T>(work: () => Promise<T>): Promise<T> {
    const release = await this.acquire()
    try {
      return await work()
    } finally {
      release()
    }
  }
}
