import type { StreamEvent } from './event.ts'

/** Every event type that this version writes, with the version of its shape. */
export const EVENT_VERSIONS = {
  SessionCreated: 1,
  SessionUpdated: 1,
  SessionDeleted: 1,
  SessionAssigned: 1,
  ModelChanged: 1,
  TodosUpdated: 1,
  MessageAdded: 1,
  MessageQueued: 1,
  RunStarted: 1,
  RunClaimed: 1,
  TurnStarted: 1,
  AttemptStarted: 1,
  TextDelta: 1,
  ThinkingDelta: 1,
  TextCompleted: 1,
  RetryScheduled: 1,
  AttemptSuperseded: 1,
  UsageReported: 1,
  ToolCallsProposed: 1,
  ApprovalRequested: 1,
  ApprovalDecided: 1,
  ToolStarted: 1,
  ToolProgressed: 1,
  ToolCompleted: 1,
  ToolRejected: 1,
  TurnCompleted: 1,
  CancelRequested: 1,
  RunCompleted: 1,
  RunFailed: 1,
} as const satisfies Record<Exclude<StreamEvent['type'], 'Unknown'>, number>

/**
 * An event as it was stored, lifted to today's shape.
 *
 * What cannot be read (damaged, or written by a newer version) becomes `Unknown`: it keeps its place and breaks nothing.
 */
export function readEvent(stored: unknown): StreamEvent {
  if (typeof stored !== 'object' || stored === null || !('type' in stored) || typeof stored.type !== 'string') {
    return { type: 'Unknown', originalType: 'damaged' }
  }
  if (!Object.hasOwn(EVENT_VERSIONS, stored.type) || 'v' in stored) return { type: 'Unknown', originalType: stored.type }
  return stored as StreamEvent
}
