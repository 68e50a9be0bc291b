/**
 * Erasing sessions for good: their run first, then their log, then their files.
 *
 * P1. From the commit on that erases it, a session is unknown, and it stays so whatever fails afterwards: what is left to remove is
 *     noted in the log, and `tidy` goes on with it, after a crash too.
 * P2. Outputs of tools that a fork's history names stay as long as the fork.
 */
import type { SessionId } from '../domain/ids.ts'
import type { Clock } from '../domain/ports.ts'
import type { Principal } from '../domain/principal.ts'
import type { Idempotency, Receipt, Store } from '../log/store.ts'
import type { Leftover, Upkeep } from '../log/upkeep.ts'
import type { Committer } from './committer.ts'
import type { CommandService } from './service.ts'
import { CANCEL_CONFIRM_MS } from '../domain/decide-cancel.ts'
import { ConvokeError } from '../domain/errors.ts'
import { isTerminal } from '../domain/event.ts'
import { READ_EVENTS_MAX } from '../log/store.ts'

export type { Receipt } from '../log/store.ts'

/** Tries to erase a session whose run must be ended first. */
const TRIES_MAX = 3
/** Leftovers that are looked at together. */
const LEFTOVERS = 64

/** What sessions have in the data folder. */
export interface SessionFiles {
  count(session: SessionId): Promise<{ readonly workspace: number; readonly outputs: number }>
  /** Removes everything but the outputs of these names. Repeatable. */
  remove(session: SessionId, keep?: ReadonlySet<string>): Promise<void>
}

/** What a purge did. */
export interface Purged {
  readonly receipt: Receipt
  /** The answer of an earlier purge with the same idempotency key. */
  readonly replayed: boolean
}

/** Erases sessions. */
export interface Purger {
  /**
   * Ends the session's run, erases the session, and resolves when nothing of it is left.
   *
   * @throws {ConvokeError} `not_found`, `forbidden`, `session_already_running` for a run that does not end, `idempotency_key_reused`
   */
  purge(stream: SessionId, asker: Principal, idempotency?: Idempotency): Promise<Purged>
  /** Erases a session that is idle since `idleSinceMs`, by the server's own rules. `undefined` where it is not, or not any more. */
  expire(stream: SessionId, idleSinceMs: number): Promise<Receipt | undefined>
  /** Removes what erased sessions left, in steps that hold nobody up. @throws what could not be removed, when everything else was */
  tidy(): Promise<void>
  /** Ends what is being removed after its present step: the next start goes on with it (P1). Resolves when nothing is under way. */
  close(): Promise<void>
}

/** What a purger works with. */
export interface PurgerParts {
  readonly store: Store & Upkeep
  readonly committer: Committer
  readonly commands: CommandService
  readonly files: SessionFiles
  readonly clock: Clock
}

/** What could not be removed, by session. */
type Failures = ReadonlyMap<SessionId, unknown>

/** A purger over a store. */
export function createPurger(parts: PurgerParts): Purger {
  const { store, committer, files, clock } = parts
  // One at a time: two would only do the same twice.
  let tidying: Promise<Failures> = Promise.resolve(new Map())
  let closed = false
  const tidyAll = () => (tidying = tidying.catch(() => undefined).then(() => tidyUp(parts, () => closed)))
  const finish = async (stream: SessionId) => {
    const failures = await tidyAll()
    if (failures.has(stream)) throw failures.get(stream)
  }
  return {
    async close() {
      closed = true
      // Whoever asked for it was told what failed.
      await tidying.catch(() => undefined)
    },
    async tidy() {
      for (const failure of (await tidyAll()).values()) throw failure
    },
    async expire(stream, idleSinceMs) {
      const counted = await files.count(stream)
      const [outcome] = await committer.commit([{ kind: 'erase', stream, asker: 'driver', atMs: clock.nowMs(), idleSinceMs, files: counted }])
      if (outcome?.kind !== 'erased') return undefined
      await finish(stream)
      return outcome.receipt
    },
    async purge(stream, asker, idempotency) {
      for (let tries = 1; ; tries++) {
        const counted = (await store.state(stream))?.owner === asker.user ? { files: await files.count(stream) } : {}
        const key = idempotency === undefined ? {} : { idempotency }
        const [outcome] = await committer.commit([{ kind: 'erase', stream, asker, atMs: clock.nowMs(), ...counted, ...key }])
        if (outcome?.kind === 'erased') {
          await finish(stream)
          return { receipt: outcome.receipt, replayed: outcome.replayed }
        }
        const code = outcome?.kind === 'refused' ? outcome.code : 'internal_error'
        const message = outcome?.kind === 'refused' ? outcome.message : 'an erasure was no erasure'
        if (code !== 'session_already_running' || tries >= TRIES_MAX) throw new ConvokeError(code, message)
        await endRun(parts, stream, asker)
      }
    },
  }
}

/** Deletes the session, which cancels its run, and waits for the run's end as long as its driver has for that; then ends it over its head. */
async function endRun({ store, committer, commands, clock }: PurgerParts, stream: SessionId, asker: Principal): Promise<void> {
  let unwatch: () => void = () => undefined
  let takeBack: () => void = () => undefined
  const ended = new Promise<void>((resolve) => {
    unwatch = committer.watch((batch) => {
      if (batch.stream === stream && batch.events.some(isTerminal)) resolve()
    })
  })
  try {
    await commands.execute(stream, { type: 'DeleteSession' }, asker)
    const late = new Promise<void>((resolve) => (takeBack = clock.after(CANCEL_CONFIRM_MS, resolve)))
    await Promise.race([ended, late])
  } finally {
    unwatch()
    takeBack()
  }
  const run = (await store.state(stream))?.run
  if (run === undefined) return
  await committer.commit([{ kind: 'decide', stream, command: { type: 'ForceCancel', runId: run.id }, asker: 'driver', atMs: clock.nowMs() }])
}

/** Answers what could not be removed, and why: the files of one session must not keep those of the others. */
async function tidyUp(parts: PurgerParts, isClosed: () => boolean): Promise<Failures> {
  const { store } = parts
  const failures = new Map<SessionId, unknown>()
  while (!isClosed() && (await store.sweep()));
  while (!isClosed()) {
    const leftovers = (await store.leftovers(LEFTOVERS + failures.size)).filter(({ stream }) => !failures.has(stream))
    for (const leftover of leftovers) await removeFiles(parts, leftover).catch((error: unknown) => failures.set(leftover.stream, error))
    if (leftovers.length < LEFTOVERS) break
  }
  return failures
}

async function removeFiles({ store, files, clock }: PurgerParts, leftover: Leftover): Promise<void> {
  const needed = await neededOutputs(store, leftover, clock)
  // The fork was erased meanwhile: what is needed now is asked for by whoever erased it.
  if (needed === undefined) return
  await files.remove(leftover.stream, needed)
  await store.forgetLeftover(leftover)
}

/** Names of the outputs that a fork's history speaks of; `undefined` where the fork is gone. @see P2 */
async function neededOutputs(store: Store, { stream, readBy }: Leftover, clock: Clock): Promise<ReadonlySet<string> | undefined> {
  const names = new Set<string>()
  if (readBy === undefined) return names
  const folder = new RegExp(`[\\\\/]${stream}[\\\\/]([^\\\\/]+)$`)
  for (let after = 0; after < readBy.upTo;) {
    const page = await store.read(readBy.stream, after, Math.min(READ_EVENTS_MAX, readBy.upTo - after))
    if (page === undefined) return undefined
    if (page.events.length === 0) return names
    for (const { event } of page.events) {
      const name = event.type === 'ToolCompleted' && event.outputFile !== undefined ? folder.exec(event.outputFile)?.[1] : undefined
      if (name !== undefined) names.add(name)
    }
    after = page.events.at(-1)?.position ?? readBy.upTo
    await clock.turn()
  }
  return names
}
