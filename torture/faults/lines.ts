/** What all parts about faults from outside need: chance with a seed, figures, and a list of what was lost. */

/** Numbers in [0, 1) that the same seed repeats (mulberry32). */
export function chance(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** Lets `ms` pass. */
export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** `work`, or a failure that names `what` when it takes longer than `ms`. */
export async function within<T>(ms: number, what: string, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`${what} took more than ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

/** `found`, as soon as it answers something; a failure that names `what` after `ms`. */
export async function eventually<T>(ms: number, what: string, found: () => Promise<T | undefined> | T | undefined): Promise<T> {
  const until = Date.now() + ms
  for (;;) {
    const value = await found()
    if (value !== undefined) return value
    if (Date.now() > until) throw new Error(`${what} did not come within ${ms} ms`)
    await pause(20)
  }
}

/** What an error says, on one line. */
export function said(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? ` (${error.cause.message})` : ''
  return `${error instanceof Error ? error.message : String(error)}${cause}`.replaceAll('\n', ' ').slice(0, 400)
}

/** Things to undo at the end of a part, last first, each of them even where another fails. */
export class Undo {
  readonly #steps: (() => unknown)[] = []

  add(step: () => unknown): void {
    this.#steps.push(step)
  }

  async run(): Promise<void> {
    for (const step of this.#steps.splice(0).toReversed()) {
      try {
        await step()
      } catch (error) {
        console.error(`   cleaning up failed: ${said(error)}`)
      }
    }
  }
}
