/**
 * Where a session may be forked: where no turn is open and no call is without its result, so that the history up to there is valid for
 * every provider.
 *
 * It follows from the events before the point alone, looked at backwards: they never change, so neither does the answer.
 */
import type { StreamEvent } from './event.ts'

/** What is known of a point after some of the events before it, the nearest first. */
export interface ForkLook {
  /** `undefined`: not decided yet. */
  readonly isForkPoint?: boolean
  /** The end of a turn or of a run was seen. */
  readonly isClosed: boolean
  /** Calls whose results were seen. */
  readonly ended: ReadonlySet<string>
}

/** Before the first look. */
export const NOT_LOOKED: ForkLook = { isClosed: false, ended: new Set() }

/** What is known after one more event, the one before those that were looked at. */
export function lookBack(look: ForkLook, event: StreamEvent): ForkLook {
  if (look.isForkPoint !== undefined) return look
  switch (event.type) {
    case 'TurnCompleted':
    case 'RunCompleted':
    case 'RunFailed':
      return look.isClosed ? look : { ...look, isClosed: true }
    case 'ToolCompleted':
    case 'ToolRejected':
      return { ...look, ended: new Set([...look.ended, event.toolCallId]) }
    case 'ToolCallsProposed':
      return event.calls.every((call) => look.ended.has(call.id)) ? look : { ...look, isForkPoint: false }
    // The turn's beginning: whatever it asked for stood behind it.
    case 'TurnStarted':
    case 'AttemptStarted':
      return { ...look, isForkPoint: look.isClosed }
    case 'RunStarted':
    case 'SessionCreated':
    case 'SessionForked':
      return { ...look, isForkPoint: true }
    default:
      return look
  }
}
