/** The session list's fold: one row per session, changed only by events that a list shows. */
import type { OnInterrupt, Origin, Recorded, StreamEvent } from '../domain/event.ts'
import type { Position, RunId, SessionId, UserId } from '../domain/ids.ts'

/** A session as lists and details show it. */
export interface SessionSummary {
  readonly id: SessionId
  readonly owner: UserId
  readonly title: string
  readonly cwd?: string
  readonly agent: string
  readonly model?: string
  /** Absent: `resume`. */
  readonly onInterrupt?: OnInterrupt
  readonly status: 'active' | 'deleted'
  readonly visibility: 'PRIVATE' | 'PUBLIC'
  readonly createdAtMs: number
  /** When something last happened that a list shows: a message, a run's start or end, a change. */
  readonly updatedAtMs: number
  readonly run: {
    readonly state: 'idle' | 'starting' | 'running' | 'waiting' | 'failed'
    readonly runId?: RunId
    /** Position of the run's start, while it lasts. */
    readonly startedAt?: Position
    /** Calls that wait for a decision: the run waits until there is none. */
    readonly asked?: readonly string[]
    /** It was interrupted, and waits for a person to say whether it goes on. */
    readonly resume?: 'asked'
    readonly error?: string
    readonly code?: string
  }
  /** Finished messages in the transcript. */
  readonly messageCount: number
  /** Where a fork comes from. */
  readonly origin?: Origin
}

/** The row after `recorded`; the same object where the list does not change. `undefined` until the session is created. */
export function summarize(id: SessionId, summary: SessionSummary | undefined, recorded: Recorded): SessionSummary | undefined {
  const { event, atMs } = recorded
  if (event.type === 'SessionCreated') return created(id, event, atMs, 0)
  // What the list showed of the origin does not count here.
  if (event.type === 'SessionForked') return { ...created(id, event, atMs, event.messages), origin: event.origin }
  if (summary === undefined) return undefined
  const set = (change: Partial<SessionSummary>): SessionSummary => ({ ...summary, ...change, updatedAtMs: Math.max(atMs, summary.updatedAtMs) })
  switch (event.type) {
    case 'SessionUpdated':
      return set(updated(event))
    case 'SessionDeleted':
      return set({ status: 'deleted' })
    case 'SessionAssigned':
      return set({ owner: event.to })
    case 'ModelChanged':
      return set({ model: event.model })
    case 'MessageAdded':
      return set({ messageCount: summary.messageCount + 1 })
    case 'ToolCompleted':
    case 'ToolRejected':
      return set({ messageCount: summary.messageCount + 1, run: answered(summary.run, event.toolCallId) })
    case 'RunStarted':
      return set({ run: { state: 'starting', runId: event.runId, startedAt: recorded.position } })
    case 'TurnStarted':
    case 'StepStarted':
      // Not a change of its own in a list's order: the run's start was one, a moment ago.
      return summary.run.state === 'running' ? summary : { ...summary, run: running(summary.run) }
    case 'ApprovalRequested':
      return set({ run: { ...summary.run, state: 'waiting', asked: [...new Set([...(summary.run.asked ?? []), ...event.toolCallIds])] } })
    case 'ResumeRequested':
      return set({ run: { ...summary.run, state: 'waiting', resume: 'asked' } })
    case 'ResumeDecided':
      return set({ run: decidedResume(summary.run) })
    case 'ApprovalDecided':
      return set({ run: answered(summary.run, event.toolCallId) })
    case 'RunCompleted':
      return set({ run: { state: 'idle' } })
    case 'RunFailed':
      return set({ run: { state: 'failed', error: event.error, code: event.code } })
    default:
      return summary
  }
}

function updated(event: Extract<StreamEvent, { type: 'SessionUpdated' }>): Partial<SessionSummary> {
  const { title, visibility, agent, onInterrupt } = event
  return {
    ...(title === undefined ? {} : { title }),
    ...(visibility === undefined ? {} : { visibility }),
    ...(agent === undefined ? {} : { agent }),
    ...(onInterrupt === undefined ? {} : { onInterrupt }),
  }
}

type Opening = Extract<StreamEvent, { type: 'SessionCreated' | 'SessionForked' }>

function created(id: SessionId, event: Opening, atMs: number, messageCount: number): SessionSummary {
  const { owner, title, cwd, agent, model, onInterrupt } = event
  const optional = {
    ...(cwd === undefined ? {} : { cwd }),
    ...(model === undefined ? {} : { model }),
    ...(onInterrupt === undefined ? {} : { onInterrupt }),
  }
  const times = { createdAtMs: atMs, updatedAtMs: atMs }
  return { id, owner, title, agent, ...optional, status: 'active', visibility: 'PRIVATE', ...times, run: { state: 'idle' }, messageCount }
}

type RunSummary = SessionSummary['run']

/** The run after one of its calls needs no decision any more. */
function answered(run: RunSummary, toolCallId: string): RunSummary {
  if (run.state !== 'waiting') return run
  const asked = run.asked?.filter((id) => id !== toolCallId) ?? []
  return asked.length === 0 && run.resume === undefined ? running(run) : { ...run, asked }
}

/** The run after a person said whether it goes on. Calls may still wait for their own answers. */
function decidedResume({ resume: _resume, ...run }: RunSummary): RunSummary {
  return run.asked === undefined || run.asked.length === 0 ? running(run) : run
}

function running(run: RunSummary): RunSummary {
  const { asked: _asked, ...rest } = run
  return { ...rest, state: 'running' }
}
