import type { Position, SessionId } from '../domain/ids.ts'
import type { Store } from '../log/store.ts'
import { isTerminal } from '../domain/event.ts'
import { readBackwards } from '../log/backwards.ts'

/** What readers may ask of the log. They cannot write. */
export type LogReader = Pick<Store, 'logId' | 'driver' | 'read' | 'head' | 'state' | 'readFeed' | 'feedHead'>

/** Whether a reader at `after` will see the end of a run: one is active, or one has ended behind `after`. */
export async function runEndsAfter(log: LogReader, stream: SessionId, after: Position): Promise<boolean> {
  const state = await log.state(stream)
  if (state?.run !== undefined) return true
  // From the head backwards: the last event of an idle session is seldom far behind the end of its last run.
  for await (const { event } of readBackwards(log, stream, (await log.head(stream)) ?? 0, after)) {
    if (isTerminal(event)) return true
  }
  return false
}
