/** Compares what is written with what was promised: each commit in its moment, and everything in the end. */
import type { RunId, SessionId, UserId } from '../../src/domain/ids.ts'
import type { Receipt, Write, WriteOutcome } from '../../src/log/store.ts'
import type { Committed, Engine } from '../../src/testing/simulation/disk.ts'
import type { Scheduler } from '../../src/testing/simulation/scheduler.ts'
import type { Wished } from './client.ts'
import type { Ledger } from './outside.ts'
import type { StreamEvent } from '../../src/domain/event.ts'
import { isDeepStrictEqual } from 'node:util'
import { brokenPromises } from './effects.ts'
import { isRepeatable } from './outside.ts'
import { Rules, callKey } from './rules.ts'
import { remains, type Held, type Outputs } from './remains.ts'
import { differences } from './stored.ts'
import { Truth } from './truth.ts'

/** Sentences that one world reports at most. */
const LOST_MAX = 12
/** How long what was read before an erasure may be on its way to a reader, in ms: two reads of a stalled disk. */
const ERASED_LAG_MS = 3_100

/** What a judge needs. */
export interface JudgeOptions {
  readonly scheduler: Scheduler
  readonly owner: UserId
  /** Processes of this world sleep, and wake up late. */
  readonly sleepers?: boolean
  /** Told of each event in the moment in which it is durable. */
  readonly written?: (event: StreamEvent) => void
}

/** The judge of one world. */
export class Judge {
  readonly truth = new Truth()
  readonly rules: Rules
  readonly lost: string[] = []
  commits = 0
  /** Steps of own agents that have run. */
  readonly #ran = new Set<string>()
  /** By idempotency key. */
  readonly #receipts = new Map<string, Receipt>()
  readonly #erasedMs = new Map<SessionId, number>()
  readonly #options: JudgeOptions

  constructor(options: JudgeOptions) {
    this.#options = options
    this.rules = new Rules({ repeatable: isRepeatable, broken: (sentence) => this.broken(sentence) })
  }

  /** Notes a broken promise. */
  broken(sentence: string): void {
    this.#options.scheduler.say('LOST', sentence)
    if (this.lost.length < LOST_MAX) this.lost.push(sentence)
  }

  /** Takes in a commit. */
  committed({ by, writes, outcomes }: Committed): void {
    this.commits++
    outcomes.forEach((outcome, index) => this.#wrote(by.name, writes[index], outcome))
  }

  #wrote(by: string, write: Write | undefined, outcome: WriteOutcome): void {
    const { scheduler, written } = this.#options
    if (outcome.kind === 'erased') return this.#erased(by, write, outcome)
    if (outcome.kind !== 'appended') {
      if (scheduler.traced)
        scheduler.say(by, `${write?.kind === 'decide' ? write.command.type : 'record'} is ${outcome.kind} ${outcome.kind === 'refused' ? outcome.code : ''}`)
      return
    }
    if (outcome.replayed) return
    const { stream, from, events, atMs, feed } = outcome
    const fence = write?.kind === 'record' ? write.fence : write?.kind === 'decide' && write.command.type === 'FinishRun' ? write.command.fence : undefined
    const held = this.rules.fenceOf(stream)
    if (fence !== undefined && fence !== held) this.broken(`P4: ${by} wrote to ${stream} with fence ${fence}, it is ${held}`)
    if (scheduler.traced) scheduler.say(by, `wrote ${stream} ${from}: ${JSON.stringify(events).slice(0, 900)}`)
    events.forEach((event, at) => {
      const recorded = { position: from + at, atMs, event }
      this.truth.add(stream, recorded, feed)
      this.rules.take(stream, recorded)
      written?.(event)
    })
  }

  /** A session is erased once for each key; whoever asks again with it gets the same receipt. */
  #erased(by: string, write: Write | undefined, { stream, receipt, replayed }: Extract<WriteOutcome, { kind: 'erased' }>): void {
    const key = write?.kind === 'erase' ? write.idempotency?.key : undefined
    const known = key === undefined ? undefined : this.#receipts.get(key)
    if (replayed || known !== undefined) {
      if (!replayed) this.broken(`P7: ${stream} was erased twice for ${key}`)
      else if (!isDeepStrictEqual(known, receipt)) this.broken(`P7: another receipt for ${key}`)
      if (replayed) return
    }
    if (key !== undefined) this.#receipts.set(key, receipt)
    this.#options.scheduler.say(by, `erased ${stream}`)
    const idleSinceMs = write?.kind === 'erase' ? write.idleSinceMs : undefined
    const lastMs = this.truth.logOf(stream).at(-1)?.atMs ?? 0
    if (idleSinceMs !== undefined && lastMs > idleSinceMs)
      this.broken(`R1: ${stream} was erased as idle, and was used ${lastMs - idleSinceMs} ms too late for that`)
    this.rules.erase(stream)
    this.truth.erase(stream)
    this.#erasedMs.set(stream, this.#options.scheduler.nowMs)
  }

  /** A reader who began at `sinceMs` is given something of `stream`. */
  shown(stream: SessionId, sinceMs: number): void {
    const erasedMs = this.#erasedMs.get(stream)
    if (erasedMs === undefined) return
    const lateMs = this.#options.scheduler.nowMs - erasedMs
    if (sinceMs > erasedMs || lateMs > ERASED_LAG_MS) this.broken(`L14: ${stream} is shown ${Math.round(lateMs)} ms after it was erased`)
  }

  /** An answer arrives: what it says must stand in the log. */
  answered({ wish, command, answer }: Wished): void {
    if (answer?.kind === 'yes' && command.type === 'PurgeSession' && !isDeepStrictEqual(answer.receipt, this.#receipts.get(wish.tag)))
      this.broken(`P7: ${wish.tag} was told of another receipt`)
    if (answer?.kind === 'no' && answer.code === 'not_found' && this.#receipts.has(wish.tag))
      this.broken(`P7: ${wish.tag} has erased a session, and was told that there is none`)
    if (answer?.kind === 'yes' && answer.to > this.truth.headOf(answer.stream)) this.broken(`P1: ${command.type} was acknowledged before it was written`)
  }

  /** A step of an own agent runs. */
  stepRuns(run: RunId, key: string, repeatable: boolean): void {
    const step = callKey(run, key)
    // Who slept in the moment between a step's record and its work cannot know that another has done it meanwhile.
    if (this.rules.steps.has(step) && this.#options.sleepers !== true) this.broken(`P5: step ${step} ran again behind its result`)
    if (!repeatable && this.#ran.has(step)) this.broken(`P5: step ${step} must not be repeated, and ran twice`)
    this.#ran.add(step)
  }

  /** A tool begins. */
  toolBegins(tool: string, call: string, ledger: Ledger): void {
    if (!this.rules.started.has(call)) this.broken(`P5: ${tool} ran for ${call}, and no intent was recorded`)
    if (!isRepeatable(tool) && ledger.has(call)) this.broken(`P5: ${tool} must not be repeated, and ran twice for ${call}`)
  }

  /** Looks at everything, when all is over. @param engine The data, opened anew. */
  async look(engine: Engine, wished: readonly Wished[], ledger: Ledger): Promise<void> {
    for (const sentence of this.rules.atEnd()) this.broken(sentence)
    for (const sentence of brokenPromises(wished, this.truth, this.rules)) this.broken(sentence)
    for (const sentence of this.#unledgered(ledger)) this.broken(sentence)
    for (const sentence of await differences(engine, this.truth, this.#options.owner)) this.broken(sentence)
  }

  /** Looks at what the engine keeps when everything was swept, and again at what it shows. */
  async lookInside(engine: Engine, held: Held, outputs: Outputs): Promise<void> {
    for (const sentence of remains(held, outputs, this.truth)) this.broken(sentence)
    for (const sentence of await differences(engine, this.truth, this.#options.owner)) this.broken(sentence)
  }

  /** Results that say "done" of what was never done. */
  *#unledgered(ledger: Ledger): Generator<string> {
    for (const [, log] of this.truth.own()) {
      for (const { event } of log) {
        if (event.type !== 'ToolCompleted' || event.result !== `done ${event.toolCallId}`) continue
        const lines = ledger.get(callKey(event.runId, event.toolCallId))
        if (lines?.some((line) => line.ended) !== true) yield `P5: ${event.toolCallId} has a result and did not run`
      }
    }
  }
}
