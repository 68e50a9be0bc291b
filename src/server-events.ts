import type { RequestReport } from './http/app.ts'

/** What `Server.on` tells of. */
export interface ServerEvents {
  /** A finished answer; of a stream when it has ended. */
  request: (report: RequestReport) => void
  session_created: (session: { readonly id: string }) => void
  error: (error: unknown) => void
}
