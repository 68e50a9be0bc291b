/**
 * Event streams over SSE.
 *
 * One session: full replay from any position, for the life of the session; without a cursor live only, as the contract says. Many
 * sessions: one stream whose cursor is opaque. The first frame says how long to wait before reconnecting and, in a comment, where the
 * head was.
 */
import { z } from 'zod'
import type { Call, Route } from '../../http/route.ts'
import type { ByteSink } from '../../stream/sink.ts'
import type { V1Context } from './context.ts'
import { ConvokeError } from '../../domain/errors.ts'
import { responseSink, SSE_GOODBYE, SSE_HEADERS, SSE_KEEP_ALIVE, SSE_RETRY } from '../../http/sink.ts'
import { decodeFeedCursor, encodeFeedCursor, FeedTail, type FeedCursor } from '../../stream/feed-tail.ts'
import { runEndsAfter } from '../../stream/log-reader.ts'
import { Tail } from '../../stream/tail.ts'
import { atExpiry, findSession, openingTurn, requireStreamPlace } from './context.ts'
import { requireScope } from '../../domain/principal.ts'
import { EVENT_QUERY, gapOf, startOf, viewOf } from './cursor.ts'
import { sseCodec, sseFrames } from './codec.ts'
import { parseQuery } from './query.ts'

const PARAMS = z.object({ id: z.string().describe('UUID of the session') })
const SESSION_QUERY = EVENT_QUERY.extend({ until: z.enum(['run_end']).optional().describe('close after the first end of a run behind the cursor') })
const HEADERS = z.object({ 'last-event-id': z.string().optional().describe('cursor after which to begin') })
const LOG_ID = { 'Convoke-Log-Id': { description: 'Names the log that the cursors belong to', schema: { type: 'string' } } } as const
const encoder = new TextEncoder()

/** The routes that stream. */
export function eventRoutes(context: V1Context): readonly Route[] {
  return [sessionEvents(context), allEvents(context)]
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
    query: SESSION_QUERY,
    headers: HEADERS,
    answers: {
      200: {
        description: 'Frames whose data is an EventEnvelope; their id is the position',
        contentType: 'text/event-stream',
        schema: z.string(),
        headers: LOG_ID,
      },
      204: { description: 'With until=run_end: nothing is left to wait for' },
    },
    errors: ['invalid_id', 'invalid_request', 'invalid_cursor', 'not_found', 'too_many_streams', 'unauthorized', 'forbidden'],
    async handle(call) {
      await openingTurn(context)
      const summary = await findSession(context, call.param('id'), call.principal)
      const query = parseQuery(call.url, SESSION_QUERY)
      const head = (await context.store.head(summary.id)) ?? 0
      const start = startOf({ ...query, header: call.header('last-event-id') }, context.store.logId, head)
      const untilRunEnd = query.until === 'run_end'
      // Who is told of a gap must learn of it: there is something to say.
      if (untilRunEnd && start.gap === undefined && !(await runEndsAfter(context.store, summary.id, start.after))) return { status: 204 }
      const gap = start.gap === undefined ? '' : gapFrame(gapOf(start.gap.requested, 1, head))
      const sink = openStream(context, call, `${SSE_RETRY}: head ${head}\n\n${gap}`)
      if (sink === undefined) return 'streaming'
      new Tail({
        store: context.store,
        hub: context.hub,
        clock: context.clock,
        stream: summary.id,
        after: start.after,
        codec: sseCodec(viewOf(query.events)),
        sink,
        keepAlive: SSE_KEEP_ALIVE,
        untilRunEnd,
        onError: (error) => context.telemetry.log('warn', 'an event stream failed', { error: String(error) }),
      }).start()
      return 'streaming'
    },
  }
}

function allEvents(context: V1Context): Route {
  return {
    method: 'get',
    path: '/v1/events',
    id: 'allEvents',
    summary: 'Events of all sessions that the caller may read, on one stream',
    tag: 'events',
    unbounded: true,
    query: EVENT_QUERY,
    headers: HEADERS,
    answers: {
      200: {
        description: 'Frames whose data is an EventEnvelope with its position; their id is an opaque cursor, 0 is the beginning',
        contentType: 'text/event-stream',
        schema: z.string(),
        headers: LOG_ID,
      },
    },
    errors: ['invalid_request', 'invalid_cursor', 'too_many_streams', 'unauthorized', 'forbidden'],
    async handle(call) {
      await openingTurn(context)
      requireScope(call.principal, 'sessions:read')
      const query = parseQuery(call.url, EVENT_QUERY)
      const head: FeedCursor = { feed: await context.store.feedHead(), count: 0 }
      const given = call.header('last-event-id') || query.after
      const asked = given === undefined ? head : feedCursorOf(given)
      const foreign = query.log !== undefined && query.log !== context.store.logId
      const isGap = given !== undefined && (asked.feed > head.feed || foreign)
      const gap = isGap ? gapFrame(gapOf(given, '0', encodeFeedCursor(head))) : ''
      const sink = openStream(context, call, `${SSE_RETRY}: head ${encodeFeedCursor(head)}\n\n${gap}`)
      if (sink === undefined) return 'streaming'
      const view = viewOf(query.events)
      new FeedTail({
        store: context.store,
        hub: context.hub,
        clock: context.clock,
        owner: call.principal.user,
        after: isGap ? head : asked,
        encode: (batch, skip) => encoder.encode(sseFrames(batch, view, skip, (index) => encodeFeedCursor({ feed: batch.feed, count: index + 1 }))),
        sink,
        keepAlive: SSE_KEEP_ALIVE,
        onError: (error) => context.telemetry.log('warn', 'an event stream failed', { error: String(error) }),
      }).start()
      return 'streaming'
    },
  }
}

function feedCursorOf(text: string): FeedCursor {
  const cursor = text === '0' ? { feed: 0, count: 0 } : decodeFeedCursor(text)
  if (cursor === undefined) throw new ConvokeError('invalid_cursor', 'this cursor is none of ours')
  return cursor
}

function gapFrame(gap: ReturnType<typeof gapOf>): string {
  return `event: gap_detected\ndata: ${JSON.stringify(gap)}\n\n`
}

/**
 * Sends the head of a stream and `first`, and registers it, so that a stop can tell it. `undefined` where only the head was asked for.
 *
 * @throws {ConvokeError} `too_many_streams`
 */
function openStream(context: V1Context, call: Call, first: string): ByteSink | undefined {
  requireStreamPlace(context)
  call.outgoing.writeHead(200, { ...SSE_HEADERS, ...call.extraHeaders, 'convoke-log-id': context.store.logId })
  if (call.incoming.method === 'HEAD') {
    call.outgoing.end()
    return undefined
  }
  const sink = responseSink(call.outgoing)
  const entry = {
    end: () => {
      sink.write(SSE_GOODBYE)
      sink.end()
    },
  }
  context.streams.add(entry)
  const takeBack = atExpiry(context, call.principal, () => sink.end())
  // Also when the reader left while it was asked who it is.
  sink.onClose(() => {
    takeBack()
    context.streams.delete(entry)
  })
  sink.write(encoder.encode(first))
  return sink
}
