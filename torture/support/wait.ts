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
