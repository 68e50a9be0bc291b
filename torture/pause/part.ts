/**
 * Pause: two processes on one log; one is stopped (SIGSTOP) until the other has taken over its runs, then it wakes up.
 *
 * What it writes then must be refused (P4): each token carries its driver, so the log shows whoever wrote too late.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { Recorded, StreamEvent } from '../../src/domain/event.ts'
import type { SessionId } from '../../src/domain/ids.ts'
import type { Store } from '../../src/log/store.ts'
import type { Part, PartOptions, PartResult } from '../part.ts'
import { isTerminal } from '../../src/domain/event.ts'
import { sessionId } from '../../src/domain/ids.ts'
import { openSqliteStore } from '../../src/storage/sqlite/store.ts'
import { systemRandom } from '../../src/system/random.ts'
import { TESTER } from '../../src/testing/run-kit.ts'
import { numbersOf } from '../support/chance.ts'
import { eventually, elapsed } from '../support/wait.ts'
import { lateWrites, startProcess, type DriverProcess } from './processes.ts'

/** Pauses. */
const ROUNDS = { short: 8, long: 200 } as const
/** Sessions in which something runs at each pause. */
const SESSIONS = 12
/** How long a takeover may take, in ms: the time of a driver, two polls, and a busy machine. */
const TAKEOVER_MS_MAX = 30_000
/** How long a stopped process may seem to hold the lock before it is believed, in ms. */
const LOCK_MS = 200
/** How long an awoken process is watched, in ms: several of its polls. */
const AWAKE_MS = 2500

export const pausePart: Part = {
  name: 'pause',
  breaks: 'a process that is paused (SIGSTOP) until another takes over, then wakes up',
  promises: 'P4 P5 P6',
  async run(options) {
    const folder = mkdtempSync(join(tmpdir(), 'convoke-pause-'))
    const ledger = ledgerIn(folder)
    writeFileSync(ledger, '')
    const store = await openSqliteStore({ folder, random: systemRandom, shared: true })
    const processes: DriverProcess[] = []
    try {
      for (const name of ['a', 'b']) processes.push(await startProcess(folder, name, ledger))
      return await rounds(options, folder, store, processes)
    } finally {
      for (const process of processes) await process.end()
      await store.close()
      rmSync(folder, { recursive: true, force: true })
    }
  },
}

async function rounds({ seed, form, say }: PartOptions, folder: string, store: Store, processes: readonly DriverProcess[]): Promise<PartResult> {
  const random = numbersOf(seed)
  const sessions: SessionId[] = []
  let taken = 0
  for (let round = 1; round <= ROUNDS[form]; round++) {
    const [victim, other] = (random() < 0.5 ? processes : processes.toReversed()) as [DriverProcess, DriverProcess]
    const fresh = Array.from({ length: SESSIONS }, () => sessionId(systemRandom.uuid()))
    sessions.push(...fresh)
    await store.commit(
      fresh.map((stream) => ({ kind: 'decide', stream, command: { type: 'CreateSession', title: '', agent: 'convoke' }, asker: TESTER, atMs: 0 })),
    )
    for (const session of fresh) victim.speak(session)
    await eventually(TAKEOVER_MS_MAX, 'a start', async () => ((await running(store, fresh, victim.driver)) >= SESSIONS / 2 ? true : undefined))
    await elapsed(random() * 1500)
    await stopOutsideCommit(victim, folder)
    await eventually(TAKEOVER_MS_MAX, 'a takeover', async () => ((await running(store, fresh, victim.driver)) === 0 ? true : undefined))
    taken += await running(store, fresh, other.driver)
    victim.signal('SIGCONT')
    await elapsed(AWAKE_MS)
    say(`round ${round}: ${victim.name} was paused, ${await running(store, fresh, other.driver)} runs go on in ${other.name}`)
  }
  await eventually(TAKEOVER_MS_MAX * 2, 'the end of all runs', async () => ((await unfinished(store)) === 0 ? true : undefined))
  const lost = (await Promise.all(sessions.map((session) => judge(store, session)))).flat()
  const refused = processes.reduce((sum, process) => sum + process.left, 0)
  lost.push(...repeated(ledgerIn(folder)))
  if (taken === 0) lost.push('no run was taken over: nothing was shown')
  if (refused === 0) lost.push('no late write was attempted: nothing was shown')
  return { tried: [`${ROUNDS[form]} pauses`, `${sessions.length} runs`, `${taken} taken over`, `${refused} late writers refused`], lost }
}

const ledgerIn = (folder: string) => join(folder, 'ledger')

/** Stops a process where it does not hold the file's write lock: with the lock in its hand nobody could write, and nobody could take over. */
async function stopOutsideCommit(victim: DriverProcess, folder: string): Promise<void> {
  const db = new DatabaseSync(join(folder, 'convoke.db'), { timeout: 0 })
  const isFree = () => {
    try {
      db.exec('BEGIN IMMEDIATE; ROLLBACK')
      return true
    } catch {
      // Somebody commits: this process, or the other one.
      return undefined
    }
  }
  try {
    for (;;) {
      victim.signal('SIGSTOP')
      const free = await eventually(LOCK_MS, 'the lock', isFree).catch(() => false)
      if (free) return
      victim.signal('SIGCONT')
      await elapsed(7)
    }
  } finally {
    db.close()
  }
}

async function unfinished(store: Store): Promise<number> {
  return (await store.unfinishedRuns(1000)).length
}

async function running(store: Store, sessions: readonly SessionId[], driver: number): Promise<number> {
  const runs = await store.unfinishedRuns(1000)
  return runs.filter((run) => run.driver === driver && sessions.includes(run.stream)).length
}

/** Everything that is wrong with one session's log. */
async function judge(store: Store, session: SessionId): Promise<readonly string[]> {
  const log: Recorded[] = []
  for (let page = await store.read(session, 0, 512); page !== undefined && page.events.length > 0; page = await store.read(session, log.length, 512)) {
    log.push(...page.events)
  }
  const events = log.map(({ event }) => event)
  const ends = events.filter(isTerminal).length
  const lost = lateWrites(log).map((position) => `P4: session ${session}, position ${position}: written by a driver that had lost the run`)
  if (ends !== 1) lost.push(`P6: session ${session}: its run has ${ends} ends`)
  if (openCalls(events) > 0) lost.push(`P5: session ${session}: ${openCalls(events)} calls have no result`)
  return lost
}

function openCalls(events: readonly StreamEvent[]): number {
  const proposed = events.flatMap((event) => (event.type === 'ToolCallsProposed' ? event.calls.map(({ id }) => id) : []))
  const answered = new Set(events.flatMap((event) => (event.type === 'ToolCompleted' || event.type === 'ToolRejected' ? [event.toolCallId] : [])))
  return proposed.filter((id) => !answered.has(id)).length
}

function repeated(ledger: string): readonly string[] {
  const ids = readFileSync(ledger, 'utf8')
    .split('\n')
    .filter(Boolean)
    .map((line) => line.split(' ')[0] ?? '')
  return [...new Set(ids.filter((id, index) => ids.indexOf(id) !== index))].map((id) => `P5: call ${id} was run twice`)
}
