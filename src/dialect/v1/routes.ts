/** All routes of `/v1`. */
import { z } from 'zod'
import type { Route } from '../../http/route.ts'
import type { V1Context } from './context.ts'
import { openApiDocument } from '../../http/openapi.ts'
import * as wire from '../../wire/v1/schemas.ts'
import { eventRoutes } from './event-routes.ts'
import { messageRoutes } from './message-routes.ts'
import { runRoutes } from './run-routes.ts'
import { serverRoutes } from './server-routes.ts'
import { sessionRoutes } from './session-routes.ts'

/** The routes of the native surface, with the document that describes them. */
export function v1Routes(context: V1Context): readonly Route[] {
  const routes: Route[] = [...serverRoutes(context), ...sessionRoutes(context), ...messageRoutes(context), ...runRoutes(context), ...eventRoutes(context)]
  let document: Promise<Record<string, unknown>> | undefined
  routes.push({
    method: 'get',
    path: '/v1/openapi.json',
    id: 'openapi',
    summary: 'This document',
    tag: 'server',
    public: true,
    answers: { 200: { description: 'OpenAPI 3.1', schema: z.record(z.string(), z.unknown()) } },
    errors: [],
    handle: async () => ({ status: 200, json: await (document ??= openApiDocument(routes, info(context))) }),
  })
  return routes
}

function info(context: V1Context) {
  return {
    title: 'Convoke',
    version: context.version,
    description: 'A server for AI agents whose sessions are durable logs.',
    problem: wire.Problem,
    components: {},
  }
}
