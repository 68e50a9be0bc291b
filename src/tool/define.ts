/** How the built-in tools are written: a schema, and a function that answers. */
import { z } from 'zod'
import type { Json } from '../domain/message.ts'
import type { OpenToolCall, Tool, ToolContext, ToolResult } from '../domain/tool.ts'

/** How long a call that only touches files may take, in ms. */
const FILE_TOOL_MS = 30_000

/** A tool without a process of its own. */
export interface SimpleTool<Args> {
  readonly name: string
  readonly description: string
  readonly args: z.ZodType<Args>
  readonly readOnly: boolean
  readonly parallelSafe: boolean
  readonly repeatable: boolean
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
    timeoutMs: () => FILE_TOOL_MS,
    check: (args) => reasonAgainst(tool.args, args),
    async open(args, context): Promise<OpenToolCall> {
      const parsed = tool.args.parse(args)
      return { run: () => tool.run(parsed, context), close: async () => undefined }
    },
  }
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
