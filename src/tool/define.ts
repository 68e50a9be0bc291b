/** How the built-in tools are written: a schema, and a function that answers. */
import { z } from 'zod'
import type { Json } from '../domain/message.ts'
import { ConvokeError } from '../domain/errors.ts'
import type { OpenToolCall, Tool, ToolContext, ToolResult } from '../domain/tool.ts'

/** How long a call of a tool without a process may take, unless it says otherwise, in ms. */
const TOOL_MS = 30_000
/** A tool's name, as all providers take it. */
const TOOL_NAME = /^[a-zA-Z0-9_-]{1,64}$/

/** A tool without a process of its own. */
export interface SimpleTool<Args> {
  readonly name: string
  readonly description: string
  readonly args: z.ZodType<Args>
  readonly readOnly: boolean
  readonly parallelSafe: boolean
  readonly repeatable: boolean
  readonly timeoutMs?: number
  run(args: Args, context: ToolContext): Promise<ToolResult>
}

/** Makes a tool of a function. */
export function simpleTool<Args>(tool: SimpleTool<Args>): Tool {
  const { name, description, readOnly, parallelSafe, repeatable } = tool
  return {
    name,
    description,
    inputSchema: schemaOf(tool.args),
    readOnly,
    parallelSafe,
    repeatable,
    timeoutMs: () => tool.timeoutMs ?? TOOL_MS,
    check: (args) => reasonAgainst(tool.args, args),
    async open(args, context): Promise<OpenToolCall> {
      const parsed = tool.args.parse(args)
      return { run: () => tool.run(parsed, context), close: async () => undefined }
    },
  }
}

/** A tool of one's own. */
export interface ToolDefinition<Args> {
  /** Letters, digits, `_` and `-`, at most 64. */
  readonly name: string
  /** Tells the model what the tool does and when to use it. */
  readonly description: string
  /** What the tool is given, checked before anybody is asked. */
  readonly input: z.ZodType<Args>
  /** Only looks: passes the default policy, and may run beside others. Default false. */
  readonly readOnly?: boolean
  /** May be run again when it is unknown whether it ran, as after a crash. Default: as `readOnly`. */
  readonly safe?: boolean
  /** How long a call may take, in ms. Default 30,000. */
  readonly timeoutMs?: number
  /** Does the work; `context.signal` is aborted on cancel and time-out. What it throws, the model is told as an error. */
  run(args: Args, context: ToolContext): Promise<string | ToolResult>
}

/** Makes a tool for the configuration's `tools`. @throws {ConvokeError} `config_invalid` for a name that providers refuse */
export function defineTool<Args>(definition: ToolDefinition<Args>): Tool {
  const { name, description, input, readOnly = false, safe = readOnly, timeoutMs } = definition
  if (!TOOL_NAME.test(name)) throw new ConvokeError('config_invalid', `a tool's name has 1 to 64 letters, digits, _ and -: ${JSON.stringify(name)} does not`)
  return simpleTool({
    name,
    description,
    args: input,
    readOnly,
    parallelSafe: readOnly,
    repeatable: safe,
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    async run(args, context) {
      return toolResultOf(await definition.run(args, context))
    },
  })
}

/** What a tool answered, as a result: text as it is, a result with its gaps filled, anything else as JSON. A tool in JavaScript may answer anything. */
function toolResultOf(answer: unknown): ToolResult {
  if (typeof answer === 'string') return { output: answer, isError: false }
  const isResult = typeof answer === 'object' && answer !== null && 'output' in answer && typeof answer.output === 'string'
  if (isResult) return { isError: false, ...(answer as { readonly output: string }) }
  return { output: JSON.stringify(answer) ?? '', isError: false }
}

/** The JSON Schema of `schema`, as models are told. */
export function schemaOf(schema: z.ZodType): Json {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, { io: 'input' })
  return rest as Json
}

/** Why `args` are wrong, for the model; `undefined` if they are right. */
export function reasonAgainst(schema: z.ZodType, args: Json): string | undefined {
  const result = schema.safeParse(args)
  if (result.success) return undefined
  return result.error.issues.map((issue) => `${issue.path.join('.') || 'arguments'}: ${issue.message}`).join('; ')
}

/** An answer that says why something could not be done. */
export function failure(output: string): ToolResult {
  return { output, isError: true }
}
