/**
 * One session over a WebSocket: its events out, commands in. Each command is acknowledged with the position that it reached.
 *
 * In: `{"type":"message|decision|cancel|resume","ref",...}` with the fields of the REST bodies.
 * Out: `{"type":"event",...}`, `{"type":"ack","ref","position"}`, `{"type":"error","ref","code"}`.
 */
import type { IncomingMessage } from 'node:http'
import type { RawData, WebSocket } from 'ws'
import type { SessionCommand } from '../../domain/command.ts'
import type { SessionId } from '../../domain/ids.ts'
import type { Principal } from '../../domain/principal.ts'
import type { SocketHandler } from '../../http/upgrade.ts'
import type { Codec, EventBatch } from '../../stream/codec.ts'
import type { ByteSink } from '../../stream/sink.ts'
import type { V1Context } from './context.ts'
import { ConvokeError } from '../../domain/errors.ts'
import { runId } from '../../domain/ids.ts'
import { parseJson } from '../../http/body.ts'
import { Tail } from '../../stream/tail.ts'
import { refOf, SocketCommand, type SocketMessage } from '../../wire/v1/socket.ts'
import { envelopeOf, wireEvent, type EventView } from './codec.ts'
import { atExpiry, findSession, openingTurn, requireStreamPlace } from './context.ts'
import { EVENT_QUERY, gapOf, startOf, viewOf } from './cursor.ts'
import { messageCommand, requireMayApprove } from './message-routes.ts'
import { parseQuery } from './query.ts'
import { decisionCommand } from './run-routes.ts'
import { socketSink } from './socket-sink.ts'

/** Commands of one socket that may be under way at once. */
const COMMANDS_MAX = 64
/** Answers of one socket that may wait for their peer to read; with more, nothing more is heard of it until it does (P9). */
const ANSWERS_MAX = 1024
const PATH = /^\/v1\/sessions\/([^/]+)\/ws$/
const encoder = new TextEncoder()
const KEEP_ALIVE = encoder.encode('{"type":"keepalive"}\n')

/** The handler for a socket's path. @throws {ConvokeError} `route_not_found`, `not_found`, `invalid_id`, `invalid_cursor`, `too_many_streams` */
export async function openV1Socket(context: V1Context, request: IncomingMessage, url: URL, principal: Principal): Promise<SocketHandler> {
  const match = PATH.exec(url.pathname)
  if (match === null) throw new ConvokeError('route_not_found', 'there is no socket at this path')
  await openingTurn(context)
  const summary = await findSession(context, match[1] ?? '', principal)
  const query = parseQuery(url, EVENT_QUERY)
  requireStreamPlace(context)
  const head = (await context.store.head(summary.id)) ?? 0
  const header = request.headers['last-event-id']
  const start = startOf({ ...query, header: typeof header === 'string' ? header : undefined }, context.store.logId, head)
  return (socket) => {
    const session = new SocketSession(context, socket, summary.id, principal, viewOf(query.events))
    if (start.gap !== undefined) session.send({ type: 'gap_detected', ...gapOf(start.gap.requested, 1, head) })
    session.follow(start.after)
  }
}

class SocketSession {
  readonly #context: V1Context
  readonly #socket: WebSocket
  readonly #id: SessionId
  readonly #principal: Principal
  readonly #codec: Codec
  readonly #sink: ByteSink
  #tail: Tail | undefined
  #commands = 0
  #answers = 0

  constructor(context: V1Context, socket: WebSocket, id: SessionId, principal: Principal, view: EventView) {
    this.#context = context
    this.#socket = socket
    this.#id = id
    this.#principal = principal
    this.#codec = socketCodec(view)
    this.#sink = socketSink(socket)
    // 1012: the server restarts, come back (RFC 6455 registry).
    const entry = { end: () => socket.close(1012, 'the server stops') }
    context.streams.add(entry)
    // 4401: authenticate anew (4000 to 4999 are the application's own).
    const takeBack = atExpiry(context, principal, () => socket.close(4401, 'the key has expired'))
    socket.on('close', () => {
      takeBack()
      context.streams.delete(entry)
      this.#tail?.close()
    })
    socket.on('message', (data, isBinary) => this.#receive(data, isBinary))
  }

  send(message: SocketMessage): void {
    // What is said to a socket that has gone is nobody's loss: events are in the log, and a command can be asked for again.
    if (this.#socket.readyState !== this.#socket.OPEN) return
    if (++this.#answers >= ANSWERS_MAX) this.#socket.pause()
    this.#socket.send(JSON.stringify(message), () => {
      this.#answers--
      if (this.#socket.isPaused && this.#answers < ANSWERS_MAX) this.#socket.resume()
    })
  }

  /** Streams what stands after `after`; again after a `resume`. */
  follow(after: number): void {
    this.#tail?.close()
    const { store, hub, clock, telemetry } = this.#context
    this.#tail = new Tail({
      store,
      hub,
      clock,
      stream: this.#id,
      after,
      codec: this.#codec,
      sink: this.#sink,
      keepAlive: KEEP_ALIVE,
      onError: (error) => telemetry.log('warn', 'a socket failed', { error: String(error) }),
    })
    this.#tail.start()
  }

  /** `data` is one Buffer: sockets are opened with ws's default `binaryType`. */
  #receive(data: RawData, isBinary: boolean): void {
    if (isBinary) return this.send({ type: 'error', ref: null, code: 'invalid_request', error: 'send text frames' })
    const frame = frameOf(data as Buffer)
    if (frame instanceof ConvokeError) return this.#refuse(null, frame)
    const ref = refOf(frame)
    this.#perform(frame)
      .then((position) => this.send({ type: 'ack', ref, position }))
      .catch((error: unknown) => this.#refuse(ref, error))
  }

  #refuse(ref: string | number | null, error: unknown): void {
    if (error instanceof ConvokeError) return this.send({ type: 'error', ref, code: error.code, error: error.message })
    this.#context.telemetry.log('error', 'a command over a socket failed', { error: String(error) })
    this.send({ type: 'error', ref, code: 'internal_error', error: 'the server failed' })
  }

  async #perform(frame: unknown): Promise<number> {
    const parsed = SocketCommand.safeParse(frame)
    if (!parsed.success) throw new ConvokeError('invalid_body', parsed.error.issues[0]?.message ?? 'the frame is not valid')
    if (this.#commands >= COMMANDS_MAX) throw new ConvokeError('overloaded', 'too many commands at once')
    this.#commands++
    try {
      if (parsed.data.type === 'resume') return await this.#resume(parsed.data.after)
      return (await this.#context.commands.execute(this.#id, this.#command(parsed.data), this.#principal)).to
    } finally {
      this.#commands--
    }
  }

  async #resume(after: number): Promise<number> {
    const head = (await this.#context.store.head(this.#id)) ?? 0
    if (after > head) throw new ConvokeError('invalid_cursor', `the session has ${head} events`)
    this.follow(after)
    return after
  }

  #command(frame: Exclude<SocketCommand, { type: 'resume' }>): SessionCommand {
    switch (frame.type) {
      case 'message': {
        const { type: _frameType, ref: _ref, kind, ...body } = frame
        requireMayApprove(this.#principal, body)
        return messageCommand(this.#context, { ...body, type: kind })
      }
      case 'cancel':
        return { type: 'CancelRun', runId: runId(frame.run_id.toLowerCase()) }
      case 'decision': {
        const { run_id, tool_call_id, action, content, decisions } = frame
        if (tool_call_id == null && action == null && decisions != null) return decisionCommand({ run_id, decisions })
        if (tool_call_id == null || action == null) throw new ConvokeError('invalid_body', 'a decision needs tool_call_id and action, or decisions')
        return decisionCommand({ run_id, decisions: { ...decisions, [tool_call_id]: { action, content } } })
      }
    }
  }
}

/** The value in a frame, or the error that it is to be answered with. */
function frameOf(data: Buffer): unknown {
  try {
    return parseJson(data, 'the frame')
  } catch (error) {
    if (error instanceof ConvokeError) return error
    throw error
  }
}

/** Frames as lines, so that many readers share one encoding; the sink sends each line as one message. */
function socketCodec(view: EventView): Codec {
  return { name: `v1-ws:${view}`, encode: (batch) => encoder.encode(socketLines(batch, view)) }
}

function socketLines(batch: EventBatch, view: EventView): string {
  const timestamp = new Date(batch.atMs).toISOString()
  return batch.events
    .map((event, index) => {
      const wire = wireEvent(event)
      if (wire.additional && view === 'contract') return ''
      const envelope = envelopeOf(batch.stream, batch.from + index, timestamp, wire)
      return `${JSON.stringify({ type: 'event', name: wire.name, ...envelope })}\n`
    })
    .join('')
}
