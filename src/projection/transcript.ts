/** The transcript's fold: which events are messages, and as what they read. */
import type { Recorded } from '../domain/event.ts'
import type { MessageId, Position, RunId } from '../domain/ids.ts'
import type { Message } from '../domain/message.ts'

/** A finished message of a session. */
export interface TranscriptMessage {
  /** Position of the event that it comes from. */
  readonly position: Position
  readonly atMs: number
  readonly runId?: RunId
  readonly messageId?: MessageId
  readonly message: Message
  readonly partial?: true
}

/** The message that `recorded` adds, if it adds one. Exactly the events for which `summarize` counts a message. */
export function messageOf(recorded: Recorded): TranscriptMessage | undefined {
  const { position, atMs, event } = recorded
  switch (event.type) {
    case 'MessageAdded': {
      const { runId, messageId, message } = event
      return { position, atMs, runId, messageId, message, ...(event.partial === undefined ? {} : { partial: event.partial }) }
    }
    case 'ToolCompleted':
      return { position, atMs, runId: event.runId, message: toolMessage(event.toolCallId, event.toolName, event.result, event.isError) }
    case 'ToolRejected':
      return { position, atMs, runId: event.runId, message: toolMessage(event.toolCallId, event.toolName, event.reason, true) }
    default:
      return undefined
  }
}

function toolMessage(toolCallId: string, toolName: string, content: string, isError: boolean): Message {
  return { role: 'tool', content: [{ type: 'tool_result', toolCallId, toolName, content, isError }] }
}
