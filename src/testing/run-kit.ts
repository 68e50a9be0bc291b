/**
 * Runs under test: a supervisor over any store, and one session in it that is spoken to like a client would.
 *
 * The log's engine, the hub and the committer are handed in, so that the kit fits every engine.
 */
import type { CancelRun, DecideCalls, SendMessage, SessionCommand, Reply } from '../domain/command.ts'
import type { DecisionAction, OnInterrupt, Recorded, RunOptions, StreamEvent } from '../domain/event.ts'
import type { RunId, SessionId } from '../domain/ids.ts'
import type { Random, Telemetry } from '../domain/ports.ts'
import type { Principal } from '../domain/principal.ts'
import type { ToolIntent } from '../domain/tool.ts'
import type { Agent } from '../runtime/agent.ts'
import type { DriverParts } from '../runtime/driver.ts'
import type { ManualClock } from './manual-clock.ts'
import { ConvokeError } from '../domain/errors.ts'
import { isTerminal } from '../domain/event.ts'
import { messageId, runId, sessionId, userId } from '../domain/ids.ts'
import { USER_SCOPES } from '../domain/principal.ts'
import { READ_EVENTS_MAX } from '../log/store.ts'
import { Supervisor } from '../runtime/supervisor.ts'

/** The person that the kit speaks as. */
export const TESTER: Principal = { user: userId('alice'), scopes: USER_SCOPES }

/** A log line that was written. */
export interface LogLine {
  readonly level: string
  readonly message: string
  readonly fields: Readonly<Record<string, unknown>>
}

/** A telemetry that keeps its lines. */
export function keptLog(): Telemetry & { readonly lines: readonly LogLine[] } {
  const lines: LogLine[] = []
  return { lines, log: (level, message, fields = {}) => void lines.push({ level, message, fields }) }
}

/** Ids that count: growing UUIDs, the same in each test. */
export function countingRandom(): Random {
  let ids = 0
  return { uuid: () => `01900000-0000-7000-9000-${(++ids).toString(16).padStart(12, '0')}`, fraction: () => 0.5 }
}

/** Lets everything that is ready run, for `turns` turns of the loop. */
export async function settle(turns = 40): Promise<void> {
  for (let left = turns; left > 0; left--) await new Promise<void>((resolve) => setImmediate(resolve))
}

/** What a host is made of. */
export interface RunHostOptions extends DriverParts {
  readonly clock: ManualClock
  readonly agents: readonly Agent[]
  /** Told what a takeover ends. */
  readonly killGroup?: (intent: ToolIntent) => void
}

/** One process that drives runs. */
export interface RunHost extends RunHostOptions {
  readonly supervisor: Supervisor
}

/** A supervisor over the parts, not started yet. */
export function runHost(options: RunHostOptions): RunHost {
  const killGroup = options.killGroup ?? (() => undefined)
  const supervisor = new Supervisor({ ...options, killGroup, agent: (name) => options.agents.find((agent) => agent.name === name) })
  return { ...options, supervisor }
}

type EventOf<Type extends StreamEvent['type']> = Extract<StreamEvent, { type: Type }>

/** One session on one host. */
export interface RunSession {
  readonly id: SessionId
  /** The run of the newest message that started one or would start one. */
  readonly run: RunId
  create(options?: { readonly agent?: string; readonly model?: string; readonly onInterrupt?: OnInterrupt }): Promise<void>
  /** Says `text`. Without `more` it starts a run and is refused while one is active. */
  send(text: string, options?: RunOptions, more?: Partial<SendMessage>): Promise<Reply>
  steer(text: string): Promise<Reply>
  followUp(text: string): Promise<Reply>
  cancel(run?: RunId): Promise<Reply>
  /** Answers calls, each as `[id, action, content?]`. */
  decide(...decisions: readonly (readonly [string, DecisionAction, string?])[]): Promise<Reply>
  execute(command: SessionCommand): Promise<Reply>
  /** The whole log of the session. */
  log(): Promise<readonly Recorded[]>
  /** The events of one type, in order. */
  events<Type extends StreamEvent['type']>(type: Type): Promise<readonly EventOf<Type>[]>
  /** Resolves when the log holds `count` events of `type`, with the last of these. */
  until<Type extends StreamEvent['type']>(type: Type, count?: number): Promise<EventOf<Type>>
  /** Resolves when `run` has its terminal event, with it. */
  ended(run?: RunId): Promise<EventOf<'RunCompleted' | 'RunFailed'>>
}

/** The session `id` as a client of `host` sees it. */
export function runSession(host: RunHost, id: SessionId, random: Random): RunSession {
  let run = runId('')
  const { store, committer, clock } = host
  const execute = async (command: SessionCommand): Promise<Reply> => {
    const [outcome] = await committer.commit([{ kind: 'decide', stream: id, command, asker: TESTER, atMs: clock.nowMs() }])
    if (outcome?.kind === 'refused') throw new ConvokeError(outcome.code, outcome.message)
    if (outcome?.kind !== 'appended') throw new Error('a command was fenced')
    return outcome.reply
  }
  const log = () => wholeLog(store, id)
  /** Reads the log after each commit until `found` answers. */
  const waitFor = async <T>(found: (log: readonly Recorded[]) => T | undefined): Promise<T> => {
    for (;;) {
      let stopWatching: () => void = () => undefined
      const changed = new Promise<void>((resolve) => (stopWatching = committer.watch((batch) => void (batch.stream === id && resolve()))))
      const answer = found(await log())
      if (answer === undefined) await changed
      stopWatching()
      if (answer !== undefined) return answer
    }
  }
  const deliver = (text: string, delivery: 'steer' | 'follow_up') => self.send(text, {}, { delivery, runId: run })
  const self: RunSession = {
    id,
    get run() {
      return run
    },
    async create({ agent = 'convoke', model, onInterrupt } = {}) {
      const optional = { ...(model === undefined ? {} : { model }), ...(onInterrupt === undefined ? {} : { onInterrupt }) }
      await execute({ type: 'CreateSession', title: 'a title', agent, ...optional })
    },
    async send(text, options = {}, more = {}) {
      const ids = { messageId: messageId(random.uuid()), newRunId: runId(random.uuid()), driver: store.driver }
      const message = { role: 'user', content: text } as const
      const reply = await execute({ type: 'SendMessage', ...ids, message, options, whenBusy: 'reject', ...more })
      if (reply.accepted === 'started' || more.whenBusy === 'interrupt') run = reply.runId ?? run
      return reply
    },
    steer: (text) => deliver(text, 'steer'),
    followUp: (text) => deliver(text, 'follow_up'),
    cancel: (which = run) => execute({ type: 'CancelRun', runId: which } satisfies CancelRun),
    decide(...decisions) {
      const spelled = decisions.map(([toolCallId, action, content]) => ({ toolCallId, action, ...(content === undefined ? {} : { content }) }))
      return execute({ type: 'DecideCalls', runId: run, decisions: spelled } satisfies DecideCalls)
    },
    execute,
    log,
    events: async (type) => ofType(await log(), type),
    until: (type, count = 1) => waitFor((events) => ofType(events, type)[count - 1]),
    ended: (which = run) => waitFor((events) => events.flatMap(({ event }) => (isTerminal(event) && event.runId === which ? [event] : []))[0]),
  }
  return self
}

/** A session id that is the same in each test. */
export const TEST_SESSION = sessionId('01900000-0000-7000-8000-000000000001')

function ofType<Type extends StreamEvent['type']>(log: readonly Recorded[], type: Type): readonly EventOf<Type>[] {
  return log.flatMap(({ event }) => (isOfType(event, type) ? [event] : []))
}

function isOfType<Type extends StreamEvent['type']>(event: StreamEvent, type: Type): event is EventOf<Type> {
  return event.type === type
}

async function wholeLog(store: DriverParts['store'], id: SessionId): Promise<readonly Recorded[]> {
  const log: Recorded[] = []
  for (;;) {
    const page = await store.read(id, log.length, READ_EVENTS_MAX)
    log.push(...(page?.events ?? []))
    if (page === undefined || log.length >= page.head) return log
  }
}
