import type { Position, SessionId } from '../domain/ids.ts'
import type { ToolIntent } from '../domain/tool.ts'
import type { Store } from '../log/store.ts'
import { readBackwards } from '../log/backwards.ts'

/**
 * The process groups of those of `calls` that have begun, as the log of the active run says up to `upTo`: whatever becomes of their run, nothing of
 * them may act any more (P5).
 */
export async function leftRunning(store: Store, stream: SessionId, calls: Iterable<string>, upTo: Position): Promise<readonly ToolIntent[]> {
  const open = new Set(calls)
  const intents: ToolIntent[] = []
  if (open.size === 0) return intents
  for await (const { event } of readBackwards(store, stream, upTo)) {
    if (event.type === 'ToolStarted' && open.has(event.toolCallId) && event.intent !== undefined) intents.push(event.intent)
    // Before its proposal an id named another turn's call.
    if (event.type === 'ToolCallsProposed') for (const { id } of event.calls) open.delete(id)
    if (open.size === 0 || event.type === 'RunStarted') break
  }
  return intents
}
