/**
 * A session's events, for as long as somebody wants them.
 *
 * C1. Every event after the cursor comes once, in order, through any number of broken connections.
 * C2. A connection that is silent for `SILENCE_MS` (the server speaks every 15 s) is taken for dead and made anew.
 * C3. What waiting cannot mend (an unknown session, a wrong key) is thrown.
 */
import { EventSourceParserStream } from 'eventsource-parser/stream'
import { ConvokeClientError, errorOf } from './errors.ts'
import { headersOf, isTransient, pause, pauseMs, type Connection } from './request.ts'

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
  for (let tries = 1; !isAborted(options.signal); tries++) {
    try {
      const response = await open(connection, sessionId, options, position)
      if (response.body === null || response.status === 204) return
      for await (const message of messages(response.body, options.signal)) {
        if (message.head !== undefined) position ??= message.head
        if (message.event === undefined) continue
        const event = message.event
        if (event.name !== 'gap_detected' && event.position <= (position ?? 0)) continue
        position = event.name === 'gap_detected' ? Number(event.payload['newest_available_id'] ?? 0) : event.position
        tries = 0
        yield event
        if (options.untilRunEnd === true && isEnd(event)) return
      }
      // The stream ended in good order: the server stops, or (with `until`) has nothing more.
      if (options.untilRunEnd === true && tries === 0 && position === undefined) return
    } catch (error) {
      if (isAborted(options.signal)) return
      if (error instanceof ConvokeClientError && !isTransient(error)) throw error
    }
    if (isAborted(options.signal)) return
    options.onReconnect?.()
    await pause(pauseMs(Math.max(1, Math.min(tries, 6))), options.signal)
  }
}

function isAborted(signal: AbortSignal | undefined): boolean {
  return signal?.aborted === true
}

function isEnd(event: ClientEvent): boolean {
  return event.name === 'run_completed' || event.name === 'run_error'
}

async function open(connection: Connection, sessionId: string, options: EventsOptions, position: number | undefined): Promise<Response> {
  const query = new URLSearchParams()
  if (options.all === true) query.set('events', 'all')
  if (options.untilRunEnd === true) query.set('until', 'run_end')
  if (position !== undefined) query.set('after', String(position))
  const url = `${connection.url}/v1/sessions/${encodeURIComponent(sessionId)}/events?${query}`
  const response = await (connection.fetch ?? fetch)(url, {
    headers: { ...headersOf(connection), accept: 'text/event-stream' },
    ...(options.signal === undefined ? {} : { signal: options.signal }),
  })
  if (!response.ok) throw await errorOf(response)
  return response
}

interface StreamMessage {
  readonly event?: ClientEvent
  /** The head of the session when the stream began, from its first comment. */
  readonly head?: number
}

async function* messages(body: ReadableStream<Uint8Array>, signal: AbortSignal | undefined): AsyncGenerator<StreamMessage> {
  let head: number | undefined
  const parser = new EventSourceParserStream({
    onComment(comment) {
      const match = /^\s*head (\d+)$/.exec(comment)
      if (match !== null) head = Number(match[1])
    },
  })
  const reader = body
    .pipeThrough(watchdog())
    .pipeThrough(new TextDecoderStream() as ReadableWritablePair<string, Uint8Array>)
    .pipeThrough(parser)
    .getReader()
  try {
    while (!isAborted(signal)) {
      const { done, value } = await reader.read()
      if (head !== undefined) {
        yield { head }
        head = undefined
      }
      if (done) return
      const event = eventOf(value.event ?? 'message', value.data)
      if (event !== undefined) yield { event }
    }
  } finally {
    await reader.cancel().catch(() => undefined)
  }
}

/** Passes bytes on, and breaks the stream when none came for `SILENCE_MS`. */
function watchdog(): TransformStream<Uint8Array, Uint8Array> {
  let timer: ReturnType<typeof setTimeout> | undefined
  const arm = (controller: TransformStreamDefaultController<Uint8Array>) => {
    clearTimeout(timer)
    timer = setTimeout(() => controller.error(new Error('the connection is silent')), SILENCE_MS)
  }
  return new TransformStream<Uint8Array, Uint8Array>({
    start: arm,
    transform(chunk, controller) {
      arm(controller)
      controller.enqueue(chunk)
    },
    flush: () => clearTimeout(timer),
    cancel: () => clearTimeout(timer),
  } as Transformer<Uint8Array, Uint8Array>)
}

function eventOf(name: string, data: string): ClientEvent | undefined {
  const value = JSON.parse(data) as Envelope & Readonly<Record<string, unknown>>
  if (name === 'gap_detected') return { position: 0, name, runId: null, timestamp: '', payload: value }
  const payload = Object.values(value.event)[0]
  return payload === undefined ? undefined : { position: value.id, name, runId: value.run_id, timestamp: value.timestamp, payload }
}
