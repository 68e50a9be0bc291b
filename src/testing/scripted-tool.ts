/** Tools that do what a test says, and count what was really done. */
import type { Json } from '../domain/message.ts'
import type { Tool, ToolContext, ToolIntent, ToolResult } from '../domain/tool.ts'

/** A tool under test. */
export interface ScriptedTool extends Tool {
  /** How often each call id was run, over all processes that share this object. */
  readonly runs: ReadonlyMap<string, number>
  /** Ids of calls that run now, in the order of their starts. */
  readonly running: readonly string[]
  /** The most calls that ever ran at once. */
  readonly mostAtOnce: number
  /** Calls that were opened and not closed. */
  readonly left: number
}

/** What a tool does and is. All of it is optional: without anything it answers `done ID` at once. */
export interface ScriptedToolOptions {
  readonly readOnly?: boolean
  readonly parallelSafe?: boolean
  readonly repeatable?: boolean
  readonly timeoutMs?: number
  readonly intent?: ToolIntent
  readonly check?: (args: Json) => string | undefined
  /** Called when a call is opened; may throw. */
  readonly opened?: (context: ToolContext) => void
  readonly run?: (context: ToolContext, args: Json) => Promise<ToolResult | string> | string
}

/** A tool called `name`. */
export function scriptedTool(name: string, options: ScriptedToolOptions = {}): ScriptedTool {
  const runs = new Map<string, number>()
  const running: string[] = []
  let mostAtOnce = 0
  let open = 0
  const runOnce = async (context: ToolContext, args: Json): Promise<ToolResult> => {
    const id = context.toolCallId
    runs.set(id, (runs.get(id) ?? 0) + 1)
    running.push(id)
    mostAtOnce = Math.max(mostAtOnce, running.length)
    try {
      const result = await (options.run?.(context, args) ?? `done ${id}`)
      return typeof result === 'string' ? { output: result, isError: false } : result
    } finally {
      running.splice(running.indexOf(id), 1)
    }
  }
  return {
    name,
    description: `the tool ${name}`,
    inputSchema: { type: 'object' },
    readOnly: options.readOnly ?? false,
    parallelSafe: options.parallelSafe ?? false,
    repeatable: options.repeatable ?? false,
    timeoutMs: () => options.timeoutMs ?? 30_000,
    check: (args) => options.check?.(args),
    runs,
    running,
    get mostAtOnce() {
      return mostAtOnce
    },
    get left() {
      return open
    },
    async open(args, context) {
      options.opened?.(context)
      open++
      return {
        ...(options.intent === undefined ? {} : { intent: options.intent }),
        run: () => runOnce(context, args),
        close: async () => void open--,
      }
    },
  }
}

/** Resolves when `signal` is aborted: for a tool that waits until it is told to end. */
export function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => (signal.aborted ? resolve() : signal.addEventListener('abort', () => resolve(), { once: true })))
}
