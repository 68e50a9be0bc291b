import type { Position, SessionId } from '../domain/ids.ts'
import type { Store } from '../log/store.ts'
import { isTerminal } from '../domain/event.ts'
import { READ_EVENTS_MAX } from '../log/store.ts'

/** What readers may ask of the log. They cannot write. */
export type LogReader = Pick<Store, 'logId' | 'driver' | 'read' | 'head' | 'state' | 'readFeed' | 'feedHead'>

/** Whether a reader at `after` will see the end of a run: one is active, or one has ended behind `after`. */
export async function runEndsAfter(log: LogReader, stream: SessionId, after: Position): Promise<boolean> {
  const state = await log.state(stream)
  if (state?.run !== undefined) return true
  // From the head backwards: the last event of an idle session is seldom far behind the end of its last run.
  for (let upTo = (await log.head(stream)) ?? 0; upTo > after;) {
    const from = Math.max(after, upTo - READ_EVENTS_MAX)
    const page = await log.read(stream, from, upTo - from)
    if (page?.events.some(({ event }) => isTerminal(event)) === true) return true
    upTo = from
  }
  return false
}
