/** The public surface of the package. */
export { Server } from './server.ts'
export type { AuthOption, ServerOptions } from './server.ts'
export type { ServerEvents } from './server-events.ts'
export { ConvokeError } from './domain/errors.ts'
export type { ErrorCode } from './domain/errors.ts'
