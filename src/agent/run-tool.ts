/** One tool call of a run: intent recorded first, result recorded last (P5). */
import type { RunContext } from '../runtime/agent.ts'
import type { AgentParts, Folders } from './parts.ts'
import type { TurnCall } from './run-state.ts'
import type { OpenToolCall, Tool, ToolResult } from '../domain/tool.ts'
import { TOOL_OUTPUT_BYTES_MAX } from '../domain/tool.ts'
import { Output } from '../tool/output.ts'
import { CANCELLED_RESULT, UNKNOWN_RESULT } from '../domain/decide-cancel.ts'
import { RunGone } from '../runtime/agent.ts'
import { DEAF_MS, PROGRESS_EVENTS_MAX } from './parts.ts'

/** Bytes of an output that are handed on at once. */
const PIECE_BYTES = 64 * 1024
/** Bytes of the bound that are kept for the note that something was cut. */
const CUT_NOTE_BYTES = 64

/** Runs `call` and records its result. Never throws for what the tool does; throws when the run is lost. */
export async function runTool(context: RunContext, parts: AgentParts, folders: Folders, call: TurnCall): Promise<void> {
  const tool = parts.tools.find((candidate) => candidate.name === call.name)
  const wrong = reasonAgainst(tool, call)
  if (tool === undefined || wrong !== undefined) return record(context, folders, call, { output: wrong ?? `there is no tool ${call.name}`, isError: true })
  const timeout = new AbortController()
  const signal = AbortSignal.any([context.signal, timeout.signal])
  const takeBack = parts.clock.after(tool.timeoutMs(call.arguments), () => timeout.abort(new Error('the tool took too long')))
  const open = await openCall(tool, call, context, folders, signal)
  try {
    if ('failure' in open) return await record(context, folders, call, open.failure)
    const intent = open.call.intent === undefined ? {} : { intent: open.call.intent }
    await context.record({ type: 'ToolStarted', runId: context.runId, toolCallId: call.id, toolName: call.name, attempt: call.attempt + 1, ...intent })
    const result = signal.aborted ? cancelled(context, tool, call) : await unlessDeaf(parts, signal, settle(open.call, context, tool, call))
    requireOurs(context)
    await record(context, folders, call, result ?? cancelled(context, tool, call))
  } finally {
    takeBack()
    if ('call' in open) await open.call.close()
  }
}

/** Gives a call that another process started a result. What it left running was ended by the takeover. */
export async function recoverTool(context: RunContext, parts: AgentParts, folders: Folders, call: TurnCall): Promise<void> {
  const tool = parts.tools.find((candidate) => candidate.name === call.name)
  if (tool?.repeatable === true) return runTool(context, parts, folders, call)
  return record(context, folders, call, { output: UNKNOWN_RESULT, isError: true })
}

function reasonAgainst(tool: Tool | undefined, call: TurnCall): string | undefined {
  if (tool === undefined) return `there is no tool ${call.name}`
  if (call.invalid !== undefined) return `the arguments are not valid: ${call.invalid}`
  const reason = tool.check(call.arguments)
  return reason === undefined ? undefined : `the arguments are not valid: ${reason}`
}

type Opened = { readonly call: OpenToolCall } | { readonly failure: ToolResult }

async function openCall(tool: Tool, call: TurnCall, context: RunContext, folders: Folders, signal: AbortSignal): Promise<Opened> {
  let events = 0
  const progress = (message: string) => {
    if (events++ >= PROGRESS_EVENTS_MAX) return
    // A lost write shows in the result's write.
    context.record({ type: 'ToolProgressed', runId: context.runId, toolCallId: call.id, message }).catch(() => undefined)
  }
  try {
    const { sessionId, runId } = context
    return { call: await tool.open(call.arguments, { sessionId, runId, toolCallId: call.id, ...folders, signal, progress }) }
  } catch (error) {
    return { failure: { output: `the tool could not start: ${messageOf(error)}`, isError: true } }
  }
}

/** What `work` answers; nothing where it did not end within `DEAF_MS` after it was told to: a tool that does not listen is left to itself. */
async function unlessDeaf<T>(parts: AgentParts, signal: AbortSignal, work: Promise<T>): Promise<T | undefined> {
  let takeBack: () => void = () => undefined
  let onAbort: () => void = () => undefined
  const deaf = new Promise<undefined>((resolve) => {
    onAbort = () => void (takeBack = parts.clock.after(DEAF_MS, () => resolve(undefined)))
  })
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    return await Promise.race([work, deaf])
  } finally {
    signal.removeEventListener('abort', onAbort)
    takeBack()
  }
}

/** What a stop or a takeover cut off was not cancelled: whoever drives the run next decides about it. */
function requireOurs({ signal }: RunContext): void {
  if (signal.aborted && signal.reason instanceof RunGone) throw signal.reason
}

async function settle(open: OpenToolCall, context: RunContext, tool: Tool, call: TurnCall): Promise<ToolResult> {
  try {
    return requireResult(await open.run())
  } catch (error) {
    if (context.signal.aborted) return cancelled(context, tool, call)
    return { output: `the tool failed: ${messageOf(error)}`, isError: true }
  }
}

/** What goes into the log must be what it says it is, whoever wrote the tool. @throws {Error} for anything else */
function requireResult(result: ToolResult): ToolResult {
  const { output, isError } = (result ?? {}) as Partial<ToolResult>
  if (typeof output !== 'string' || typeof isError !== 'boolean') throw new Error('it answered no result')
  return result
}

/** A result whose output fits into an event: what is longer is stored once, in a file that the event names. */
function stored(context: RunContext, folders: Folders, call: TurnCall, result: ToolResult): ToolResult {
  const bytes = Buffer.from(result.output)
  if (bytes.length <= TOOL_OUTPUT_BYTES_MAX) return result
  if (result.outputFile !== undefined) {
    // The tool has kept the whole of it. What is cut inside a character is dropped rather than shown broken.
    const head = new TextDecoder().decode(bytes.subarray(0, TOOL_OUTPUT_BYTES_MAX - CUT_NOTE_BYTES)).replace(/\uFFFD$/, '')
    return { ...result, output: `${head}\n[cut: ${bytes.length} bytes]` }
  }
  const output = new Output(folders.outputFolder, `${context.runId} ${call.id}`)
  for (let at = 0; at < bytes.length && !output.overflown; at += PIECE_BYTES) output.add(bytes.subarray(at, at + PIECE_BYTES))
  const { text, file } = output.finish()
  return { ...result, output: text, ...(file === undefined ? {} : { outputFile: file }) }
}

function cancelled(context: RunContext, tool: Tool, call: TurnCall): ToolResult {
  if (context.signal.aborted) return { output: CANCELLED_RESULT, isError: true }
  return { output: `the tool was stopped after ${tool.timeoutMs(call.arguments)} ms`, isError: true }
}

async function record(context: RunContext, folders: Folders, call: TurnCall, result: ToolResult): Promise<void> {
  const { runId } = context
  const { output, isError, outputFile } = stored(context, folders, call, result)
  const file = outputFile === undefined ? {} : { outputFile }
  const completed = { type: 'ToolCompleted', runId, toolCallId: call.id, toolName: call.name, result: output, isError, ...file } as const
  if (result.todos === undefined) return context.record(completed)
  return context.record(completed, { type: 'TodosUpdated', runId, todos: result.todos })
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
