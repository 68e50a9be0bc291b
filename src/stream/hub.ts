/**
 * The hub hands committed batches to readers in this process.
 *
 * Only a hint: it may lose a batch (a crash between commit and publish), and every reader compares positions and heads. It never
 * shows what is not committed (P2), since it is called with outcomes of commits only.
 */
import type { LogBatch } from '../log/store.ts'
import type { SessionId, UserId } from '../domain/ids.ts'

/** A committed batch on its way to readers, with what it was encoded to, so that each encoding is made once. */
export interface LiveBatch extends LogBatch {
  readonly owner: UserId
  /** Encodings by codec name. */
  readonly encoded: Map<string, Uint8Array>
}

/** Gets batches of the streams that it subscribed to, in the order of their commits. Must not throw and must not wait. */
export type BatchListener = (batch: LiveBatch) => void

/** Readers by stream and by owner. */
export class Hub {
  readonly #streams = new Map<SessionId, Set<BatchListener>>()
  readonly #owners = new Map<UserId, Set<BatchListener>>()
  readonly #doubters = new Set<() => void>()

  /** Hands `batch` to whoever reads its stream or all streams of its owner. Empty batches are dropped. */
  publish(batch: Omit<LiveBatch, 'encoded'>): void {
    if (batch.events.length === 0) return
    const ofStream = this.#streams.get(batch.stream)
    const ofOwner = this.#owners.get(batch.owner)
    if (ofStream === undefined && ofOwner === undefined) return
    const live: LiveBatch = { ...batch, encoded: new Map() }
    // A listener may unsubscribe itself or others while it is called: a Set allows that.
    if (ofStream !== undefined) for (const listener of ofStream) listener(live)
    if (ofOwner !== undefined) for (const listener of ofOwner) listener(live)
  }

  /** Hints that a stream has been erased: whoever reads it looks at the log, and finds nothing. */
  erased(stream: SessionId, owner: UserId): void {
    const end = Number.MAX_SAFE_INTEGER
    const hint: LiveBatch = { stream, owner, from: end, to: end, feed: 0, atMs: 0, events: [], encoded: new Map() }
    for (const listener of this.#streams.get(stream) ?? []) listener(hint)
  }

  /** Listens to one stream. The returned function ends it. */
  subscribe(stream: SessionId, listener: BatchListener): () => void {
    return add(this.#streams, stream, listener)
  }

  /** Listens to all streams of `owner`, those to come too. The returned function ends it. */
  subscribeOwner(owner: UserId, listener: BatchListener): () => void {
    return add(this.#owners, owner, listener)
  }

  /** Tells every reader that something may have been committed of which nobody knows what: they compare with the log. */
  doubt(): void {
    for (const listener of this.#doubters) listener()
  }

  /** Listens for doubt. Must not throw and must not wait. The returned function ends it. */
  onDoubt(listener: () => void): () => void {
    this.#doubters.add(listener)
    return () => this.#doubters.delete(listener)
  }

  /** How many listeners there are, those for doubt too, for the leak tests. */
  get listenerCount(): number {
    let count = this.#doubters.size
    for (const set of [...this.#streams.values(), ...this.#owners.values()]) count += set.size
    return count
  }
}

function add<Key>(map: Map<Key, Set<BatchListener>>, key: Key, listener: BatchListener): () => void {
  const set = map.get(key) ?? new Set()
  map.set(key, set)
  set.add(listener)
  return () => {
    set.delete(listener)
    if (set.size === 0 && map.get(key) === set) map.delete(key)
  }
}
