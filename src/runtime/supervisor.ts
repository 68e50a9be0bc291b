/**
 * The supervisor: every unfinished run of this process has exactly one driver.
 *
 * V1. A run that a commit starts is driven at once; a lost hint, also one to a driver, is repaired by a poll every `POLL_MS`, and by one
 *     right after a commit of which nobody knows what it did.
 * V2. At the start, and in each poll, runs of a driver that is gone are claimed, with a higher fence, and continued (P5). A log that one
 *     process has open has no other driver; in a shared one a driver is gone when it was silent for `DRIVER_TTL_MS`.
 *     What its tools left running is ended first; in a shared log also what was begun between the look and the claim.
 *     A run whose agent this process does not have is left as it is: a start with another configuration must not end it. It can be cancelled.
 * V3. A cancel that its driver has not confirmed after `CANCEL_CONFIRM_MS` ends the run over the driver's head (P8).
 */
import type { RunEvent } from '../domain/event.ts'
import type { Position, RunId, SessionId } from '../domain/ids.ts'
import type { SessionState } from '../domain/session.ts'
import type { ToolIntent } from '../domain/tool.ts'
import type { UnfinishedRun } from '../log/store.ts'
import type { LiveBatch } from '../stream/hub.ts'
import type { Agent } from './agent.ts'
import { CANCEL_CONFIRM_MS } from '../domain/decide-cancel.ts'
import { TAKEOVERS_MAX } from '../domain/decide-run.ts'
import { isTerminal } from '../domain/event.ts'
import { isWaiting } from '../domain/session.ts'
import { RunDriver, type DrivenRun, type DriverParts } from './driver.ts'
import { leftRunning } from './leftovers.ts'
import { Peers } from './peers.ts'
import { CRASH_LOOP, standIn } from './stand-in.ts'

/** How often lost hints are looked for, in ms. */
export const POLL_MS = 1000
/** How long a run that was cut off may take to let go when the server stops, in ms. One that does not listen is left behind. */
export const CUT_MS = 500
/** Runs that are taken over side by side: enough to share their commits, few enough not to fill the memory of a start. */
export const TAKEOVERS_AT_ONCE = 32
/** Unfinished runs that one read of a poll answers. */
const POLL_PAGE = 1000

/** What the supervisor needs besides a driver's parts. */
export interface SupervisorOptions extends DriverParts {
  /** The agent of that name, or `undefined`. */
  readonly agent: (name: string) => Agent | undefined
  /** Ends what a call of a process that is gone has left running, and resolves when it is gone. Must not throw. */
  readonly killGroup: (intent: ToolIntent) => void | Promise<void>
  /** Default `DRIVER_TTL_MS`. More than `POLL_MS`. */
  readonly driverTtlMs?: number
}

/** Starts, takes over and releases runs. */
export class Supervisor {
  readonly #options: SupervisorOptions
  readonly #peers: Peers
  /** By `nameOf`: an imported copy has the run ids of what it was copied from. */
  readonly #driving = new Map<string, { readonly driver: RunDriver; readonly done: Promise<void> }>()
  /** Unfinished runs of the last poll that nobody drove: a second sighting is a lost hint, a first may be a start under way. */
  #suspects = new Set<string>()
  /** Runs that were cancelling at the last poll. */
  #unconfirmed = new Set<string>()
  /** Runs of agents that this process does not have. */
  readonly #parked = new Set<RunId>()
  #unwatch: (() => void) | undefined
  #cancelPoll: (() => void) | undefined
  #polling: Promise<void> | undefined
  #stopping = false

  constructor(options: SupervisorOptions) {
    this.#options = options
    this.#peers = new Peers(options.store, options.clock, options.driverTtlMs)
  }

  /** How many runs are driven now. */
  get active(): number {
    return this.#driving.size
  }

  /** Begins to drive what commits start from now on; resolves when what the log holds unfinished was taken over. Never rejects. */
  async start(): Promise<void> {
    const { committer, hub } = this.#options
    const unwatch = committer.watch((batch) => this.#see(batch))
    const undoubt = hub.onDoubt(() => this.#pollNow())
    this.#unwatch = () => {
      unwatch()
      undoubt()
    }
    this.#pollNow()
    await this.#polling
  }

  /** Brings runs to a step's end within `graceMs`, then lets go of them. What is left is continued at the next start (P14). */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true
    this.#unwatch?.()
    this.#cancelPoll?.()
    await this.#polling
    for (const { driver } of this.#driving.values()) driver.release()
    await this.#drained(graceMs)
    for (const { driver } of this.#driving.values()) driver.cut('the server stops')
    await this.#drained(CUT_MS)
    // Whoever shares the log need not wait for the row to run out. A row that cannot be given back runs out.
    await this.#peers.release().catch(() => undefined)
  }

  /** Resolves when no run is driven any more, or after `waitMs`. */
  async #drained(waitMs: number): Promise<void> {
    const all = Promise.all([...this.#driving.values()].map(({ done }) => done))
    let takeBack: () => void = () => undefined
    const late = new Promise<void>((resolve) => (takeBack = this.#options.clock.after(waitMs, resolve)))
    await Promise.race([all, late])
    takeBack()
  }

  #see(batch: Omit<LiveBatch, 'encoded'>): void {
    const [first] = batch.events
    if (first?.type === 'RunClaimed') void this.#endClosed(batch)
    batch.events.forEach((event, index) => {
      if (event.type === 'RunStarted' && this.#peers.isOurs(event.driver)) this.#drive(batch.stream, event, batch.from + index)
      if (event.type === 'CancelRequested') this.#confirmCancel(batch.stream, event.runId)
      if (event.type === 'ResumeDecided' && event.action === 'resume') void this.#resume(batch.stream, event.runId)
    })
  }

  #drive(sessionId: SessionId, started: Extract<RunEvent, { type: 'RunStarted' }>, startedAt: number, fence = started.fence): void {
    const { runId, options, by } = started
    const name = nameOf(sessionId, runId)
    if (this.#stopping || this.#driving.has(name)) return
    const run: DrivenRun = { sessionId, runId, fence, startedAt, options, by }
    const driver = new RunDriver(run, this.#options)
    const agent = this.#options.agent(started.agent) ?? standIn(started.agent)
    const done = driver.drive(agent).finally(() => this.#driving.delete(name))
    this.#driving.set(name, { driver, done })
  }

  /** A person said that an interrupted run goes on. */
  async #resume(stream: SessionId, runId: RunId): Promise<void> {
    const { store, telemetry } = this.#options
    try {
      const state = await store.state(stream)
      if (state?.run?.id === runId) await this.#takeOver({ stream, runId, driver: state.run.driver, fence: state.fence, owner: state.owner })
    } catch (error) {
      // The poll finds it undriven.
      telemetry.log('error', 'a run could not be resumed', { run: runId, error: String(error) })
    }
  }

  #confirmCancel(stream: SessionId, runId: RunId): void {
    this.#options.clock.after(CANCEL_CONFIRM_MS, () => void this.#forceCancel(stream, runId))
  }

  async #forceCancel(stream: SessionId, runId: RunId): Promise<void> {
    const { committer, clock, telemetry } = this.#options
    try {
      await committer.commit([{ kind: 'decide', stream, command: { type: 'ForceCancel', runId }, asker: 'driver', atMs: clock.nowMs() }])
    } catch (error) {
      // The poll repairs what this could not do.
      telemetry.log('error', 'a cancel could not be forced', { run: runId, error: String(error) })
    }
  }

  #schedulePoll(): void {
    this.#cancelPoll = this.#options.clock.after(POLL_MS, () => this.#pollNow())
  }

  /** Polls, unless a poll is under way; the next one comes `POLL_MS` later. */
  #pollNow(): void {
    if (this.#polling !== undefined || this.#stopping) return
    this.#cancelPoll?.()
    this.#polling = this.#poll().finally(() => {
      this.#polling = undefined
      if (!this.#stopping) this.#schedulePoll()
    })
  }

  async #poll(): Promise<void> {
    const { store, telemetry } = this.#options
    try {
      await this.#peers.renew()
      const undriven = (await this.#unfinished()).filter(({ stream, runId }) => !this.#driving.has(nameOf(stream, runId)))
      const others = undriven.filter((run) => run.driver !== store.driver)
      const gone = await this.#peers.goneOf(others.map(({ driver }) => driver))
      const due = undriven.filter((run) => (run.driver === store.driver ? this.#suspects.has(nameOf(run.stream, run.runId)) : gone(run.driver)))
      this.#suspects = new Set(undriven.map(({ stream, runId }) => nameOf(stream, runId)))
      await atMost(TAKEOVERS_AT_ONCE, due, (run) => this.#takeOver(run))
      await this.#repairHints()
    } catch (error) {
      telemetry.log('error', 'the poll for unfinished runs failed', { error: String(error) })
    }
  }

  /** All of them: those that wait for people for days must not hide the ones behind them. */
  async #unfinished(): Promise<readonly UnfinishedRun[]> {
    const found: UnfinishedRun[] = []
    for (;;) {
      const page = await this.#options.store.unfinishedRuns(POLL_PAGE, found.at(-1)?.stream)
      found.push(...page)
      if (page.length < POLL_PAGE) return found
    }
  }

  /** Tells drivers what no hint has told them (V1), and overrules those that were cancelling at the last poll already (V3). */
  async #repairHints(): Promise<void> {
    const drivers = [...this.#driving.values()].map(({ driver }) => driver)
    for (const driver of drivers) await driver.compare()
    const cancelling = drivers.filter((driver) => driver.cancelling)
    for (const { run } of cancelling) if (this.#unconfirmed.has(nameOf(run.sessionId, run.runId))) await this.#forceCancel(run.sessionId, run.runId)
    this.#unconfirmed = new Set(cancelling.map(({ run }) => nameOf(run.sessionId, run.runId)))
  }

  /** Ends what the open calls of `state` have left running. */
  async #endLeft(stream: SessionId, { calls }: SessionState): Promise<void> {
    const begun = calls.filter(({ status }) => status === 'started').map(({ id }) => id)
    if (begun.length > 0) await this.#endCalls(stream, begun, (await this.#options.store.head(stream)) ?? 0)
  }

  /** A claim or a forced cancel has ended these calls over the head of another process: what that one began of them is ended with them. */
  async #endClosed({ stream, from, events }: Omit<LiveBatch, 'encoded'>): Promise<void> {
    const { telemetry } = this.#options
    const closed = events.flatMap((event) => (event.type === 'ToolCompleted' ? [event.toolCallId] : []))
    try {
      await this.#endCalls(stream, closed, from - 1)
    } catch (error) {
      telemetry.log('error', 'what a call left running could not be ended', { session: stream, error: String(error) })
    }
  }

  async #endCalls(stream: SessionId, calls: Iterable<string>, upTo: Position): Promise<void> {
    for (const intent of await leftRunning(this.#options.store, stream, calls, upTo)) await this.#options.killGroup(intent)
  }

  #park(run: RunId, agent: string): void {
    this.#parked.add(run)
    this.#options.telemetry.log('warn', 'a run waits for an agent that this server does not have', { run, agent })
  }

  /** Claims a run and continues it; a run that was taken over too often without progress ends as failed. */
  async #takeOver(unfinished: UnfinishedRun): Promise<void> {
    if (this.#stopping) return
    const { store, committer, clock } = this.#options
    const { stream, runId, fence } = unfinished
    const state = await store.state(stream)
    if (state?.run?.id !== runId || state.fence !== fence || state.run.resume === 'asked' || this.#parked.has(runId)) return
    const page = await store.read(stream, state.run.startedAt - 1, 1)
    const started = page?.events[0]?.event
    if (started?.type !== 'RunStarted') return
    if (this.#options.agent(started.agent) === undefined) return this.#park(runId, started.agent)
    await this.#endLeft(stream, state)
    const command = { type: 'ClaimRun', runId, fence, driver: store.driver } as const
    const [outcome] = await committer.commit([{ kind: 'decide', stream, command, asker: 'driver', atMs: clock.nowMs() }])
    if (outcome?.kind !== 'appended') return
    // Whoever slept may have begun a call between our look and our claim; from the claim on it can record none.
    if (store.drivers !== undefined) await this.#endLeft(stream, (await store.state(stream)) ?? state)
    // An interrupted run may end here, or ask whether it may go on.
    if (outcome.events.some((event) => event.type === 'ResumeRequested' || isTerminal(event))) return
    // A run that waits for a person has brought nobody down, however often it was taken over.
    const agent = state.run.takeovers >= TAKEOVERS_MAX && !isWaiting(state) ? undefined : started.agent
    this.#drive(stream, agent === undefined ? { ...started, agent: CRASH_LOOP } : started, state.run.startedAt, fence + 1)
  }
}

/** Names a run of a session. */
function nameOf(stream: SessionId, runId: RunId): string {
  return `${stream}/${runId}`
}

/** Does `work` for each of `items`, at most `width` at a time. @throws what any of them threw, when all that began have ended */
async function atMost<T>(width: number, items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const queue = [...items]
  const worker = async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item)
  }
  const done = await Promise.allSettled(Array.from({ length: Math.min(width, queue.length) }, worker))
  const failed = done.find((outcome) => outcome.status === 'rejected')
  if (failed !== undefined) throw failed.reason
}
