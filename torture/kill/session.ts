/** Drives one session by its plan, through any number of kills, and brings home what was seen and what was answered. */
import type { Commander } from '../support/commander.ts'
import type { Seen } from '../support/log.ts'
import { startReader, type Reader, type ReaderWorld } from '../support/readers.ts'
import { elapsed, untilTrue } from '../support/wait.ts'
import { decisionOf, type Companion, type PlannedMessage, type SessionPlan } from './plan.ts'

/** How long all runs of one message may take, in ms, kills included. */
const MESSAGE_MS = 90_000
/** How long a reader may take to what its neighbour has seen, in ms. */
const CATCH_UP_MS = 30_000
/** How often a session's creation is tried. */
const CREATE_TRIES_MAX = 20

/** What every session is given. */
export interface Crew {
  readonly world: ReaderWorld
  readonly seed: number
  readonly commander: Commander
  /** Aborted when there is no time left. */
  readonly signal: AbortSignal
}

/** What came of a session. */
export interface SessionStory {
  readonly id: string
  readonly title: string
  readonly readers: readonly Reader[]
  /** Transcripts as pages showed them, one after the other. */
  readonly transcripts: readonly (readonly string[])[]
  readonly found: readonly string[]
}

/** Drives it. Answers nothing where nobody ever learned whether the session is there. */
export async function driveSession(crew: Crew, plan: SessionPlan): Promise<SessionStory | undefined> {
  const id = await createSession(crew, plan.title)
  if (id === undefined) return undefined
  const found: string[] = []
  const view = new SessionView()
  const main = startReader(crew.world, 'client', id, 0, (event) => {
    view.see(event)
    if (event.name === 'waiting_for_tool_approval') for (const call of event.payload['pending_tool_call_ids'] as string[]) answer(call, event.runId ?? '')
  })
  const readers = [main, ...plan.readers.map(({ kind, after }) => startReader(crew.world, kind, id, after))]
  const answers: Promise<void>[] = []
  const answer = (call: string, runId: string) => void answers.push(decide(crew, id, runId, call))
  const pages = readPages(crew, id, () => view.closed)
  try {
    for (const message of plan.messages) {
      if (crew.signal.aborted) break
      found.push(...(await say(crew, id, view, message)))
    }
    await Promise.all(answers)
    for (const reader of readers.slice(1)) {
      const position = view.lastFor(reader.view)
      if (!(await reader.reached(position, CATCH_UP_MS))) found.push(`P3: session ${id}, ${reader.who}: it did not come to position ${position}`)
    }
  } finally {
    view.closed = true
    await Promise.all(readers.map((reader) => reader.stop()))
  }
  return { id, title: plan.title, readers, transcripts: await pages, found }
}

async function createSession({ commander, signal }: Crew, title: string): Promise<string | undefined> {
  for (let tries = 1; tries <= CREATE_TRIES_MAX && !signal.aborted; tries++) {
    // Without an answer it may be there: under this title it must not be made again.
    const made = await commander.client.createSession({ title: tries === 1 ? title : `${title}, again ${tries}` }).catch(() => undefined)
    if (made !== undefined) return made.id
  }
  return undefined
}

/** What the driver knows of its session, from its own events. */
class SessionView {
  closed = false
  seen = 0
  position = 0
  run: string | undefined
  readonly #queued = new Set<unknown>()
  #lastContract = 0

  see({ position, name, runId, payload }: Seen): void {
    this.seen++
    this.position = position
    if (!ADDITIONAL.has(name)) this.#lastContract = position
    if (name === 'run_started') this.run = runId ?? undefined
    if (name === 'run_completed' || name === 'run_error') this.run = undefined
    if (name === 'message_queued') this.#queued.add(payload['message_id'])
    if (name === 'message_added') this.#queued.delete(payload['message_id'])
  }

  get idle(): boolean {
    return this.run === undefined && this.#queued.size === 0
  }

  lastFor(view: 'all' | 'contract'): number {
    return view === 'all' ? this.position : this.#lastContract
  }
}

/** Events that a reader of the contract does not get, among those that occur here. */
const ADDITIONAL = new Set(['session_created', 'session_updated', 'message_added', 'message_queued', 'approval_decided', 'run_claimed', 'cancel_requested'])

/** Says one message, does what goes beside it, and waits until nothing is left to do. */
async function say(crew: Crew, id: string, view: SessionView, { script, via, companion }: PlannedMessage): Promise<readonly string[]> {
  const begun = view.seen
  const beside = companion === undefined ? Promise.resolve(0) : accompany(crew, id, view, companion, begun)
  const positions = await Promise.all([crew.commander.message(id, script, via, undefined), beside])
  const upTo = Math.max(...positions.map((position) => position ?? 0))
  const idle = await untilTrue(MESSAGE_MS, () => crew.signal.aborted || (view.idle && view.position >= upTo))
  return idle ? [] : [`P6: session ${id}: nothing ended within ${MESSAGE_MS} ms after the message ${script.key}; the run is ${view.run}`]
}

async function accompany(crew: Crew, id: string, view: SessionView, { what, afterEvents, script }: Companion, begun: number): Promise<number | undefined> {
  const { commander } = crew
  // A message that asks for little brings few events: then it is sent to an idle session.
  const endMs = performance.now() + 5_000
  await untilTrue(
    MESSAGE_MS,
    () => view.seen >= begun + afterEvents || (view.seen > begun + 4 && view.idle) || performance.now() > endMs || crew.signal.aborted,
  )
  switch (what) {
    case 'cancel':
      if (view.run !== undefined) await commander.cancel(id, view.run)
      return undefined
    case 'rename':
      await commander.rename(id, `renamed ${script.key}`)
      return undefined
    default:
      return commander.message(id, script, 'client', what)
  }
}

/** Answers a call until somebody takes the answer. */
async function decide({ commander, seed, signal }: Crew, id: string, runId: string, call: string): Promise<void> {
  while (!signal.aborted && (await commander.decide(id, runId, call, decisionOf(seed, call))) === 'unknown');
}

/** Reads the transcript in small pages, over and over. */
async function readPages({ commander, signal }: Crew, id: string, over: () => boolean): Promise<readonly (readonly string[])[]> {
  const read: string[][] = []
  while (!over() && !signal.aborted) {
    const all: string[] = []
    for (let more = true; more && !over();) {
      const page = await commander.client.listMessages(id, { limit: 4, offset: all.length }).catch(() => undefined)
      if (page === undefined) break
      all.push(...page.messages.map((message) => JSON.stringify(message)))
      more = page.messages.length === 4
    }
    read.push(all)
    await elapsed(250)
  }
  return read
}
