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
  const endMs = performance.now() + ms
  for (;;) {
    const value = await found()
    if (value !== undefined) return value
    if (performance.now() > endMs) throw new Error(`${what} did not come within ${ms} ms`)
    await elapsed(LOOK_MS)
  }
}
