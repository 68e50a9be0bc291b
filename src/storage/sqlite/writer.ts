/**
 * The writer: the only one that changes the database. Synchronous; runs in a worker thread, or on the loop in simulations.
 *
 * W1. One commit is one transaction: BEGIN IMMEDIATE, the writes in order, COMMIT with an fsync of the WAL.
 * W2. A write is decided before anything of it is written, so a refusal leaves no trace.
 * W3. Row = fold(log): the stream's row and the projections are written from the fold of the events in the same transaction.
 * W4. In a shared file, what another process committed since the last commit of this one is read anew before anything is decided.
 */
import { statSync } from 'node:fs'
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import type { AppendWrite, EraseWrite, Write, WriteOutcome } from '../../log/store.ts'
import type { ForkSession } from '../../domain/command.ts'
import type { ForkSource } from '../../domain/decide-fork.ts'
import type { HotStream } from './hot.ts'
import { applyWrite, refuseErase } from '../../log/apply.ts'
import { summarize } from '../../projection/session-summary.ts'
import { messageOf } from '../../projection/transcript.ts'
import { Eraser } from './erase.ts'
import { HotStreams } from './hot.ts'
import { failureOf, isDiskFailure } from './failures.ts'
import { Keys } from './keys.ts'
import { FEED, FEED_HEAD, lifeOf, pragma, setValue } from './meta.ts'
import { BUSY_MS, INCREMENTAL, openForWriting, type WriterOptions } from './open-writing.ts'
import { encodeEvents } from './rows.ts'
import { Packer } from './packer.ts'
import { Segments, type Piece } from './segments.ts'
import { StreamRows } from './stream-rows.ts'

/** Size of the WAL from which it is copied back, in bytes. */
const CHECKPOINT_BYTES = 16 * 1024 * 1024
/** Pages that one step gives back: 1 MiB. Fewer free ones are left for what comes. */
const RELEASE_PAGES = 256
/** Part of the file that may be free. */
const RELEASE_SHARE = 8

/** A write whose events may be encoded already. */
export type EncodedWrite = Write & { readonly body?: string }

export type { WriterOptions } from './open-writing.ts'

type Appended = Extract<WriteOutcome, { kind: 'appended' }>

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
  readonly #keys: Keys
  readonly #dataVersion: StatementSync | undefined
  #seenVersion = -1
  #feed = 0

  constructor(options: WriterOptions) {
    const { db, logId, driver } = openForWriting(options)
    this.#file = options.file
    this.#db = db
    this.logId = logId
    this.driver = driver
    this.#dataVersion = options.shared ? this.#db.prepare('PRAGMA data_version') : undefined
    this.#readFeed()
    this.#rows = new StreamRows(this.#db)
    this.#segments = new Segments(this.#db)
    this.#eraser = new Eraser(this.#db)
    this.#packer = new Packer(this.#db)
    this.#insertBatch = this.#db.prepare('INSERT INTO batch (feed, segment, first, last, at_ms, body) VALUES (?, ?, ?, ?, ?, ?)')
    this.#keys = new Keys(this.#db)
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
    this.#alone(() => setValue(this.#db, lifeOf(this.driver), String(untilMs)))
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
    return this.#alone(() => this.#keys.prune(beforeMs))
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
    const repeated = idempotency === undefined ? undefined : this.#keys.repeat(idempotency)
    if (repeated !== undefined) return repeated
    const outcome = write.kind === 'erase' ? this.#erase(write) : this.#apply(write)
    if (idempotency !== undefined && (outcome.kind === 'appended' || outcome.kind === 'erased')) this.#keys.remember(idempotency, outcome)
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
    setValue(this.#db, FEED, String(this.#feed))
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
}
