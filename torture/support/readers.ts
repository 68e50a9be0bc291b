/**
 * Readers of one session that come back with their cursor whenever they are cut off. They note what they see as it comes and correct
 * nothing: what is wrong is found when their sights are compared with the log.
 */
import { createClient, type ClientEvent } from '../../src/client/index.ts'
import { openSocket } from '../../test/support/socket.ts'
import type { Sight, View } from './judge-reader.ts'
import { seenOf, type Envelope, type Seen } from './log.ts'
import { followSse } from './sse.ts'
import { elapsed, untilTrue } from './wait.ts'

/** Pause before a reader comes back, in ms. */
const PAUSE_MS = 30

/** Longer waits than this are no pauses, in ms. */
const PATIENT_MS = 10_000

/** What every reader needs. */
export interface ReaderWorld {
  /** Where the server is now. */
  readonly url: string
  /** Has `fn` called when everything is to end. */
  atClose(fn: () => void): void
}

/** A reader at work. */
export interface Reader extends Sight {
  readonly events: readonly Seen[]
  /** What no reader should see whatever the log says: heads that go back, gaps, errors. */
  readonly found: readonly string[]
  /** How often it came back. */
  readonly returns: number
  /** Resolves whether the reader came to `position` in time. */
  reached(position: number, withinMs: number): Promise<boolean>
  stop(): Promise<void>
}

/** The ways to read. */
export const READER_KINDS = ['client', 'raw stream', 'contract stream', 'socket'] as const
/** One of them. */
export type ReaderKind = (typeof READER_KINDS)[number]

/** Starts a reader after `after`; `onEvent` sees each event as it comes. */
export function startReader(world: ReaderWorld, kind: ReaderKind, session: string, after: number, onEvent: (event: Seen) => void = () => undefined): Reader {
  const stop = new AbortController()
  world.atClose(() => stop.abort())
  const events: Seen[] = []
  const found: string[] = []
  const state = { returns: 0, position: after }
  const view: View = kind === 'contract stream' ? 'contract' : 'all'
  const notes: Notes = {
    session,
    view,
    signal: stop.signal,
    position: () => state.position,
    take(event) {
      events.push(event)
      state.position = Math.max(state.position, event.position)
      onEvent(event)
    },
    head(head) {
      if (head < state.position) found.push(`P2: session ${session}, ${kind}: position ${state.position} was shown, then the head was ${head}`)
    },
    complain: (what) => void found.push(`P3: session ${session}, ${kind}, position ${state.position}: ${what}`),
    returned: () => void state.returns++,
  }
  const work = READ[kind](world, notes).catch((error: unknown) => notes.complain(String(error)))
  return {
    who: kind,
    session,
    view,
    after,
    events,
    found,
    get returns() {
      return state.returns
    },
    reached: (position, withinMs) => untilTrue(withinMs, () => state.position >= position),
    async stop() {
      stop.abort()
      await work
    },
  }
}

interface Notes {
  readonly session: string
  readonly view: View
  readonly signal: AbortSignal
  readonly position: () => number
  readonly take: (event: Seen) => void
  readonly head: (head: number) => void
  readonly complain: (what: string) => void
  readonly returned: () => void
}

const READ: Readonly<Record<ReaderKind, (world: ReaderWorld, notes: Notes) => Promise<void>>> = {
  client: readByClient,
  'raw stream': readStream,
  'contract stream': readStream,
  socket: readSocket,
}

/** The typed client: it reconnects by itself, and throws only what waiting cannot mend. */
async function readByClient(world: ReaderWorld, notes: Notes): Promise<void> {
  const client = createClient({ url: 'http://server', fetch: movingFetch(world), after: eagerTimer })
  const events = client.events(notes.session, { after: notes.position(), all: true, signal: notes.signal, onReconnect: notes.returned })
  for await (const event of events) {
    if (event.name === 'gap_detected') notes.complain(`a gap was told: ${JSON.stringify(event.payload)}`)
    else notes.take(seenOfClient(event))
  }
}

/** A client's timer with shorter pauses, so that servers which live for a moment have clients; the patience with silence stays. */
export function eagerTimer(delayMs: number, fn: () => void): () => void {
  const timer = setTimeout(fn, delayMs > PATIENT_MS ? delayMs : delayMs / 5)
  return () => clearTimeout(timer)
}

/** An event of the typed client, as a frame shows it. */
export function seenOfClient({ position, name, runId, timestamp, payload }: ClientEvent): Seen {
  return seenOf(name, { id: position, run_id: runId, timestamp, event: { payload } })
}

/** A `fetch` that finds the server wherever it is now; the host of its addresses does not count. */
export function movingFetch(world: ReaderWorld, see: (response: Response) => void = () => undefined): typeof fetch {
  return async (input, init) => {
    const { pathname, search } = new URL(input instanceof Request ? input.url : input)
    const response = await fetch(`${world.url}${pathname}${search}`, init)
    see(response)
    return response
  }
}

async function readStream(world: ReaderWorld, notes: Notes): Promise<void> {
  const path = `/v1/sessions/${notes.session}/events${notes.view === 'all' ? '?events=all' : ''}`
  await followSse({
    url: () => world.url,
    path,
    cursor: () => String(notes.position()),
    signal: notes.signal,
    onReturn: notes.returned,
    onHead: (head) => notes.head(Number(head)),
    onFrame({ id, event = '', data }) {
      if (event === 'gap_detected') return notes.complain(`a gap was told: ${data}`)
      const envelope = JSON.parse(data) as Envelope
      if (id !== String(envelope.id)) notes.complain(`the frame ${id} holds the event ${envelope.id}`)
      notes.take(seenOf(event, envelope))
    },
    onRefused: (status, text) => notes.complain(`the stream was refused: ${status} ${text}`),
  })
}

async function readSocket(world: ReaderWorld, notes: Notes): Promise<void> {
  for (; !notes.signal.aborted; await elapsed(PAUSE_MS)) {
    const path = `/v1/sessions/${notes.session}/ws?events=all&after=${notes.position()}`
    // Nobody listens there at the moment.
    const open = await openSocket(world.url, path).catch(() => undefined)
    if (open === undefined) continue
    const onAbort = () => open.socket.terminate()
    notes.signal.addEventListener('abort', onAbort)
    if (notes.signal.aborted) onAbort()
    const all = open.until((message: Envelope & { readonly type: string; readonly name: string }) => {
      if (message.type === 'event') notes.take(seenOf(message.name, message))
      else if (message.type !== 'keepalive') notes.complain(`the socket said ${JSON.stringify(message)}`)
      return false
    })
    // It throws when the socket closes.
    await all.catch(() => undefined)
    notes.signal.removeEventListener('abort', onAbort)
    if (!notes.signal.aborted) notes.returned()
  }
}
