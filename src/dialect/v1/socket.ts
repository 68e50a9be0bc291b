/**
 * One session over a WebSocket: its events out, commands in. Each command is acknowledged with the position that it reached.
 *
 * In: `{"type":"message|decision|cancel|resume","ref",...}` with the fields of the REST bodies.
 * Out: `{"type":"event",...}`, `{"type":"ack","ref","position"}`, `{"type":"error","ref","code"}`.
 */
import type { IncomingMessage } from 'node:http'
import type { RawData, WebSocket } from 'ws'
import { z } from 'zod'
import type { SessionCommand } from '../../domain/command.ts'
import type { SessionId } from '../../domain/ids.ts'
import type { Principal } from '../../domain/principal.ts'
import type { StreamEvent } from '../../domain/event.ts'
import type { SocketHandler } from '../../http/upgrade.ts'
import type { LogBatch } from '../../log/store.ts'
import type { Codec } from '../../stream/codec.ts'
import type { ByteSink } from '../../stream/sink.ts'
import type { V1Context } from './context.ts'
import { ConvokeError } from '../../domain/errors.ts'
import { runId } from '../../domain/ids.ts'
import { Tail } from '../../stream/tail.ts'
import * as wire from '../../wire/v1/schemas.ts'
import { envelopeOf, wireEvent, type EventView } from './codec.ts'
import { readableSession } from './context.ts'
import { startOf } from './event-routes.ts'
import { messageCommand } from './message-routes.ts'
import { decisionCommand } from './run-routes.ts'

/** Commands of one socket that may be under way at once. */
const COMMANDS_MAX = 64
const PATH = /^\/v1\/sessions\/([^/]+)\/ws$/
const encoder = new TextEncoder()
const KEEP_ALIVE = encoder.encode('{"type":"keepalive"}\n')

const Ref = z.object({ ref: z.union([z.string().max(200), z.number()]).nullish() })
const In = z.discriminatedUnion('type', [
  Ref.extend({ type: z.literal('message'), message: wire.Message, kind: z.enum(['message', 'steering', 'follow_up']).nullish() }).loose(),
  Ref.extend({
    type: z.literal('decision'),
    run_id: z.uuid(),
    tool_call_id: z.string().nullish(),
    action: z.enum(['accept', 'reject', 'custom_result']).nullish(),
    content: z.string().nullish(),
    decisions: wire.Decisions.shape.decisions.nullish(),
  }),
  Ref.extend({ type: z.literal('cancel'), run_id: z.uuid() }),
  Ref.extend({ type: z.literal('resume'), after: z.int().min(0) }),
])

/** The handler for a socket's path. @throws {ConvokeError} `route_not_found`, `not_found`, `invalid_id`, `too_many_streams` */
export async function openV1Socket(context: V1Context, _request: IncomingMessage, url: URL, principal: Principal): Promise<SocketHandler> {
  const match = PATH.exec(url.pathname)
  if (match === null) throw new ConvokeError('route_not_found', 'there is no socket at this path')
  const summary = await readableSession(context, match[1] ?? '', principal)
  if (context.streams.size >= context.streamsMax) throw new ConvokeError('too_many_streams', `the server holds ${context.streamsMax} streams already`)
  const head = (await context.store.head(summary.id)) ?? 0
  const start = startOf(url.searchParams.get('after') ?? undefined, url.searchParams.get('log') ?? undefined, context.store.logId, head)
  const view: EventView = url.searchParams.get('events') === 'all' ? 'all' : 'contract'
  return (socket) => {
    const session = new SocketSession(context, socket, summary.id, principal, view)
    if (start.gap !== undefined)
      session.send({ type: 'gap_detected', requested_after_id: start.gap.requested, oldest_available_id: 1, newest_available_id: head })
    session.follow(start.after)
  }
}

class SocketSession {
  readonly #context: V1Context
  readonly #socket: WebSocket
  readonly #id: SessionId
  readonly #principal: Principal
  readonly #view: EventView
  #tail: Tail | undefined
  #commands = 0

  constructor(context: V1Context, socket: WebSocket, id: SessionId, principal: Principal, view: EventView) {
    this.#context = context
    this.#socket = socket
    this.#id = id
    this.#principal = principal
    this.#view = view
    // 1012: the server restarts, come back (RFC 6455 registry).
    const entry = { end: () => socket.close(1012, 'the server stops') }
    context.streams.add(entry)
    socket.on('close', () => {
      context.streams.delete(entry)
      this.#tail?.close()
    })
    socket.on('message', (data, isBinary) => this.#receive(data, isBinary))
  }

  send(message: object): void {
    this.#socket.send(JSON.stringify(message))
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
      codec: socketCodec(this.#view),
      sink: socketSink(this.#socket),
      keepAlive: KEEP_ALIVE,
      onError: (error) => telemetry.log('warn', 'a socket failed', { error: String(error) }),
    })
    this.#tail.start()
  }

  #receive(data: RawData, isBinary: boolean): void {
    if (isBinary) return this.send({ type: 'error', ref: null, code: 'invalid_request', error: 'send text frames' })
    if (this.#commands >= COMMANDS_MAX) return this.send({ type: 'error', ref: null, code: 'overloaded', error: 'too many commands at once' })
    this.#commands++
    let ref: string | number | null = null
    this.#perform(textOf(data), (found) => (ref = found))
      .then((position) => this.send({ type: 'ack', ref, position }))
      .catch((error: unknown) => {
        const known = error instanceof ConvokeError ? error : new ConvokeError('internal_error', 'the server failed')
        this.send({ type: 'error', ref, code: known.code, error: known.message })
      })
      .finally(() => this.#commands--)
  }

  async #perform(text: string, setRef: (ref: string | number | null) => void): Promise<number> {
    const value = parseJson(text)
    setRef(Ref.safeParse(value).data?.ref ?? null)
    const parsed = In.safeParse(value)
    if (!parsed.success) throw new ConvokeError('invalid_body', parsed.error.issues[0]?.message ?? 'the frame is not valid')
    const frame = parsed.data
    if (frame.type === 'resume') {
      const head = (await this.#context.store.head(this.#id)) ?? 0
      if (frame.after > head) throw new ConvokeError('invalid_cursor', `the session has ${head} events`)
      this.follow(frame.after)
      return frame.after
    }
    const result = await this.#context.commands.execute(this.#id, this.#command(frame), this.#principal)
    return result.to
  }

  #command(frame: Exclude<z.infer<typeof In>, { type: 'resume' }>): SessionCommand {
    switch (frame.type) {
      case 'message': {
        // `type` names the frame here, so the message's own type travels as `kind`.
        const body = wire.SendMessage.safeParse({ ...frame, type: frame.kind ?? 'message' })
        if (!body.success) throw new ConvokeError('invalid_body', body.error.issues[0]?.message ?? 'the frame is not valid')
        return messageCommand(this.#context, body.data)
      }
      case 'cancel':
        return { type: 'CancelRun', runId: runId(frame.run_id.toLowerCase()) }
      case 'decision': {
        const { run_id, tool_call_id, action, content } = frame
        const one = tool_call_id == null || action == null ? {} : { [tool_call_id]: { action, content } }
        return decisionCommand({ run_id, decisions: { ...frame.decisions, ...one } })
      }
    }
  }
}

function textOf(data: RawData): string {
  return (Array.isArray(data) ? Buffer.concat(data) : Buffer.from(data as ArrayBuffer)).toString('utf8')
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new ConvokeError('invalid_json', 'the frame is not valid JSON', { cause: error })
  }
}

/** Frames as lines, so that many readers share one encoding; the sink sends each line as one message. */
function socketCodec(view: EventView): Codec {
  return { name: `v1-ws:${view}`, encode: (batch) => encoder.encode(socketLines(batch, view)) }
}

function socketLines(batch: LogBatch, view: EventView): string {
  const timestamp = new Date(batch.atMs).toISOString()
  return batch.events
    .map((event: StreamEvent, index) => {
      const wireForm = wireEvent(event)
      if (wireForm.additional && view === 'contract') return ''
      const envelope = envelopeOf(batch.stream, batch.from + index, timestamp, wireForm)
      return `${JSON.stringify({ type: 'event', name: wireForm.name, ...envelope })}\n`
    })
    .join('')
}

function socketSink(socket: WebSocket): ByteSink {
  let drain: () => void = () => undefined
  return {
    write(bytes) {
      for (const line of Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString('utf8').split('\n')) {
        if (line !== '') socket.send(line, () => drain())
      }
      return socket.bufferedAmount === 0
    },
    buffered: () => socket.bufferedAmount,
    end: () => socket.close(1000),
    destroy: () => socket.terminate(),
    onDrain(listener) {
      drain = () => {
        if (socket.bufferedAmount === 0) listener()
      }
    },
    onClose(listener) {
      if (socket.readyState === socket.CLOSED) return listener()
      socket.once('close', listener)
    },
  }
}
