/** All routes of `/v1`. */
import type { Route } from '../../http/route.ts'
import type { V1Context } from './context.ts'
import { documentRoutes } from './document-routes.ts'
import { eventRoutes } from './event-routes.ts'
import { messageRoutes } from './message-routes.ts'
import { runRoutes } from './run-routes.ts'
import { serverRoutes } from './server-routes.ts'
import { sessionRoutes } from './session-routes.ts'
import { socketRoutes } from './socket-routes.ts'

/** The routes of the native surface, with the document that describes them. */
export function v1Routes(context: V1Context): readonly Route[] {
  const routes: Route[] = [
    ...serverRoutes(context),
    ...sessionRoutes(context),
    ...messageRoutes(context),
    ...runRoutes(context),
    ...eventRoutes(context),
    ...socketRoutes(context),
  ]
  routes.push(...documentRoutes(routes, context.version))
  return routes
}
