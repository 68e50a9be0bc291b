/** The port to tools. */
import type { Json } from './message.ts'
import type { RunId, SessionId } from './ids.ts'
import type { ToolSpec } from './model.ts'

/** What one call is given. */
export interface ToolContext {
  readonly sessionId: SessionId
  readonly runId: RunId
  readonly toolCallId: string
  /** Absolute path of the folder that the session's tools work in; it exists. */
  readonly workspace: string
  /** Absolute path of a folder for output that is too long for an event; it exists. Files there are fsynced before the call settles. */
  readonly outputFolder: string
  /** Aborted on cancel and on time-out: the call must end, with everything it started. */
  readonly signal: AbortSignal
  /** Reports progress: a line for people. Bounded by the caller, safe to call often. */
  progress(message: string): void
}

/** What a call answers. A tool that cannot do what was asked answers with `isError`, it does not throw. */
export interface ToolResult {
  /** At most `TOOL_OUTPUT_BYTES_MAX` bytes of UTF-8. */
  readonly output: string
  readonly isError: boolean
  /** Absolute path of the file that holds the whole output, when `output` was cut. */
  readonly outputFile?: string
  /** The new todo list, from the todo tool. */
  readonly todos?: readonly Todo[]
}

/** One line of a session's todo list. */
export interface Todo {
  readonly id: string
  readonly text: string
  readonly status: 'pending' | 'in_progress' | 'completed'
}

/** What must be recorded before a call may act, so that a later process can end what this one left. */
export interface ToolIntent {
  /** Process group id of the guardian. */
  readonly groupId: number
  /** Start time of the guardian in clock ticks since boot (field 22 of /proc/PID/stat): with the id it names one process for ever. 0 where unknown. */
  readonly startTicks: number
}

/** A call that is ready: nothing has happened yet but an idle guardian process, if the tool needs one. */
export interface OpenToolCall {
  readonly intent?: ToolIntent
  /** Does the work. Called at most once, after the intent was recorded. */
  run(): Promise<ToolResult>
  /** Releases what `open` took; kills what still runs. Called exactly once, also when `run` was not. */
  close(): Promise<void>
}

/** Bytes of output that go into an event; the rest goes to a file. */
export const TOOL_OUTPUT_BYTES_MAX = 48 * 1024

/** A tool. */
export interface Tool extends ToolSpec {
  /** Only looks: approved by the default policy. */
  readonly readOnly: boolean
  /** May run beside other parallel-safe calls of the same turn. */
  readonly parallelSafe: boolean
  /** May be run again when it is unknown whether it ran: recovery repeats only such calls. */
  readonly repeatable: boolean
  /** How long one call may take, in ms, before it is aborted. */
  timeoutMs(args: Json): number
  /** Checks arguments: the reason they are invalid (for the model), or `undefined`. */
  check(args: Json): string | undefined
  open(args: Json, context: ToolContext): Promise<OpenToolCall>
}
