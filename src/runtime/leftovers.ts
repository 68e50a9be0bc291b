import type { SessionId } from '../domain/ids.ts'
import type { SessionState } from '../domain/session.ts'
import type { ToolIntent } from '../domain/tool.ts'
import type { Store } from '../log/store.ts'
import { READ_EVENTS_MAX } from '../log/store.ts'

/** The process groups of calls that have begun and have no result: whatever becomes of their run, nothing of them may act any more (P5). */
export async function leftRunning(store: Store, stream: SessionId, state: SessionState): Promise<readonly ToolIntent[]> {
  const open = state.calls.filter((call) => call.status === 'started')
  const intents: ToolIntent[] = []
  for (let after = (open[0]?.proposedAt ?? 0) - 1; open.length > 0;) {
    const page = await store.read(stream, after, READ_EVENTS_MAX)
    for (const { event } of page?.events ?? []) {
      const isOpen = event.type === 'ToolStarted' && open.some((call) => call.id === event.toolCallId)
      if (isOpen && event.intent !== undefined) intents.push(event.intent)
    }
    after += page?.events.length ?? 0
    if (page === undefined || page.events.length === 0 || after >= page.head) break
  }
  return intents
}
