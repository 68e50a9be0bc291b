import type { RequestReport } from './http/app.ts'

/** What `Server.on` tells of. */
export interface ServerEvents {
  /** A finished answer; of a stream when it has ended. */
  request: (report: RequestReport) => void
  session_created: (session: { readonly id: string }) => void
  error: (error: unknown) => void
  /** The log cannot be written any more: the server stops by itself. A new one may take the folder when the disk is well. */
  failed: (error: Error) => void
}
