/** A session's log as it was read at the end: what everything else is compared with, and what must be true of it by itself. */

/** One event, as a reader saw it. */
export interface Seen {
  readonly position: number
  /** The wire's name: `run_started`. */
  readonly name: string
  readonly runId: string | null
  /** When it was recorded, in ms. */
  readonly atMs: number
  readonly payload: Readonly<Record<string, unknown>>
  /** Everything of it, to be compared. */
  readonly text: string
}

/** The data of a frame. */
export interface Envelope {
  readonly id: number
  readonly session_id: string
  readonly run_id: string | null
  readonly timestamp: string
  readonly event: Readonly<Record<string, Readonly<Record<string, unknown>>>>
}

/** The event of a frame. */
export function seenOf(name: string, { id, run_id, timestamp, event }: Pick<Envelope, 'id' | 'run_id' | 'timestamp' | 'event'>): Seen {
  const payload = Object.values(event)[0] ?? {}
  return { position: id, name, runId: run_id, atMs: Date.parse(timestamp), payload, text: JSON.stringify([name, run_id, timestamp, payload]) }
}

/** A tool call, from its proposal to its result. */
export interface Call {
  readonly id: string
  readonly tool: string
  readonly session: string
  /** Of its proposal. */
  readonly position: number
  readonly starts: number
  readonly rejected: boolean
  /** A person allowed it. */
  readonly accepted: boolean
  /** Its result is the tool's own: `ok` and the call's id, as the harness' tools answer. */
  readonly answeredByTool: boolean
}

/** What a log says of a session, and what is wrong with it. */
export interface JudgedLog {
  readonly calls: ReadonlyMap<string, Call>
  readonly runs: number
  readonly takeovers: number
  /** Runs that ended as `crash_loop`. */
  readonly crashLoops: number
  /** Model calls that were cut off and made again. */
  readonly superseded: number
  readonly found: readonly string[]
}

interface OpenCall {
  readonly id: string
  readonly tool: string
  readonly position: number
  readonly runId: string
  starts: number
  results: number
  rejected: boolean
  accepted: boolean
  answeredByTool: boolean
}

/** Reads a log: positions without a hole (P3), every run ended once (P6), one result for every call (P5). */
export function judgeLog(session: string, log: readonly Seen[]): JudgedLog {
  const found: string[] = []
  const calls = new Map<string, OpenCall>()
  const runs = new Map<string, { ends: number; code: unknown }>()
  const complain = (promise: string, at: Seen, what: string) => found.push(`${promise}: session ${session}, position ${at.position}, ${at.name}: ${what}`)
  log.forEach((event, index) => {
    if (event.position !== index + 1) complain('P3', event, `its place in the log is ${index + 1}`)
    if (event.runId !== null) followRun(event, runs, complain)
    followCall(event, calls, complain)
  })
  for (const [id, run] of runs) if (run.ends !== 1) found.push(`P6: session ${session}: the run ${id} has ${run.ends} ends`)
  for (const call of calls.values()) {
    if (call.results !== 1) found.push(`P5: session ${session}: the call ${call.id}, proposed at ${call.position}, has ${call.results} results`)
  }
  return {
    calls: new Map([...calls].map(([id, { results: _results, runId: _runId, ...call }]) => [id, { ...call, session }])),
    runs: runs.size,
    takeovers: log.filter(({ name }) => name === 'run_claimed').length,
    crashLoops: [...runs.values()].filter(({ code }) => code === 'crash_loop').length,
    superseded: log.filter(({ name, payload }) => name === 'retry_attempt' && payload['superseded_from'] !== undefined).length,
    found,
  }
}

type Complain = (promise: string, at: Seen, what: string) => void

function followRun(event: Seen, runs: Map<string, { ends: number; code: unknown }>, complain: Complain): void {
  const id = event.runId ?? ''
  const run = runs.get(id)
  if (event.name === 'run_started') {
    if (run !== undefined) complain('P6', event, `the run ${id} began before`)
    for (const [other, { ends }] of runs) if (ends === 0) complain('P4', event, `the run ${other} is active`)
    runs.set(id, { ends: 0, code: undefined })
    return
  }
  // A message that waits names the run that is active, or that it will start.
  if (event.name === 'message_queued') return
  if (run === undefined) return complain('P6', event, `the run ${id} has not begun`)
  if (run.ends > 0) complain('P6', event, `the run ${id} has ended before`)
  if (event.name === 'run_completed' || event.name === 'run_error') {
    run.ends++
    run.code = event.payload['code']
  }
}

function followCall(event: Seen, calls: Map<string, OpenCall>, complain: Complain): void {
  const { payload, name, position } = event
  const call = calls.get(String(payload['tool_call_id']))
  switch (name) {
    case 'tool_calls_proposed':
      for (const { id, name: tool } of payload['tool_calls'] as readonly { id: string; name: string }[]) {
        if (calls.has(id)) complain('P5', event, `the call ${id} was proposed before`)
        const open = { starts: 0, results: 0, rejected: false, accepted: false, answeredByTool: false }
        calls.set(id, { id, tool, position, runId: event.runId ?? '', ...open })
      }
      return
    case 'approval_decided':
      if (call === undefined || call.results > 0) return complain('P10', event, 'its call is not open')
      call.accepted = payload['action'] === 'accept'
      return
    case 'tool_execution_started':
      if (call === undefined || call.results > 0) return complain('P5', event, 'its call is not open')
      call.starts++
      return
    case 'tool_execution_completed':
    case 'tool_rejected':
      if (call === undefined) return complain('P5', event, 'nobody proposed its call')
      call.results++
      call.rejected = name === 'tool_rejected'
      call.answeredByTool = payload['result'] === `ok ${call.id}`
      return
    case 'turn_completed':
      for (const open of calls.values()) {
        if (open.results === 0 && open.runId === event.runId) complain('P5', event, `the call ${open.id} has no result`)
      }
      return
    default:
  }
}
