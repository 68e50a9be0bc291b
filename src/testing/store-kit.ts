/** What the parts of the conformance suite share: an open store, single writes, whole logs. */
import type { Recorded } from '../domain/event.ts'
import type { SessionId } from '../domain/ids.ts'
import type { Store, Write, WriteOutcome } from '../log/store.ts'
import type { Upkeep } from '../log/upkeep.ts'
import type { SessionReads } from '../projection/reads.ts'

/** An open store of the engine under test. */
export interface OpenedStore {
  readonly store: Store & SessionReads & Upkeep
  /** Closes it and opens the same data again. */
  reopen(): Promise<OpenedStore>
  /** Closes it and removes its data. */
  destroy(): Promise<void>
}

/** Commits one write. */
export async function one(store: Store, write: Write): Promise<WriteOutcome> {
  const [outcome] = await store.commit([write])
  if (outcome === undefined) throw new Error('a write has an outcome')
  return outcome
}

/** A whole log, read in pages of `limit`. */
export async function readAll(store: Store, stream: SessionId, limit = 7): Promise<readonly Recorded[]> {
  const events = []
  for (let after = 0; ;) {
    const page = await store.read(stream, after, limit)
    if (page === undefined || page.events.length === 0) return events
    events.push(...page.events)
    after = page.events.at(-1)?.position ?? after
  }
}
