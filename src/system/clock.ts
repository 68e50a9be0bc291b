import type { Clock } from '../domain/ports.ts'

/** Longest delay that one Node timer can take, in ms; longer sleeps are made of several. */
const TIMER_MS_MAX = 2_147_483_647

/** The machine's clock and timers. */
export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  async sleepUntil(atMs, signal) {
    for (let left = atMs - Date.now(); left > 0; left = atMs - Date.now()) await sleep(Math.min(left, TIMER_MS_MAX), signal)
    signal?.throwIfAborted()
  },
  after(delayMs, fn) {
    let timer: NodeJS.Timeout
    const wait = (leftMs: number) => {
      timer = setTimeout(() => (leftMs > TIMER_MS_MAX ? wait(leftMs - TIMER_MS_MAX) : fn()), Math.min(leftMs, TIMER_MS_MAX))
      timer.unref()
    }
    wait(Math.max(0, delayMs))
    return () => clearTimeout(timer)
  },
  turn: () => new Promise((resolve) => setImmediate(resolve)),
}

function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted === true) return reject(signal.reason as Error)
    const done = () => {
      signal?.removeEventListener('abort', stop)
      resolve()
    }
    const timer = setTimeout(done, ms)
    const stop = () => {
      clearTimeout(timer)
      reject(signal?.reason as Error)
    }
    signal?.addEventListener('abort', stop, { once: true })
  })
}
