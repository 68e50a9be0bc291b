/**
 * The rules that every log must keep, told by a reader who knows nothing of how it was written.
 *
 * It does not use the product's own folds: those are what it looks at.
 *
 * L13: a fork begins behind its origin's position, where nothing was open. L14: what was erased had no run, and is not written any more.
 * P3: positions from 1 without a hole. P4: fences grow, and only their holder writes. P5: steps in order, none twice, each call with one
 * result. P6: each run starts once and ends once. P7: messages once. P10: a call that was left to a person started after a yes.
 */
import type { Origin, Recorded, StreamEvent } from '../../src/domain/event.ts'
import type { RunId, SessionId } from '../../src/domain/ids.ts'

interface Call {
  readonly name: string
  readonly ask: boolean
  decided?: string
  starts: number
  ended: boolean
}

interface Run {
  readonly id: RunId
  driver: number
  turn: number
  turnOpen: boolean
  attempt: number
  /** An attempt is under way: its text counts until it is said that it does not. */
  attemptOpen: boolean
  streamedFrom: number | undefined
  reported: boolean
  calls: Map<string, Call>
  /** A person must say whether it goes on; or has said that it does not. */
  held: 'asked' | 'refused' | undefined
}

/** Names a call: its id is unique in its run only. */
export function callKey(run: RunId, call: string): string {
  return `${run}/${call}`
}

/** What became of a run. */
export interface RunFate {
  readonly stream: SessionId
  readonly startedMs: number
  cancelledMs?: number
  endedMs?: number
  /** How it ended: the reason, or the code of its failure. */
  end?: string
  claims: number
}

interface Line {
  head: number
  fence: number
  deleted: boolean
  run: Run | undefined
  readonly messages: Set<string>
  readonly queue: Map<string, string>
  /** By position: whether no turn is open there and no call without its result. */
  readonly closed: boolean[]
}

/** What the checker must know of the world. */
export interface RulesOptions {
  readonly repeatable: (tool: string) => boolean
  /** Told of each breach. */
  readonly broken: (sentence: string) => void
}

/** Checks each event in the moment in which it is written. */
export class Rules {
  readonly #options: RulesOptions
  readonly #lines = new Map<SessionId, Line>()
  readonly #erased = new Set<SessionId>()
  readonly runs = new Map<RunId, RunFate>()
  /** The driver under which each call got its result, and when. */
  readonly results = new Map<string, { readonly driver: number; readonly atMs: number }>()
  /** Calls whose start is durable. @see callKey */
  readonly started = new Set<string>()
  /** Steps of own agents that have their result. */
  readonly steps = new Set<string>()
  /** Runs without an end. */
  openRuns = 0

  constructor(options: RulesOptions) {
    this.#options = options
  }

  /** The newest fence of a stream. */
  fenceOf(stream: SessionId): number {
    return this.#lines.get(stream)?.fence ?? 0
  }

  /** What is left open at the end, as sentences. */
  atEnd(): readonly string[] {
    const open = [...this.runs].filter(([, fate]) => fate.endedMs === undefined).map(([id]) => `P6: run ${id} never ended`)
    const waiting = [...this.#lines].flatMap(([stream, line]) => {
      return line.queue.size === 0 || line.deleted || this.#erased.has(stream)
        ? []
        : [`P6: ${line.queue.size} accepted message(s) of ${stream} were forgotten in the queue`]
    })
    return [...open, ...waiting]
  }

  /** Takes in the next event of `stream`. */
  take(stream: SessionId, recorded: Recorded): void {
    const where = `${stream} at ${recorded.position}, ${recorded.event.type}`
    const broken = (sentence: string) => this.#options.broken(`${sentence} (${where})`)
    if (this.#erased.has(stream)) broken('L14: what was erased is written to')
    const line = recorded.event.type === 'SessionForked' ? this.#fork(stream, recorded.event.origin, broken) : this.#lineOf(stream)
    if (recorded.position !== line.head + 1) broken(`P3: position ${recorded.position} follows ${line.head}`)
    line.head = recorded.position
    this.#takeEvent(stream, line, recorded, broken)
    line.closed[recorded.position] = isClosed(line.run)
  }

  /** The session was erased. */
  erase(stream: SessionId): void {
    const line = this.#lines.get(stream)
    if (line === undefined || this.#erased.has(stream)) this.#options.broken(`L14: ${stream} was erased and is not there`)
    if (line?.run !== undefined) this.#options.broken(`L14: ${stream} was erased, and its run ${line.run.id} is active`)
    this.#erased.add(stream)
  }

  #fork(stream: SessionId, { sessionId, position }: Origin, broken: Say): Line {
    const origin = this.#lines.get(sessionId)
    if (this.#lines.has(stream)) broken('L13: a fork of the name of a session that is there')
    if (origin === undefined || this.#erased.has(sessionId)) broken(`L13: forked from ${sessionId}, which is not there`)
    if (origin?.closed[position] !== true) broken(`L13: forked at ${position}, where something is open, or nothing is`)
    this.#lines.delete(stream)
    const line = this.#lineOf(stream)
    line.head = position
    line.closed.push(...(origin?.closed.slice(1, position + 1) ?? []))
    return line
  }

  #lineOf(stream: SessionId): Line {
    const known = this.#lines.get(stream) ?? { head: 0, fence: 0, deleted: false, run: undefined, messages: new Set(), queue: new Map(), closed: [true] }
    this.#lines.set(stream, known)
    return known
  }

  #takeEvent(stream: SessionId, line: Line, { event, atMs }: Recorded, broken: (sentence: string) => void): void {
    switch (event.type) {
      case 'SessionDeleted':
        line.deleted = true
        return
      case 'MessageQueued':
        if (line.messages.has(event.messageId)) broken('P7: a message was accepted twice')
        line.messages.add(event.messageId)
        line.queue.set(event.messageId, event.nextRunId)
        return
      case 'RunStarted':
        return this.#startRun(stream, line, event, atMs, broken)
      default:
        if (!('runId' in event)) return
    }
    const fate = this.runs.get(event.runId)
    if (line.run === undefined || line.run.id !== event.runId || fate === undefined) {
      return broken(fate?.endedMs === undefined ? 'P4: an event of a run that is not active' : 'P6: an event behind the end of its run')
    }
    if (event.type === 'StepCompleted') {
      const step = callKey(event.runId, event.key)
      if (this.steps.has(step)) broken(`P5: step ${event.key} has two results`)
      this.steps.add(step)
    }
    if (event.type === 'ToolStarted') this.started.add(callKey(event.runId, event.toolCallId))
    if (event.type === 'ToolCompleted') this.results.set(callKey(event.runId, event.toolCallId), { driver: line.run.driver, atMs })
    inRun(line, line.run, fate, event, atMs, this.#options, broken)
    if (fate.endedMs !== undefined) this.openRuns--
  }

  #startRun(stream: SessionId, line: Line, event: Extract<StreamEvent, { type: 'RunStarted' }>, atMs: number, broken: (sentence: string) => void): void {
    if (line.run !== undefined) broken('P4: a run starts while another is active')
    if (this.runs.has(event.runId)) broken('P6: a run starts twice')
    if (event.fence <= line.fence) broken(`P4: fence ${event.fence} follows ${line.fence}`)
    line.fence = event.fence
    this.openRuns++
    this.runs.set(event.runId, { stream, startedMs: atMs, claims: 0 })
    const { runId: id, driver } = event
    line.run = {
      id,
      driver,
      turn: 0,
      turnOpen: false,
      attempt: 0,
      attemptOpen: false,
      streamedFrom: undefined,
      reported: false,
      calls: new Map(),
      held: undefined,
    }
  }
}

type Say = (sentence: string) => void

function isClosed(run: Run | undefined): boolean {
  return run === undefined || (!run.turnOpen && [...run.calls.values()].every(({ ended }) => ended))
}

/** What no run may do while a person is asked whether it goes on. */
const GOES_ON: ReadonlySet<StreamEvent['type']> = new Set([
  'TurnStarted',
  'AttemptStarted',
  'AttemptSuperseded',
  'TextDelta',
  'ThinkingDelta',
  'ToolStarted',
  'StepStarted',
])

function inQuestion(run: Run, event: StreamEvent, broken: Say): void {
  if (event.type === 'ResumeRequested') {
    if (run.held !== undefined) broken('P5: it is asked twice whether the run goes on')
    run.held = 'asked'
  } else if (event.type === 'ResumeDecided') {
    if (run.held !== 'asked') broken('P5: nobody asked whether the run goes on')
    run.held = event.action === 'resume' ? undefined : 'refused'
  } else if (run.held !== undefined && GOES_ON.has(event.type)) broken('P5: the run goes on, and nobody has said so')
}

function inRun(line: Line, run: Run, fate: RunFate, event: StreamEvent, atMs: number, options: RulesOptions, broken: Say): void {
  inQuestion(run, event, broken)
  switch (event.type) {
    case 'RunClaimed':
      if (event.fence <= line.fence) broken(`P4: fence ${event.fence} follows ${line.fence}`)
      line.fence = event.fence
      run.driver = event.driver
      fate.claims++
      return
    case 'CancelRequested':
      fate.cancelledMs ??= atMs
      return
    case 'RunCompleted':
    case 'RunFailed':
      requireResults(run, broken)
      if (run.turnOpen) broken('P5: the run ended in an open turn')
      fate.endedMs = atMs
      fate.end = event.type === 'RunCompleted' ? event.stopReason : event.code
      line.run = undefined
      return
    case 'MessageAdded':
      return takeMessage(line, run, event, broken)
    case 'TurnStarted':
      requireResults(run, broken)
      if (run.turnOpen || event.turn !== run.turn + 1 || event.attempt !== 1)
        broken(`P5: turn ${event.turn}.${event.attempt} follows ${run.turn}.${run.attempt}`)
      Object.assign(run, { turn: event.turn, turnOpen: true, attempt: 1, attemptOpen: true, streamedFrom: undefined, reported: false, calls: new Map() })
      return
    case 'TurnCompleted':
      requireResults(run, broken)
      if (!run.turnOpen || event.turn !== run.turn) broken(`P5: turn ${event.turn} ends, ${run.turnOpen ? run.turn : 'none'} is open`)
      Object.assign(run, { turnOpen: false, attemptOpen: false })
      return
    default:
      inTurn(run, event, line.head, broken)
      inCalls(run, event, options, broken)
  }
}

function takeMessage(line: Line, run: Run, event: Extract<StreamEvent, { type: 'MessageAdded' }>, broken: Say): void {
  if (event.message.role === 'assistant') {
    if (event.partial !== true && !run.attemptOpen) broken('P5: an answer without a call of the model')
    run.attemptOpen = false
    return
  }
  const queued = line.queue.delete(event.messageId)
  if (!queued && line.messages.has(event.messageId)) broken('P7: a message was taken in twice')
  if (!queued && event.delivery !== undefined) broken('P7: a message was taken out of the queue twice')
  line.messages.add(event.messageId)
}

function inTurn(run: Run, event: StreamEvent, position: number, broken: Say): void {
  switch (event.type) {
    case 'TextDelta':
    case 'ThinkingDelta':
      if (!run.attemptOpen) broken('P5: text without a call of the model')
      run.streamedFrom ??= position
      return
    case 'AttemptStarted':
      if (run.attemptOpen) broken('P5: an attempt starts, and nothing was said about the one before')
      if (!run.turnOpen || event.turn !== run.turn || event.attempt !== run.attempt + 1) broken(`P5: attempt ${event.attempt} follows ${run.attempt}`)
      Object.assign(run, { attempt: event.attempt, attemptOpen: true, streamedFrom: undefined })
      return
    case 'RetryScheduled':
      if (!run.attemptOpen) broken('P5: a retry without an attempt')
      run.attemptOpen = false
      return
    case 'AttemptSuperseded':
      if (!run.attemptOpen || event.attempt !== run.attempt) broken('P5: an attempt is superseded that is not under way')
      if (run.streamedFrom !== undefined && event.from !== run.streamedFrom) broken(`P5: superseded from ${event.from}, streamed from ${run.streamedFrom}`)
      run.attemptOpen = false
      return
    case 'UsageReported':
      if (run.reported) broken('P5: a model call was finished twice in one turn')
      run.reported = true
      return
    default:
  }
}

function inCalls(run: Run, event: StreamEvent, options: RulesOptions, broken: Say): void {
  if (event.type === 'ToolCallsProposed') {
    requireResults(run, broken)
    if (run.calls.size > 0) broken('P5: calls were proposed twice in one turn')
    run.calls = new Map(event.calls.map(({ id, name, disposition }) => [id, { name, ask: disposition === 'ask', starts: 0, ended: false }]))
    return
  }
  if (!('toolCallId' in event)) return
  const call = run.calls.get(event.toolCallId)
  if (call === undefined) return broken(`P5: ${event.toolCallId} is no call of this turn`)
  switch (event.type) {
    case 'ApprovalDecided':
      if (call.decided !== undefined || call.ended) broken(`P10: ${event.toolCallId} was decided twice, or too late`)
      call.decided = event.action
      return
    case 'ToolStarted':
      if (call.ended) broken(`P5: ${event.toolCallId} starts behind its result`)
      if (call.ask && call.decided !== 'accept') broken(`P10: ${event.toolCallId} starts without a yes`)
      if (call.starts > 0 && !options.repeatable(call.name)) broken(`P5: ${event.toolCallId} must not be repeated, and starts again`)
      call.starts++
      return
    case 'ToolCompleted':
    case 'ToolRejected':
      if (call.ended) broken(`P5: ${event.toolCallId} has two results`)
      call.ended = true
      return
    default:
  }
}

function requireResults(run: Run, broken: Say): void {
  for (const [id, call] of run.calls) if (!call.ended) broken(`P5: call ${id} has no result`)
}
