/**
 * Replays an own agent's function over the journal of one run, until the run has ended or must be left.
 *
 * Y1. The function is invoked from the top after each takeover, and after each wait that dropped it: everything that it did comes from the journal.
 * Y2. An invocation that only waits for answers is dropped; the first answer invokes the function anew. Nothing of it is held meanwhile.
 * Y3. The run ends once, in one write with the last thing said and a result for each call that is open.
 */
import type { RunEvent, MessageEvent } from '../domain/event.ts'
import type { SessionState } from '../domain/session.ts'
import type { RunContext, RunEnd } from './agent.ts'
import type { AgentContext, DefinedAgent } from './define.ts'
import { CANCELLED_RESULT, UNKNOWN_RESULT } from '../domain/decide-cancel.ts'
import { ERROR_CODES, type ErrorCode } from '../domain/errors.ts'
import { RunGone } from './agent.ts'
import { agentContext, type ReplayParts } from './agent-context.ts'
import { Invocation, Left, withinStep, type Fatal, type Frame } from './invocation.ts'
import { Journal } from './journal.ts'
import { requireText, spoken, supersededBy, turnEnd, turnStart } from './speech.ts'

/** How long steps may take to end after a cancel, in ms, before the run ends without them. */
export const CANCEL_GRACE_MS = 100

type Settled = { readonly token: symbol } & ({ readonly answer: unknown } | { readonly error: unknown })

/** One run of an own agent in this process. */
export class Replay {
  readonly #agent: DefinedAgent
  readonly #parts: ReplayParts
  readonly #frame: Frame
  #current: Invocation | undefined
  /** The invocation that was set aside, and the calls whose answers it awaits. */
  #aside: { readonly token: symbol; readonly awaited: readonly string[] } | undefined
  #settled: Settled | undefined
  #givenUp: Fatal | Left | undefined
  /** The newest write that nobody waits for. */
  #written: Promise<void> = Promise.resolve()
  #pokes = 0
  #wake: () => void = () => undefined

  constructor(agent: DefinedAgent, context: RunContext, parts: ReplayParts, waiting: SessionState['queue']) {
    this.#agent = agent
    this.#parts = parts
    const { clock, random } = parts
    this.#frame = {
      journal: new Journal(context.runId, waiting),
      context,
      clock,
      random,
      poke: () => this.#poke(),
      counts: (invocation) => this.#counts(invocation),
      written: (write) => {
        this.#written = write.catch((error: unknown) => this.#frame.giveUp(new Left(error)))
      },
      giveUp: (why) => {
        if (why.cause === undefined) return
        this.#givenUp ??= why
        this.#poke()
      },
    }
  }

  /** Drives the run to its end. Returns early when the server stops; throws when the run is lost. */
  async run(): Promise<void> {
    const { context, journal } = this.#frame
    await context.follow((recorded) => journal.fold(recorded))
    this.#listen()
    try {
      // What a dead process was saying does not count: it is said again, or not at all.
      if (journal.textFrom !== undefined) await context.record(...supersededBy(journal))
      // A cancel that was accepted before this process came ends the run: nothing of it is done any more.
      if (!context.signal.aborted) this.#invoke()
      for (;;) {
        const seen = this.#pokes
        if (await this.#next()) return
        if (seen === this.#pokes) await new Promise<void>((resolve) => (this.#wake = resolve))
      }
    } finally {
      // Whatever still runs of the function is heard no more.
      this.#current = undefined
      this.#aside = undefined
    }
  }

  /** Looks at what has changed. Answers whether this process is done with the run. */
  async #next(): Promise<boolean> {
    const { context, clock, journal } = this.#frame
    const { signal } = context
    if (this.#givenUp instanceof Left) throw this.#givenUp.cause
    if (signal.aborted) return this.#aborted(signal.reason)
    if (this.#givenUp !== undefined) return this.#fail(this.#givenUp.cause)
    if (this.#settled !== undefined) return this.#end(this.#settled)
    this.#current?.look()
    if (this.#current?.idle !== false) {
      const seen = this.#pokes
      // What the function does next is on its way, if it does anything.
      await clock.turn()
      if (seen !== this.#pokes) return false
      if (context.stopping) {
        await this.#written
        return true
      }
      this.#setAside()
      if (this.#aside?.awaited.some((id) => journal.calls.get(id)?.status !== 'asked') === true) this.#invoke()
    }
    return false
  }

  /** Y2. */
  #setAside(): void {
    const awaited = this.#current?.awaited ?? []
    if (this.#current === undefined || awaited.length === 0) return
    this.#aside = { token: this.#current.token, awaited }
    this.#current = undefined
  }

  #counts(invocation: Invocation): boolean {
    if (this.#aside?.token === invocation.token) {
      // It did not only wait: something that is no step brought it on.
      this.#current = invocation
      this.#aside = undefined
    }
    return this.#current === invocation
  }

  /** Y1. */
  #invoke(): void {
    const invocation = new Invocation(this.#frame)
    const { token } = invocation
    this.#current = invocation
    this.#aside = undefined
    const ctx: AgentContext = agentContext(invocation, this.#parts)
    // This run may have been started by a commit that a step of another one asked for.
    const run = () => withinStep.run(undefined, async () => this.#agent.run(ctx))
    const settle = (how: { readonly answer: unknown } | { readonly error: unknown }) => {
      if (this.#current?.token !== token && this.#aside?.token !== token) return
      this.#settled = { token, ...how }
      this.#poke()
    }
    run().then(
      (answer) => settle({ answer }),
      (error: unknown) => settle({ error }),
    )
  }

  #poke(): void {
    this.#pokes++
    this.#wake()
  }

  /** Looks again at each change of the session, and learns of the end. */
  #listen(): void {
    const { context } = this.#frame
    const listen = async () => {
      for (;;) {
        await context.changed()
        this.#poke()
      }
    }
    listen().catch((error: unknown) => {
      this.#givenUp ??= new Left(error)
      this.#poke()
    })
    context.signal.addEventListener('abort', () => this.#poke(), { once: true })
    context.released.addEventListener('abort', () => this.#poke(), { once: true })
  }

  /** Ends a cancelled run: its steps have a moment to end. */
  async #aborted(reason: unknown): Promise<boolean> {
    if (reason instanceof RunGone) throw reason
    const invocation = this.#current
    invocation?.cancel(reason)
    await this.#graceOf(invocation)
    await this.#hush()
    return this.#finish({ outcome: { kind: 'completed', stopReason: 'cancelled' }, closing: this.#closing('cancelled') })
  }

  async #graceOf(invocation: Invocation | undefined): Promise<void> {
    let over = false
    const takeBack = this.#frame.clock.after(CANCEL_GRACE_MS, () => {
      over = true
      this.#poke()
    })
    while (invocation?.idle === false && !over) await new Promise<void>((resolve) => (this.#wake = resolve))
    takeBack()
  }

  async #end(settled: Settled): Promise<boolean> {
    if ('error' in settled) return this.#fail(settled.error)
    const answer = settled.answer ?? ''
    try {
      requireText(answer, 'what an agent answers')
    } catch (error) {
      return this.#fail(error)
    }
    await this.#hush()
    return this.#finish({ outcome: { kind: 'completed', stopReason: 'completed' }, closing: this.#closing('stop', answer) })
  }

  async #fail(error: unknown): Promise<boolean> {
    const code = codeOf(error)
    const message = error instanceof Error ? error.message : String(error)
    const { sessionId, runId } = this.#frame.context
    const stack = error instanceof Error ? (error.stack ?? message) : message
    this.#parts.telemetry.log('error', 'agent failed', { agent: this.#agent.name, session: sessionId, run: runId, code, error: stack })
    await this.#hush()
    return this.#finish({ outcome: { kind: 'failed', code, error: message.slice(0, MESSAGE_CHARS_MAX) }, closing: this.#closing('error') })
  }

  /** What a step was saying when the run ends is kept as a message that was cut off. The function is heard no more: what it had begun to write is closed. */
  async #hush(): Promise<void> {
    const { context } = this.#frame
    const cutOff = this.#current?.speaking?.hush() ?? []
    this.#current = undefined
    this.#aside = undefined
    if (cutOff.length > 0) await context.record(...cutOff)
    await context.settled()
  }

  async #finish(end: Pick<RunEnd, 'outcome' | 'closing'>): Promise<boolean> {
    const { journal, context } = this.#frame
    const opened = end.closing.filter(({ type }) => type === 'TurnStarted').length
    const answer = await context.finish({ ...end, totalTurns: journal.turn + opened, totalUsage: journal.usage, queued: 'next_run' })
    return answer === 'finished'
  }

  /** Y3: what goes before the end. */
  #closing(how: 'stop' | 'cancelled' | 'error', text = ''): readonly (RunEvent | MessageEvent)[] {
    const { journal, random } = this.#frame
    const { runId } = journal
    const results = journal.openCalls.map((call): RunEvent => {
      const result = call.status === 'started' ? UNKNOWN_RESULT : CANCELLED_RESULT
      return { type: 'ToolCompleted', runId, toolCallId: call.id, toolName: call.name, result, isError: true }
    })
    if (text === '') return journal.turnOpen ? [...results, turnEnd(journal, how)] : results
    return [...results, ...turnStart(journal), ...spoken(journal, random.uuid(), text), turnEnd(journal, how)]
  }
}

/** Characters of a failure's text that a run ends with. */
const MESSAGE_CHARS_MAX = 2_000

/** A code of ours stays what it is, also through a step; anything else is the agent's failure. */
function codeOf(error: unknown): ErrorCode {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'string' && Object.hasOwn(ERROR_CODES, code) ? (code as ErrorCode) : 'agent_failed'
}
