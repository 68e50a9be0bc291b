/**
 * Event streams over SSE.
 *
 * One session: full replay from any position, for the life of the session; without a cursor live only, as the contract says, and the
 * first frame names the head. Many sessions: one stream whose cursor is opaque.
 */
import { z } from 'zod'
import type { Position } from '../../domain/ids.ts'
import type { Call, Route } from '../../http/route.ts'
import type { ByteSink } from '../../stream/sink.ts'
import type { V1Context } from './context.ts'
import { ConvokeError } from '../../domain/errors.ts'
import { isTerminal } from '../../domain/event.ts'
import { responseSink, SSE_GOODBYE, SSE_HEADERS, SSE_KEEP_ALIVE, SSE_RETRY } from '../../http/sink.ts'
import { READ_EVENTS_MAX } from '../../log/store.ts'
import { decodeFeedCursor, encodeFeedCursor, FeedTail } from '../../stream/feed-tail.ts'
import { Tail } from '../../stream/tail.ts'
import { readableSession } from './context.ts'
import { sseCodec, sseFrames, type EventView } from './codec.ts'

const PARAMS = z.object({ id: z.string().describe('UUID of the session') })
const QUERY = z.object({
  after: z.string().optional().describe('position after which to begin; the header Last-Event-ID wins'),
  events: z.string().optional().describe('all: also events that the contract does not know'),
  until: z.string().optional().describe('run_end: close after the first end of a run'),
  log: z.string().optional().describe('log id that the cursor belongs to'),
})
const FEED_QUERY = z.object({ after: z.string().optional().describe('cursor to go on from; the header Last-Event-ID wins'), events: z.string().optional() })
const HEADERS = z.object({ 'last-event-id': z.string().optional() })
const encoder = new TextEncoder()

/** The routes that stream. */
export function eventRoutes(context: V1Context): readonly Route[] {
  return [sessionEvents(context), allEvents(context)]
}

/** Where a reader begins, and whether its cursor is one that this log never gave. */
export interface Start {
  readonly after: Position
  readonly gap?: { readonly requested: Position }
}

/** Reads a cursor: a number that this log has reached, else a gap; no number is no cursor. */
export function startOf(cursor: string | undefined, log: string | undefined, logId: string, head: Position): Start {
  if (cursor === undefined || !/^\d{1,15}$/.test(cursor)) return { after: head }
  const requested = Number(cursor)
  if (requested > head || (log !== undefined && log !== logId)) return { after: head, gap: { requested } }
  return { after: requested }
}

function sessionEvents(context: V1Context): Route {
  return {
    method: 'get',
    path: '/v1/sessions/{id}/events',
    id: 'sessionEvents',
    summary: 'The session’s events: replay from a position, then live',
    tag: 'events',
    unbounded: true,
    params: PARAMS,
    query: QUERY,
    headers: HEADERS,
    answers: {
      200: { description: 'An event stream', contentType: 'text/event-stream', schema: z.string() },
      204: { description: 'With until=run_end: nothing is left to wait for' },
    },
    errors: ['invalid_id', 'not_found', 'too_many_streams', 'unauthorized'],
    async handle(call) {
      const summary = await readableSession(context, call.param('id'), call.principal)
      const head = (await context.store.head(summary.id)) ?? 0
      const query = call.url.searchParams
      const start = startOf(call.header('last-event-id') ?? query.get('after') ?? undefined, query.get('log') ?? undefined, context.store.logId, head)
      const untilRunEnd = query.get('until') === 'run_end'
      if (untilRunEnd && !(await endsAhead(context, summary.id, start.after))) return { status: 204 }
      const view: EventView = query.get('events') === 'all' ? 'all' : 'contract'
      const sink = openStream(context, call)
      const hasCursor = start.after !== head || start.gap !== undefined || call.header('last-event-id') !== undefined || query.has('after')
      sink.write(encoder.encode(`${SSE_RETRY}${hasCursor ? '' : `: head ${head}\n\n`}${gapFrame(start, head)}`))
      const tail = new Tail({
        store: context.store,
        hub: context.hub,
        clock: context.clock,
        stream: summary.id,
        after: start.after,
        codec: sseCodec(view),
        sink,
        keepAlive: SSE_KEEP_ALIVE,
        untilRunEnd,
        onError: (error) => context.telemetry.log('warn', 'an event stream failed', { error: String(error) }),
      })
      tail.start()
      return 'streaming'
    },
  }
}

/** Whether a run's end lies behind the cursor, or one is to come because a run is active. */
async function endsAhead(context: V1Context, id: Parameters<V1Context['store']['read']>[0], after: Position): Promise<boolean> {
  const state = await context.store.state(id)
  if (state?.run !== undefined) return true
  for (let position = after; ;) {
    const page = await context.store.read(id, position, READ_EVENTS_MAX)
    if (page === undefined || page.events.length === 0) return false
    if (page.events.some(({ event }) => isTerminal(event))) return true
    position = page.events.at(-1)?.position ?? position
  }
}

function gapFrame(start: Start, head: Position): string {
  if (start.gap === undefined) return ''
  const data = { requested_after_id: start.gap.requested, oldest_available_id: 1, newest_available_id: head, resume_hint: 'refresh_snapshot_then_resume' }
  return `event: gap_detected\ndata: ${JSON.stringify(data)}\n\n`
}

function allEvents(context: V1Context): Route {
  return {
    method: 'get',
    path: '/v1/events',
    id: 'allEvents',
    summary: 'Events of all sessions that the caller may read, on one stream',
    tag: 'events',
    unbounded: true,
    query: FEED_QUERY,
    headers: HEADERS,
    answers: { 200: { description: 'An event stream; each frame names its session and position', contentType: 'text/event-stream', schema: z.string() } },
    errors: ['invalid_cursor', 'too_many_streams', 'unauthorized'],
    async handle(call) {
      const given = call.header('last-event-id') ?? call.url.searchParams.get('after') ?? undefined
      const head = await context.store.feedHead()
      const after = given === undefined || given === '' ? { feed: head, count: 0 } : given === '0' ? { feed: 0, count: 0 } : decodeFeedCursor(given)
      if (after === undefined || after.feed > head) throw new ConvokeError('invalid_cursor', 'this cursor is none of ours')
      const view: EventView = call.url.searchParams.get('events') === 'all' ? 'all' : 'contract'
      const sink = openStream(context, call)
      sink.write(encoder.encode(`${SSE_RETRY}: head ${encodeFeedCursor({ feed: head, count: 0 })}\n\n`))
      const tail = new FeedTail({
        store: context.store,
        hub: context.hub,
        clock: context.clock,
        owner: call.principal.user,
        after,
        encode: (batch, skip) => encoder.encode(sseFrames(batch, view, skip, (index) => encodeFeedCursor({ feed: batch.feed, count: index + 1 }))),
        sink,
        keepAlive: SSE_KEEP_ALIVE,
        onError: (error) => context.telemetry.log('warn', 'an event stream failed', { error: String(error) }),
      })
      tail.start()
      return 'streaming'
    },
  }
}

/** Sends the head of a stream and registers it, so that a stop can tell it. @throws {ConvokeError} `too_many_streams` */
function openStream(context: V1Context, call: Call): ByteSink {
  if (context.streams.size >= context.streamsMax)
    throw new ConvokeError('too_many_streams', `the server holds ${context.streamsMax} streams already`, { retryAfterMs: 5000 })
  call.outgoing.writeHead(200, { ...SSE_HEADERS, ...call.extraHeaders, 'convoke-log-id': context.store.logId })
  const sink = responseSink(call.outgoing)
  const entry = {
    end: () => {
      sink.write(SSE_GOODBYE)
      sink.end()
    },
  }
  context.streams.add(entry)
  call.outgoing.once('close', () => context.streams.delete(entry))
  return sink
}
