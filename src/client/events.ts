/**
 * A session's events, for as long as somebody wants them.
 *
 * C1. Every event after the cursor comes once, in order, through any number of broken connections.
 * C2. A connection that is silent for `SILENCE_MS` (the server speaks every 15 s) is taken for dead and made anew. Only waiting
 *     counts: whoever takes the events may take their time.
 * C3. What waiting cannot mend (an unknown session, a wrong key) is thrown.
 */
import { createParser, type EventSourceMessage } from 'eventsource-parser'
import { ConvokeClientError, errorOf } from './errors.ts'
import { headersOf, isTransient, pause, timerOf, waitMs, type Connection } from './request.ts'

/** Silence after which a connection is made anew, in ms. */
export const SILENCE_MS = 45_000

/** One event. */
export interface ClientEvent {
  /** Place in the session; 0 for `gap_detected`, which is not stored. */
  readonly position: number
  /** The wire's name: `text_delta`, `run_completed`, ... */
  readonly name: string
  readonly runId: string | null
  readonly timestamp: string
  readonly payload: Readonly<Record<string, unknown>>
}

/** Which events. */
export interface EventsOptions {
  /** Begin after this position; 0 is the beginning. Without it: what comes from now on. */
  readonly after?: number
  /** Also events beyond the contract, so that positions have no holes. */
  readonly all?: boolean
  /** End behind the first end of a run. */
  readonly untilRunEnd?: boolean
  readonly signal?: AbortSignal
  /** Told when a connection broke and another is tried. */
  readonly onReconnect?: () => void
}

interface Envelope {
  readonly id: number
  readonly run_id: string | null
  readonly timestamp: string
  readonly event: Readonly<Record<string, Readonly<Record<string, unknown>>>>
}

/** Follows a session. @throws {ConvokeClientError} */
export async function* followEvents(connection: Connection, sessionId: string, options: EventsOptions = {}): AsyncGenerator<ClientEvent, void, void> {
  let position = options.after
  // Positions belong to a log: a server whose data was replaced says so with a gap.
  let log: string | undefined
  for (let tries = 1; !isAborted(options.signal); tries++) {
    const link = new AbortController()
    let failure: unknown
    try {
      const response = await unlessSilent(
        connection,
        link,
        open(connection, sessionId, { position, log }, { ...options, signal: linked(link, options.signal) }),
      )
      if (response.body === null || response.status === 204) return
      log = response.headers.get('convoke-log-id') ?? log
      for await (const message of messages(connection, link, response.body)) {
        if (message.head !== undefined) position ??= message.head
        if (message.event === undefined) continue
        const event = message.event
        if (event.name !== 'gap_detected' && event.position <= (position ?? 0)) continue
        position = event.name === 'gap_detected' ? Number(event.payload['newest_available_id'] ?? 0) : event.position
        tries = 0
        yield event
        if (options.untilRunEnd === true && isEnd(event)) return
      }
    } catch (error) {
      if (isAborted(options.signal)) return
      if (error instanceof ConvokeClientError && !isTransient(error)) throw error
      failure = error
    }
    if (isAborted(options.signal)) return
    options.onReconnect?.()
    await pause(connection, waitMs(failure, Math.max(1, Math.min(tries, 6))), options.signal)
  }
}

function linked(link: AbortController, signal: AbortSignal | undefined): AbortSignal {
  return signal === undefined ? link.signal : AbortSignal.any([link.signal, signal])
}

function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true
}

function isEnd(event: ClientEvent): boolean {
  return event.name === 'run_completed' || event.name === 'run_error'
}

async function open(
  connection: Connection,
  sessionId: string,
  from: { readonly position: number | undefined; readonly log: string | undefined },
  options: EventsOptions & { readonly signal: AbortSignal },
): Promise<Response> {
  const query = new URLSearchParams()
  if (options.all === true) query.set('events', 'all')
  if (options.untilRunEnd === true) query.set('until', 'run_end')
  if (from.position !== undefined) query.set('after', String(from.position))
  if (from.position !== undefined && from.log !== undefined) query.set('log', from.log)
  const url = `${connection.url}/v1/sessions/${encodeURIComponent(sessionId)}/events?${query}`
  const response = await (connection.fetch ?? fetch)(url, {
    headers: { ...headersOf(connection), accept: 'text/event-stream' },
    signal: options.signal,
  })
  if (!response.ok) throw await errorOf(response)
  return response
}

interface StreamMessage {
  readonly event?: ClientEvent
  /** The head of the session when the stream began, from its first comment. */
  readonly head?: number
}

async function* messages(connection: Connection, link: AbortController, body: ReadableStream<Uint8Array>): AsyncGenerator<StreamMessage> {
  const found: (EventSourceMessage | { readonly head: number })[] = []
  const parser = createParser({
    onEvent: (message) => void found.push(message),
    onComment(comment) {
      const match = /^\s*head (\d+)$/.exec(comment)
      if (match !== null) found.push({ head: Number(match[1]) })
    },
  })
  const decoder = new TextDecoder()
  const reader = body.getReader()
  try {
    while (!link.signal.aborted) {
      const { done, value } = await unlessSilent(connection, link, reader.read())
      if (done) return
      parser.feed(decoder.decode(value, { stream: true }))
      // Read one by one, so that what stands before a frame that cannot be read is not lost.
      for (const message of found.splice(0)) yield 'head' in message ? message : eventOf(message.event ?? 'message', message.data)
    }
  } finally {
    await reader.cancel().catch(() => undefined)
  }
}

/** What `work` brings; the connection is cut when that takes longer than `SILENCE_MS`. */
async function unlessSilent<T>(connection: Connection, link: AbortController, work: Promise<T>): Promise<T> {
  const takeBack = timerOf(connection)(SILENCE_MS, () => link.abort(new Error('the connection is silent')))
  try {
    return await work
  } finally {
    takeBack()
  }
}

function eventOf(name: string, data: string): StreamMessage {
  const value = JSON.parse(data) as Envelope & Readonly<Record<string, unknown>>
  if (name === 'gap_detected') return { event: { position: 0, name, runId: null, timestamp: '', payload: value } }
  const payload = Object.values(value.event)[0]
  return payload === undefined ? {} : { event: { position: value.id, name, runId: value.run_id, timestamp: value.timestamp, payload } }
}
