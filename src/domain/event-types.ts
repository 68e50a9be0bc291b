import type { StreamEvent } from './event.ts'

/** Every event type that this version writes, with the version of its shape. */
export const EVENT_VERSIONS = {
  SessionCreated: 1,
  SessionForked: 1,
  SessionUpdated: 1,
  SessionDeleted: 1,
  SessionAssigned: 1,
  ModelChanged: 1,
  TodosUpdated: 1,
  MessageAdded: 1,
  MessageQueued: 1,
  RunStarted: 1,
  RunClaimed: 1,
  ResumeRequested: 1,
  ResumeDecided: 1,
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
  StepStarted: 1,
  StepCompleted: 1,
  StepFailed: 1,
  TurnCompleted: 1,
  CancelRequested: 1,
  RunCompleted: 1,
  RunFailed: 1,
} as const satisfies Record<Exclude<StreamEvent['type'], 'Unknown'>, number>

type Check = (value: unknown) => boolean

const text: Check = (value) => typeof value === 'string'
const number: Check = (value) => typeof value === 'number'
const flag: Check = (value) => typeof value === 'boolean'
const record: Check = (value) => typeof value === 'object' && value !== null && !Array.isArray(value)
const listOf =
  (item: Check): Check =>
  (value) =>
    Array.isArray(value) && value.every(item)

function shape(fields: Readonly<Record<string, Check>>): Check {
  const entries = Object.entries(fields)
  return (value) => record(value) && entries.every(([name, check]) => check((value as Readonly<Record<string, unknown>>)[name]))
}

type RequiredKeys<T> = { [Key in keyof T]-?: object extends Pick<T, Key> ? never : Key }[keyof T]
type Fields<Type> = Readonly<Record<Exclude<RequiredKeys<Extract<StreamEvent, { type: Type }>>, 'type'>, Check>>

const run = { runId: text }
const attempt = { ...run, turn: number, attempt: number, model: text }
const call = { ...run, toolCallId: text, toolName: text }
const usage = shape({ inputTokens: number, outputTokens: number, totalTokens: number })
const parts = listOf(shape({ type: text }))
const message = shape({ role: text, content: (value) => text(value) || parts(value) })

/** What each type must have, so that a fold may rely on it. What may be absent is not looked at. */
const FIELDS: { readonly [Type in keyof typeof EVENT_VERSIONS]: Fields<Type> } = {
  SessionCreated: { owner: text, title: text, agent: text },
  SessionForked: { origin: shape({ sessionId: text, position: number }), owner: text, title: text, agent: text, messages: number, by: text },
  SessionUpdated: { by: text },
  SessionDeleted: { by: text },
  SessionAssigned: { from: text, to: text },
  ModelChanged: { model: text, by: text },
  TodosUpdated: { ...run, todos: listOf(record) },
  MessageAdded: { ...run, messageId: text, message },
  MessageQueued: { messageId: text, nextRunId: text, delivery: text, message, options: record, by: text },
  RunStarted: { ...run, fence: number, driver: number, agent: text, options: record, by: text },
  RunClaimed: { ...run, fence: number, driver: number },
  ResumeRequested: run,
  ResumeDecided: { ...run, action: text, by: text },
  TurnStarted: attempt,
  AttemptStarted: attempt,
  TextDelta: { ...run, delta: text },
  ThinkingDelta: { ...run, delta: text },
  TextCompleted: { ...run, text },
  RetryScheduled: { ...run, attempt: number, delayMs: number, reason: text },
  AttemptSuperseded: { ...run, turn: number, attempt: number, from: number },
  UsageReported: { ...run, turn: number, model: text, usage },
  ToolCallsProposed: { ...run, turn: number, calls: listOf(shape({ id: text, name: text, disposition: text })) },
  ApprovalRequested: { ...run, toolCallIds: listOf(text) },
  ApprovalDecided: { ...run, toolCallId: text, action: text, by: text },
  ToolStarted: { ...call, attempt: number },
  ToolProgressed: { ...run, toolCallId: text, message: text },
  ToolCompleted: { ...call, result: text, isError: flag },
  ToolRejected: { ...call, reason: text },
  StepStarted: { ...run, key: text, attempt: number },
  StepCompleted: { ...run, key: text },
  StepFailed: { ...run, key: text, attempt: number, name: text, error: text },
  TurnCompleted: { ...run, turn: number, finishReason: text },
  CancelRequested: { ...run, by: text },
  RunCompleted: { ...run, totalTurns: number, totalUsage: usage, stopReason: text },
  RunFailed: { ...run, code: text, error: text, totalUsage: usage },
}
const SHAPES: ReadonlyMap<string, Check> = new Map(Object.entries(FIELDS).map(([type, fields]) => [type, shape(fields)]))

/**
 * An event as it was stored, lifted to today's shape.
 *
 * What cannot be read (damaged, or written by a newer version) becomes `Unknown`: it keeps its place and breaks nothing.
 */
export function readEvent(stored: unknown): StreamEvent {
  if (typeof stored !== 'object' || stored === null || !('type' in stored) || typeof stored.type !== 'string') {
    return { type: 'Unknown', originalType: 'damaged' }
  }
  if ('v' in stored || SHAPES.get(stored.type)?.(stored) !== true) return { type: 'Unknown', originalType: stored.type }
  return stored as StreamEvent
}
