/**
 * Commits writes and publishes what they became: commit first, then publish (P2).
 *
 * Every write of this process goes through here, so that nothing is committed without its readers being told.
 */
import type { Write, WriteOutcome } from '../log/store.ts'
import type { Hub, LiveBatch } from '../stream/hub.ts'
import type { Store } from '../log/store.ts'

/** Sees every batch of this process right after its commit. Must not throw and must not wait. */
export type CommitListener = (batch: Omit<LiveBatch, 'encoded'>) => void

/** The one road from a write to the log and to its readers. */
export class Committer {
  readonly #store: Store
  readonly #hub: Hub
  readonly #listeners = new Set<CommitListener>()

  constructor(store: Store, hub: Hub) {
    this.#store = store
    this.#hub = hub
  }

  /** What commands may look up in the log before they are committed. */
  get log(): Pick<Store, 'read' | 'head' | 'state'> {
    return this.#store
  }

  /** Listens to all commits of this process. The returned function ends it. */
  watch(listener: CommitListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Commits `writes`, tells the readers, then resolves. @throws {ConvokeError} what `Store.commit` throws; readers then look for themselves. */
  async commit(writes: readonly Write[]): Promise<readonly WriteOutcome[]> {
    const outcomes = await this.#attempt(writes)
    for (const outcome of outcomes) this.#publish(outcome)
    return outcomes
  }

  async #attempt(writes: readonly Write[]): Promise<readonly WriteOutcome[]> {
    try {
      return await this.#store.commit(writes)
    } catch (error) {
      // A thrown error means unknown, not no: what did take effect must reach its readers now, not at their next keep-alive.
      this.#hub.doubt()
      throw error
    }
  }

  #publish(outcome: WriteOutcome): void {
    if (outcome.kind === 'erased') return this.#hub.erased(outcome.stream, outcome.owner)
    if (outcome.kind !== 'appended' || outcome.events.length === 0 || outcome.replayed) return
    const { stream, from, to, feed, atMs, events, owner } = outcome
    const batch = { stream, from, to, feed, atMs, events, owner }
    this.#hub.publish(batch)
    for (const listener of this.#listeners) listener(batch)
  }
}
