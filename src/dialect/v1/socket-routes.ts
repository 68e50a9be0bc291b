import { z } from 'zod'
import type { Route } from '../../http/route.ts'
import type { V1Context } from './context.ts'
import { ConvokeError } from '../../domain/errors.ts'
import { findSession } from './context.ts'
import { EVENT_QUERY } from './cursor.ts'

/** The socket's path as a route, for the document: upgrades do not come this way, and a plain request is told so. */
export function socketRoutes(context: V1Context): readonly Route[] {
  return [
    {
      method: 'get',
      path: '/v1/sessions/{id}/ws',
      id: 'sessionSocket',
      summary: 'A WebSocket: the session’s events out (SocketMessage), commands in (SocketCommand)',
      tag: 'events',
      params: z.object({ id: z.string().describe('UUID of the session') }),
      query: EVENT_QUERY,
      answers: { 101: { description: 'The connection is a WebSocket now' } },
      errors: ['invalid_id', 'invalid_cursor', 'not_found', 'too_many_streams'],
      async handle(call) {
        await findSession(context, call.param('id'), call.principal)
        throw new ConvokeError('invalid_request', 'open this path as a WebSocket')
      },
    },
  ]
}
