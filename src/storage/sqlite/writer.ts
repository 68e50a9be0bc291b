/**
 * The writer: the only one that changes the database. Synchronous; runs in a worker thread, or on the loop in simulations.
 *
 * W1. One commit is one transaction: BEGIN IMMEDIATE, the writes in order, COMMIT with an fsync of the WAL.
 * W2. A write is decided before anything of it is written, so a refusal leaves no trace.
 * W3. Row = fold(log): the stream's row and the projections are written from the fold of the events in the same transaction.
 * W4. In a shared file, what another process committed since the last commit of this one is read anew before anything is decided.
 */
import { statSync } from 'node:fs'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import type { AppendWrite, EraseWrite, Idempotency, Write, WriteOutcome } from '../../log/store.ts'
import type { ForkSession } from '../../domain/command.ts'
import type { ForkSource } from '../../domain/decide-fork.ts'
import type { HotStream } from './hot.ts'
import { ConvokeError } from '../../domain/errors.ts'
import { applyWrite, refuseErase } from '../../log/apply.ts'
import { summarize } from '../../projection/session-summary.ts'
import { messageOf } from '../../projection/transcript.ts'
import { leaveMark, requireNewest, requireWhole } from './damage.ts'
import { Eraser } from './erase.ts'
import { HotStreams } from './hot.ts'
import { FEED, FEED_HEAD, lifeOf, pragma } from './meta.ts'
import { keepFormat } from './maintenance/keep-format.ts'
import { refold } from './maintenance/refold.ts'
import { migrate } from './migrate.ts'
import { encodeEvents } from './rows.ts'
import { Packer } from './packer.ts'
import { Segments, type Piece } from './segments.ts'
import { StreamRows } from './stream-rows.ts'

/** Size of the WAL from which it is copied back, in bytes. */
const CHECKPOINT_BYTES = 16 * 1024 * 1024
/** Idempotency records that one prune removes at most. */
const PRUNE_MAX = 10_000
/** Memory for pages, in KiB. */
const CACHE_KIB = 16 * 1024

/** How long a statement waits for another process, in ms. */
const BUSY_MS = 5000
/** Pages that one step gives back: 1 MiB. Fewer free ones are left for what comes. */
const RELEASE_PAGES = 256
/** Part of the file that may be free. */
const RELEASE_SHARE = 8
/** SQLite's number for files whose free pages can be given back in steps (sqlite.org/pragma.html#pragma_auto_vacuum). */
const INCREMENTAL = 2

/** A write whose events may be encoded already. */
export type EncodedWrite = Write & { readonly body?: string }

/** Where the log is, and whether other processes write it too. */
export interface WriterOptions {
  readonly file: string
  /** Name of the log, if the file is new. */
  readonly newLogId: string
  readonly shared: boolean
}

type Appended = Extract<WriteOutcome, { kind: 'appended' }>
type Erased = Extract<WriteOutcome, { kind: 'erased' }>

interface Fork {
  readonly at: number
  readonly pieces: readonly Piece[]
  readonly source?: ForkSource
}

/** Opens the database for writing, migrates it and raises the driver number. */
export class Writer {
  readonly logId: string
  readonly driver: number
  readonly #file: string
  readonly #db: DatabaseSync
  readonly #hot = new HotStreams()
  readonly #dirty = new Set<HotStream>()
  readonly #rows: StreamRows
  readonly #segments: Segments
  readonly #eraser: Eraser
  readonly #packer: Packer
  readonly #insertBatch: StatementSync
  readonly #findKey: StatementSync
  readonly #insertKey: StatementSync
  readonly #dataVersion: StatementSync | undefined
  #seenVersion = -1
  #feed = 0

  constructor({ file, newLogId, shared }: WriterOptions) {
    this.#file = file
    // Beside another process that writes, the log is never whole for two looks at it.
    if (!shared) requireWhole(file)
    this.#db = new DatabaseSync(file, { timeout: BUSY_MS })
    // Only a file without tables takes this; an older one gets it when it is rewritten (`db compact`).
    if (pragma(this.#db, 'page_count') === 0) this.#db.exec(`PRAGMA auto_vacuum = ${INCREMENTAL}`)
    // locking_mode stays NORMAL: readers of this process have their own connections.
    this.#db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA cache_size = -${CACHE_KIB}`)
    // What is removed is overwritten: an erased session must not be found in the free pages of the file.
    this.#db.exec('PRAGMA secure_delete = ON')
    // The file shrinks when the WAL begins anew, so that its size says how much of it is in use. @see checkpoint
    this.#db.exec('PRAGMA journal_size_limit = 0')
    requireDurable(this.#db)
    if (!shared) keepFormat(this.#db, file)
    migrate(this.#db)
    if (!shared) requireNewest(file, this.#valueOf('log_id') ?? newLogId, Number(this.#valueOf('driver') ?? 0))
    refold(this.#db)
    this.#db.exec('BEGIN IMMEDIATE')
    this.logId = this.#meta('log_id', () => newLogId)
    this.driver = Number(this.#meta('driver', (before) => String(Number(before ?? 0) + 1)))
    this.#db.exec('COMMIT')
    if (!shared) leaveMark(file, this.logId, this.driver)
    this.#dataVersion = shared ? this.#db.prepare('PRAGMA data_version') : undefined
    this.#readFeed()
    this.#rows = new StreamRows(this.#db)
    this.#segments = new Segments(this.#db)
    this.#eraser = new Eraser(this.#db)
    this.#packer = new Packer(this.#db)
    this.#insertBatch = this.#db.prepare('INSERT INTO batch (feed, segment, first, last, at_ms, body) VALUES (?, ?, ?, ?, ?, ?)')
    this.#findKey = this.#db.prepare('SELECT fingerprint, outcome FROM idempotency WHERE scope = ? AND key = ?')
    this.#insertKey = this.#db.prepare('INSERT INTO idempotency (scope, key, fingerprint, at_ms, outcome) VALUES (?, ?, ?, ?, ?)')
  }

  /**
   * Commits.
   *
   * @throws {ConvokeError} `store_unknown`; then everything in memory was dropped and is read anew. `store_failed` where the disk failed:
   *   after a failed fsync nobody knows what the disk holds, and trying again would hide it.
   */
  commit(writes: readonly EncodedWrite[]): readonly WriteOutcome[] {
    const feedBefore = this.#feed
    try {
      this.#db.exec('BEGIN IMMEDIATE')
      this.#meetOthers()
      const outcomes = writes.map((write) => this.#write(write))
      for (const stream of this.#dirty) this.#rows.save(stream)
      this.#db.exec('COMMIT')
      this.#dirty.clear()
      this.#hot.trim()
      return outcomes
    } catch (error) {
      this.#feed = feedBefore
      this.#dirty.clear()
      this.#hot.clear()
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
      throw failureOf(error)
    }
  }

  /** In a shared log: says that this driver lives until `untilMs`. */
  renewDriver(untilMs: number): void {
    this.#alone(() => this.#setMeta(lifeOf(this.driver), String(untilMs)))
  }

  /** Removes a bounded part of what erased sessions left. Answers whether there is more. */
  sweep(): boolean {
    const { more, finished } = this.#alone(() => this.#eraser.sweep())
    // What was removed still stands in the log of writes.
    if (finished) this.#cutWal()
    return more
  }

  /** Gives a bounded part of the free pages back, where there are many. Answers whether there may be more. */
  release(): boolean {
    const isMany = () => pragma(this.#db, 'freelist_count') >= Math.max(RELEASE_PAGES, pragma(this.#db, 'page_count') / RELEASE_SHARE)
    if (pragma(this.#db, 'auto_vacuum') !== INCREMENTAL || !isMany()) return false
    this.#alone(() => this.#db.exec(`PRAGMA incremental_vacuum(${RELEASE_PAGES})`))
    return isMany()
  }

  /** Packs a bounded part of a run that ended before `beforeMs`. Answers whether there may be more. */
  pack(beforeMs: number): boolean {
    return this.#alone(() => {
      const due = this.#packer.due(beforeMs)
      if (due === undefined) return false
      const id = this.#packer.sessionOf(due)
      if (id !== undefined) this.#packer.pack(due, this.#load(id))
      return true
    })
  }

  /** The files of an erased session are gone, where forks still read its segment up to `upTo`; 0 for nobody. */
  forgetLeftover(id: string, upTo: number): void {
    this.#alone(() => this.#eraser.forgetLeftover(id, upTo))
  }

  /** Runs `work` in a transaction of its own. */
  #alone<T>(work: () => T): T {
    try {
      this.#db.exec('BEGIN IMMEDIATE')
      this.#meetOthers()
      const result = work()
      this.#db.exec('COMMIT')
      return result
    } catch (error) {
      this.#hot.clear()
      if (this.#db.isTransaction) this.#db.exec('ROLLBACK')
      throw failureOf(error)
    }
  }

  /** A reader may be in the way, or the disk full: then it goes with the next copy. @throws {ConvokeError} `store_failed` for a broken disk */
  #cutWal(): void {
    // A long look of another process must not hold commits up.
    this.#db.exec('PRAGMA busy_timeout = 0')
    try {
      this.checkpoint('TRUNCATE')
    } catch (error) {
      if (isDiskFailure(error)) throw failureOf(error)
    } finally {
      this.#db.exec(`PRAGMA busy_timeout = ${BUSY_MS}`)
    }
  }

  /** Copies the WAL back when it has grown large. Call it between commits. */
  checkpoint(mode: 'PASSIVE' | 'TRUNCATE' = 'PASSIVE'): void {
    const size = statSync(`${this.#file}-wal`, { throwIfNoEntry: false })?.size ?? 0
    if (mode === 'TRUNCATE' || size > CHECKPOINT_BYTES) this.#db.exec(`PRAGMA wal_checkpoint(${mode})`)
  }

  /** Forgets idempotency records older than `beforeMs`, a bounded number. Answers how many. */
  pruneIdempotency(beforeMs: number): number {
    const statement = this.#db.prepare(
      'DELETE FROM idempotency WHERE (scope, key) IN (SELECT scope, key FROM idempotency WHERE at_ms < ? ORDER BY at_ms LIMIT ?)',
    )
    return this.#alone(() => Number(statement.run(beforeMs, PRUNE_MAX).changes))
  }

  close(): void {
    if (!this.#db.isOpen) return
    try {
      this.checkpoint('TRUNCATE')
    } finally {
      this.#db.close()
    }
  }

  /** W4. @see sqlite.org/pragma.html#pragma_data_version */
  #meetOthers(): void {
    if (this.#dataVersion === undefined) return
    const { data_version: version } = this.#dataVersion.get() as { data_version: number }
    if (version === this.#seenVersion) return
    this.#seenVersion = version
    this.#hot.clear()
    this.#readFeed()
  }

  #readFeed(): void {
    this.#feed = (this.#db.prepare(FEED_HEAD).get() as { feed: number }).feed
  }

  #write(write: EncodedWrite): WriteOutcome {
    const idempotency = write.kind === 'record' ? undefined : write.idempotency
    const repeated = idempotency === undefined ? undefined : this.#repeat(idempotency)
    if (repeated !== undefined) return repeated
    const outcome = write.kind === 'erase' ? this.#erase(write) : this.#apply(write)
    if (idempotency !== undefined && (outcome.kind === 'appended' || outcome.kind === 'erased')) this.#remember(idempotency, outcome)
    return outcome
  }

  #apply(write: AppendWrite & EncodedWrite): WriteOutcome {
    const stream = this.#load(write.stream)
    const fork = write.kind === 'decide' && write.command.type === 'ForkSession' ? this.#forkOf(write.command) : undefined
    const head = fork === undefined ? stream.head : fork.at
    const applied = applyWrite(stream.state, head, write, fork?.source)
    if (applied.kind !== 'apply') return applied
    if (fork !== undefined) stream.base = fork.at
    const run = stream.state?.run
    const from = head + 1
    const to = head + applied.events.length
    const owner = applied.state?.owner
    if (owner === undefined) throw new Error('a write was applied to a stream without an owner')
    const feed = to < from ? 0 : ++this.#feed
    const { events, reply } = applied
    const outcome: Appended = { kind: 'appended', stream: write.stream, from, to, feed, events, atMs: write.atMs, owner, reply, replayed: false }
    if (to >= from) this.#append(stream, write, outcome, applied.state)
    if (fork !== undefined && stream.key !== undefined) this.#rows.inherit(stream.key, fork.pieces)
    if (run !== undefined && stream.key !== undefined && applied.state?.run?.id !== run.id) this.#packer.note(write.atMs, stream.key, run.startedAt, to)
    return outcome
  }

  #erase(write: EraseWrite): WriteOutcome {
    const stream = this.#load(write.stream)
    const { state, summary } = stream
    const refused = refuseErase(state, summary?.updatedAtMs ?? 0, write)
    if (refused !== undefined || state === undefined) return refused ?? { kind: 'refused', code: 'not_found', message: 'session not found' }
    const receipt = this.#eraser.erase(write.stream, stream, write.files ?? { workspace: 0, outputs: 0 })
    this.#dirty.delete(stream)
    this.#hot.delete(write.stream)
    // Feed numbers go on where they were, also when the last rows are gone.
    this.#setMeta(FEED, String(this.#feed))
    return { kind: 'erased', stream: write.stream, owner: state.owner, atMs: write.atMs, receipt, replayed: false }
  }

  /** What a fork inherits, and what is to be decided about: nothing where there is no such session. */
  #forkOf({ origin, at }: ForkSession): Fork {
    const { key, base, head, state, summary } = this.#load(origin)
    if (key === undefined || state === undefined || summary === undefined) return { at, pieces: [] }
    const pieces = this.#segments.inheritedAt({ key, base }, Math.min(at, head), summary.messageCount)
    const { title, cwd, messageCount } = summary
    const messages = pieces.at(-1)?.messages ?? messageCount
    return { at, pieces, source: { state, head, title, messages, segments: pieces.length, ...(cwd === undefined ? {} : { cwd }) } }
  }

  #load(id: string): HotStream {
    const hot = this.#hot.get(id)
    if (hot !== undefined) return hot
    const stream = this.#rows.load(id)
    this.#hot.set(id, stream)
    return stream
  }

  #append(stream: HotStream, write: EncodedWrite, outcome: Appended, state: HotStream['state']): void {
    stream.state = state
    stream.head = outcome.to
    this.#rows.addPlace(stream, outcome.from, outcome.feed)
    stream.key ??= this.#rows.insert(write.stream, stream)
    this.#insertBatch.run(outcome.feed, stream.key, outcome.from, outcome.to, write.atMs, write.body ?? encodeEvents(outcome.events))
    outcome.events.forEach((event, index) => {
      const recorded = { position: outcome.from + index, atMs: write.atMs, event }
      const message = messageOf(recorded)
      if (message !== undefined) this.#rows.addMessage(stream, message)
      stream.summary = summarize(write.stream, stream.summary, recorded)
    })
    this.#dirty.add(stream)
  }

  #repeat(idempotency: Idempotency): WriteOutcome | undefined {
    const row = this.#findKey.get(idempotency.scope, idempotency.key) as { fingerprint: string; outcome: string } | undefined
    if (row === undefined) return undefined
    if (row.fingerprint !== idempotency.fingerprint) {
      return { kind: 'refused', code: 'idempotency_key_reused', message: 'this idempotency key was used with another body' }
    }
    return { ...(JSON.parse(row.outcome) as Appended | Erased), replayed: true }
  }

  #remember(idempotency: Idempotency, outcome: Appended | Erased): void {
    const { scope, key, fingerprint } = idempotency
    this.#insertKey.run(scope, key, fingerprint, outcome.atMs, JSON.stringify(outcome.kind === 'erased' ? outcome : { ...outcome, events: [] }))
  }

  #valueOf(name: string): string | undefined {
    return (this.#db.prepare('SELECT value FROM meta WHERE name = ?').get(name) as { value: string } | undefined)?.value
  }

  #meta(name: string, next: (before: string | undefined) => string): string {
    const before = this.#valueOf(name)
    if (name === 'log_id' && before !== undefined) return before
    const value = next(before)
    this.#setMeta(name, value)
    return value
  }

  #setMeta(name: string, value: string): void {
    this.#db.prepare('INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value').run(name, value)
  }
}

/** Some file systems cannot keep a write-ahead log, and SQLite then goes on without one and without a word. @throws {ConvokeError} `store_failed` */
function requireDurable(db: DatabaseSync): void {
  const { journal_mode: mode } = db.prepare('PRAGMA journal_mode').get() as { journal_mode: string }
  const { synchronous } = db.prepare('PRAGMA synchronous').get() as { synchronous: number }
  // 2 is FULL: an fsync of the WAL in each commit (sqlite.org/pragma.html).
  if (mode !== 'wal' || synchronous !== 2)
    throw new ConvokeError('store_failed', `the log cannot be kept durably here: journal ${mode}, synchronous ${synchronous}`)
}

function failureOf(error: unknown): ConvokeError {
  const message = error instanceof Error ? error.message : String(error)
  return new ConvokeError(isDiskFailure(error) ? 'store_failed' : 'store_unknown', `the log could not be written: ${message}`, { cause: error })
}

/** SQLite's codes for an input or output error, a damaged file, and one that is no database. A full disk is none of them: it may have room again. */
const DISK_FAILURES: ReadonlySet<number> = new Set([10, 11, 26])

function isDiskFailure(error: unknown): boolean {
  const code = error instanceof Error && 'errcode' in error ? error.errcode : undefined
  // The low byte is the primary code (sqlite.org/rescode.html).
  return typeof code === 'number' && DISK_FAILURES.has(code & 0xff)
}
