/**
 * Who else drives runs of this log.
 *
 * A log that one process has open has no other driver: every other number belongs to a process that is gone. In a shared one a driver says
 * at each poll that it lives, and is gone when it was silent for its time.
 */
import type { Clock } from '../domain/ports.ts'
import type { Store } from '../log/store.ts'

/** How long a process that says nothing counts as alive, in ms, where several share a log. Several polls, so that a slow one costs nothing. */
export const DRIVER_TTL_MS = 10_000

/** This process among the others. */
export class Peers {
  readonly #store: Store
  readonly #clock: Clock
  readonly #ttlMs: number

  constructor(store: Store, clock: Clock, ttlMs = DRIVER_TTL_MS) {
    this.#store = store
    this.#clock = clock
    this.#ttlMs = ttlMs
  }

  /** Says that this process lives. */
  async renew(): Promise<void> {
    await this.#store.drivers?.renew(this.#clock.nowMs() + this.#ttlMs)
  }

  /** Says that it does not drive any more: nobody need wait for its time to run out. */
  async release(): Promise<void> {
    await this.#store.drivers?.renew(0)
  }

  /** Whether a run that a commit of this process started is this process's to drive. */
  isOurs(driver: number): boolean {
    return driver === this.#store.driver || (this.#store.drivers === undefined && driver < this.#store.driver)
  }

  /** Tells of each of `drivers` (none of them this process's) whether it is gone. */
  async goneOf(drivers: readonly number[]): Promise<(driver: number) => boolean> {
    if (this.#store.drivers === undefined || drivers.length === 0) return () => true
    const gone = await this.#store.drivers.gone([...new Set(drivers)], this.#clock.nowMs())
    return (driver) => gone.has(driver)
  }
}
