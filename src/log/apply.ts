/**
 * What one write means: the same for every engine, pure.
 *
 * An engine loads the state, calls `applyWrite`, and stores what comes back. Idempotency records are the engine's own business.
 */
import type { Reply } from '../domain/command.ts'
import type { ForkSource } from '../domain/decide-fork.ts'
import type { StreamEvent } from '../domain/event.ts'
import type { Position, RunId } from '../domain/ids.ts'
import type { SessionState } from '../domain/session.ts'
import type { AppendWrite, EraseWrite, WriteOutcome } from './store.ts'
import { decide } from '../domain/decide.ts'
import { readEvent } from '../domain/event-types.ts'
import { ConvokeError } from '../domain/errors.ts'
import { authorize } from '../domain/principal.ts'
import { evolve } from '../domain/session.ts'

/** What `applyWrite` decided: events with the state after them, or the outcome that refuses them. */
export type Applied =
  | { readonly kind: 'apply'; readonly events: readonly StreamEvent[]; readonly state: SessionState | undefined; readonly reply: Reply }
  | Exclude<WriteOutcome, { kind: 'appended' | 'erased' }>

/**
 * Applies `write` to `state` at `head`: for a fork its position. Never throws for what a caller can do.
 *
 * @param source What a `ForkSession` forks, looked up by the engine; `undefined` where there is no such session.
 */
export function applyWrite(state: SessionState | undefined, head: Position, write: AppendWrite, source?: ForkSource): Applied {
  if (write.kind === 'record') {
    if (!holdsFence(state, write.runId, write.fence)) return { kind: 'fenced' }
    // An own agent's event may lack anything. It must hurt only its own write.
    const broken = write.events.find((event) => readEvent(event).type === 'Unknown')
    if (broken !== undefined) return { kind: 'refused', code: 'internal_error', message: `an agent recorded an event that is none: ${JSON.stringify(broken)}` }
    return { kind: 'apply', events: write.events, state: fold(state, head, write.events), reply: {} }
  }
  const { command } = write
  if (command.type === 'FinishRun' && !holdsFence(state, command.runId, command.fence)) return { kind: 'fenced' }
  try {
    const { events, reply } = decide(state, command, write.asker, source)
    return { kind: 'apply', events, state: fold(state, head, events), reply }
  } catch (error) {
    if (error instanceof ConvokeError) return { kind: 'refused', code: error.code, message: error.message }
    throw error
  }
}

/** Why a session may not be erased, or `undefined`. `changedAtMs` is when a list last showed something new of it. */
export function refuseErase(state: SessionState | undefined, changedAtMs: number, write: EraseWrite): Extract<WriteOutcome, { kind: 'refused' }> | undefined {
  const { asker, idleSinceMs } = write
  try {
    if (asker !== 'driver') authorize(asker, 'sessions:write', state?.owner)
    if (state === undefined) throw new ConvokeError('not_found', 'session not found')
    if (state.run !== undefined) throw new ConvokeError('session_already_running', 'a run is active in this session')
    if (idleSinceMs !== undefined && changedAtMs > idleSinceMs) throw new ConvokeError('input_pending', 'the session is used again')
    return undefined
  } catch (error) {
    if (error instanceof ConvokeError) return { kind: 'refused', code: error.code, message: error.message }
    throw error
  }
}

/** The state after `events` that stand at `head + 1` and on. */
export function fold(state: SessionState | undefined, head: Position, events: readonly StreamEvent[]): SessionState | undefined {
  let folded = state
  let position = head
  for (const event of events) folded = evolve(folded, event, ++position)
  return folded
}

function holdsFence(state: SessionState | undefined, runId: RunId, fence: number): boolean {
  return state?.run?.id === runId && state.fence === fence
}
