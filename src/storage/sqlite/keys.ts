import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { Idempotency, WriteOutcome } from '../../log/store.ts'

/** Records that one prune removes at most. */
const PRUNE_MAX = 10_000

type Kept = Extract<WriteOutcome, { kind: 'appended' | 'erased' }>

/** Idempotency records; every call stands inside the writer's transaction. */
export class Keys {
  readonly #find: StatementSync
  readonly #insert: StatementSync
  readonly #prune: StatementSync

  constructor(db: DatabaseSync) {
    this.#find = db.prepare('SELECT fingerprint, outcome FROM idempotency WHERE scope = ? AND key = ?')
    this.#insert = db.prepare('INSERT INTO idempotency (scope, key, fingerprint, at_ms, outcome) VALUES (?, ?, ?, ?, ?)')
    this.#prune = db.prepare('DELETE FROM idempotency WHERE (scope, key) IN (SELECT scope, key FROM idempotency WHERE at_ms < ? ORDER BY at_ms LIMIT ?)')
  }

  /** What the key's first write answered, or its refusal; `undefined` for a key that is new. */
  repeat({ scope, key, fingerprint }: Idempotency): WriteOutcome | undefined {
    const row = this.#find.get(scope, key) as { fingerprint: string; outcome: string } | undefined
    if (row === undefined) return undefined
    if (row.fingerprint !== fingerprint) {
      return { kind: 'refused', code: 'idempotency_key_reused', message: 'this idempotency key was used with another body' }
    }
    return { ...(JSON.parse(row.outcome) as Kept), replayed: true }
  }

  /** Keeps ids and positions, not events: each dialect shapes its answer from them. */
  remember({ scope, key, fingerprint }: Idempotency, outcome: Kept): void {
    this.#insert.run(scope, key, fingerprint, outcome.atMs, JSON.stringify(outcome.kind === 'erased' ? outcome : { ...outcome, events: [] }))
  }

  /** Forgets records older than `beforeMs`, a bounded number. Answers how many. */
  prune(beforeMs: number): number {
    return Number(this.#prune.run(beforeMs, PRUNE_MAX).changes)
  }
}
