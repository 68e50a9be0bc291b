/**
 * Drives one run: gives its agent a context, and ends it in every case.
 *
 * R1. Everything that the agent sees of its run comes from the log, in order, its own events too.
 * R2. Whatever the agent throws, the run ends once: by `finish`, or by this file (P6). Only a released or lost run is left as it is.
 * R3. A cancel aborts the context's signal at once (P8).
 */
import type { Recorded } from '../domain/event.ts'
import type { Position, RunId, SessionId, UserId } from '../domain/ids.ts'
import type { RunEvent, RunOptions } from '../domain/event.ts'
import type { SessionState } from '../domain/session.ts'
import type { Clock, Telemetry } from '../domain/ports.ts'
import type { Store, Write, WriteOutcome } from '../log/store.ts'
import type { Hub } from '../stream/hub.ts'
import type { Committer } from '../command/committer.ts'
import type { Agent, RunContext, RunEnd } from './agent.ts'
import { UNKNOWN_RESULT, openCallResults } from '../domain/decide-cancel.ts'
import { ConvokeError } from '../domain/errors.ts'
import { isTerminal } from '../domain/event.ts'
import { NO_USAGE } from '../domain/usage.ts'
import { RunGone } from './agent.ts'
import { Follower } from './follower.ts'
import { Outbox } from './outbox.ts'

// Made once: every run ends, and a stack trace for each would cost more than its end.
const OVER = new RunGone('the run is over')
const ENDED = new RunGone('the run has ended')
const FAILED = new RunGone('the run has failed')
const TAKEN_OVER = new RunGone('another driver has this run')

/** The run to drive, under its fence. */
export interface DrivenRun {
  readonly sessionId: SessionId
  readonly runId: RunId
  readonly fence: number
  readonly startedAt: Position
  readonly options: RunOptions
  readonly by: UserId
}

/** What driving needs. */
export interface DriverParts {
  readonly store: Store
  readonly hub: Hub
  readonly committer: Committer
  readonly clock: Clock
  readonly telemetry: Telemetry
}

/** One run under way in this process. */
export class RunDriver {
  readonly run: DrivenRun
  readonly #parts: DriverParts
  readonly #abort = new AbortController()
  readonly #follower: Follower
  readonly #outbox: Outbox
  readonly #released = new AbortController()
  #cancelling = false
  #ended = false

  constructor(run: DrivenRun, parts: DriverParts) {
    this.run = run
    this.#parts = parts
    this.#follower = new Follower({ store: parts.store, hub: parts.hub, stream: run.sessionId, after: run.startedAt - 1 })
    this.#outbox = new Outbox({
      write: (events) => ({ kind: 'record', stream: run.sessionId, runId: run.runId, fence: run.fence, events, atMs: parts.clock.nowMs() }),
      commit: (writes) => parts.committer.commit(writes),
      turn: () => parts.clock.turn(),
      fenced: () => TAKEN_OVER,
    })
  }

  /** Lets the agent finish its step and begin no other. */
  release(): void {
    this.#released.abort()
    this.#follower.wake()
  }

  /** Whether a cancel was seen that has not ended the run yet. */
  get cancelling(): boolean {
    return this.#cancelling && !this.#ended
  }

  /** Looks for what was committed without a hint. */
  compare(): Promise<void> {
    return this.#follower.compare()
  }

  /** Cuts the run off in this process; the log keeps what it has. */
  cut(reason: string): void {
    this.#abort.abort(new RunGone(reason))
    this.#follower.wake()
  }

  /** Runs the agent. Resolves when the run has ended, was released or was lost; never rejects. */
  async drive(agent: Agent): Promise<void> {
    try {
      await agent.run(this.#context())
      if (!this.#ended && !this.#released.signal.aborted) await this.#fail(new ConvokeError('agent_failed', 'the agent returned without ending its run'))
    } catch (error) {
      await this.#afterThrow(error)
    } finally {
      this.#follower.close()
      this.#abort.abort(OVER)
    }
  }

  async #afterThrow(error: unknown): Promise<void> {
    const { telemetry } = this.#parts
    const lost = error instanceof RunGone || this.#ended || this.#abort.signal.reason instanceof RunGone
    if (lost) return telemetry.log('debug', 'run left', { run: this.run.runId, reason: String(error) })
    if (error instanceof ConvokeError && (error.code === 'store_unknown' || error.code === 'store_failed')) {
      return telemetry.log('error', 'run interrupted by the store', { run: this.run.runId, code: error.code })
    }
    telemetry.log('error', 'agent failed', { run: this.run.runId, error: error instanceof Error ? (error.stack ?? error.message) : String(error) })
    await this.#fail(error)
  }

  /** Ends the run as failed, with a result for each open call. */
  async #fail(error: unknown): Promise<void> {
    const known = error instanceof ConvokeError
    const outcome = { kind: 'failed', code: known ? error.code : 'agent_failed', error: known ? error.message : 'the agent failed' } as const
    try {
      // What is still on its way to the log belongs to what the end must close.
      await this.#outbox.seal(FAILED)
      const state = await this.#parts.store.state(this.run.sessionId)
      const closing = state === undefined ? [] : [...openCallResults(state, UNKNOWN_RESULT), ...openTurnEnd(state)]
      const totals = { totalTurns: state?.run?.turn ?? 0, totalUsage: state?.run?.usage ?? NO_USAGE }
      await this.#finish({ outcome, closing, ...totals })
    } catch (failure) {
      // The supervisor's poll finds the run unfinished and takes it up again.
      this.#parts.telemetry.log('error', 'a failed run could not be ended', { run: this.run.runId, error: String(failure) })
    }
  }

  async #finish(end: RunEnd): Promise<'finished' | 'input_pending'> {
    const { sessionId, runId, fence } = this.run
    const command = { type: 'FinishRun', runId, fence, ...end } as const
    const write: Write = { kind: 'decide', stream: sessionId, command, asker: 'driver', atMs: this.#parts.clock.nowMs() }
    const outcome: WriteOutcome = await this.#outbox.commitLast(write)
    if (outcome.kind === 'appended') {
      this.#ended = true
      return 'finished'
    }
    if (outcome.kind === 'refused' && outcome.code === 'input_pending') {
      await this.#follower.reached((await this.#parts.store.head(sessionId)) ?? 0)
      return 'input_pending'
    }
    if (outcome.kind === 'refused' && outcome.code !== 'session_not_running') throw new ConvokeError(outcome.code, outcome.message)
    throw new RunGone('the run was ended elsewhere')
  }

  #context(): RunContext {
    const { sessionId, runId, options, by, startedAt } = this.run
    const outbox = this.#outbox
    const released = this.#released.signal
    return {
      sessionId,
      runId,
      options,
      by,
      startedAt,
      signal: this.#abort.signal,
      released,
      get stopping() {
        return released.aborted
      },
      get full() {
        return outbox.full
      },
      follow: (listener) => this.#follower.start((recorded) => this.#see(recorded, listener)),
      changed: () => this.#changed(),
      record: async (...events) => this.#follower.reached(await outbox.push(events)),
      emit: (event) => outbox.emit(event),
      drained: () => outbox.drained(),
      settled: async () => this.#follower.reached(await outbox.settled()),
      finish: (end) => this.#finish(end),
    }
  }

  async #changed(): Promise<void> {
    await this.#follower.changed()
    if (this.#abort.signal.reason instanceof RunGone) throw this.#abort.signal.reason
  }

  #see(recorded: Recorded, listener: (recorded: Recorded) => void): void {
    const { event } = recorded
    const { runId, fence } = this.run
    listener(recorded)
    if (!('runId' in event) || event.runId !== runId) return
    if (event.type === 'CancelRequested') {
      this.#cancelling = true
      this.#abort.abort(new ConvokeError('session_not_running', 'the run was cancelled'))
    }
    const takenOver = event.type === 'RunClaimed' && event.fence > fence
    if (!isTerminal(event) && !takenOver) return
    this.#ended = true
    this.#abort.abort(takenOver ? TAKEN_OVER : ENDED)
    // A later abort has no effect on the signal; `changed` must still learn of the end.
    this.#follower.end(ENDED)
  }
}

/** The end of the turn that a failure cut off. */
function openTurnEnd({ run }: SessionState): readonly RunEvent[] {
  return run?.turnOpen === true ? [{ type: 'TurnCompleted', runId: run.id, turn: run.turn, finishReason: 'error' }] : []
}
