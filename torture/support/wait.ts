/** Waiting for real processes. */

/** How often something is looked at, in ms. */
const LOOK_MS = 10

/** Resolves after `ms`. */
export function elapsed(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

/** Looks until `holds` answers true, or `withinMs` are over; answers whether it did. */
export async function untilTrue(withinMs: number, holds: () => boolean): Promise<boolean> {
  const endMs = performance.now() + withinMs
  while (!holds()) {
    if (performance.now() >= endMs) return false
    await elapsed(LOOK_MS)
  }
  return true
}

/** Whether `work` is over, one way or the other, within `withinMs`. */
export async function settlesWithin(withinMs: number, work: Promise<unknown>): Promise<boolean> {
  let done = false
  const over = () => void (done = true)
  work.then(over, over)
  return untilTrue(withinMs, () => done)
}
