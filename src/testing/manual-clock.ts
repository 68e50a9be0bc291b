import type { Clock } from '../domain/ports.ts'

/** A clock that stands until it is moved. */
export interface ManualClock extends Clock {
  /** Moves time on and calls what is due, in order of its time. */
  advance(ms: number): void
  /** Timers that wait, for the leak tests. */
  readonly pending: number
}

/** A clock at `startMs`. */
export function manualClock(startMs = 1_700_000_000_000): ManualClock {
  let now = startMs
  let timers: { readonly atMs: number; readonly fn: () => void }[] = []
  const after = (delayMs: number, fn: () => void) => {
    const timer = { atMs: now + delayMs, fn }
    timers.push(timer)
    return () => void (timers = timers.filter((other) => other !== timer))
  }
  return {
    nowMs: () => now,
    monotonicMs: () => now - startMs,
    after,
    sleepUntil: (atMs, signal) =>
      new Promise((resolve, reject) => {
        if (signal?.aborted === true) return reject(signal.reason as Error)
        const takeBack = after(Math.max(0, atMs - now), resolve)
        signal?.addEventListener('abort', () => {
          takeBack()
          reject(signal.reason as Error)
        })
      }),
    advance(ms) {
      const until = now + ms
      for (;;) {
        const due = timers.filter(({ atMs }) => atMs <= until).toSorted((a, b) => a.atMs - b.atMs)[0]
        if (due === undefined) break
        timers = timers.filter((other) => other !== due)
        now = Math.max(now, due.atMs)
        due.fn()
      }
      now = until
    },
    turn: () => new Promise((resolve) => setImmediate(resolve)),
    get pending() {
      return timers.length
    },
  }
}
