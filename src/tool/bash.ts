/** The `bash` tool: one command in the workspace, under a guardian. */
import { z } from 'zod'
import type { Clock } from '../domain/ports.ts'
import type { Json } from '../domain/message.ts'
import type { OpenToolCall, Tool, ToolContext, ToolResult } from '../domain/tool.ts'
import { reasonAgainst, schemaOf } from './define.ts'
import { startGuardian, type CommandEnd, type GuardedProcess } from './guardian/guarded.ts'
import { Output, OUTPUT_FILE_BYTES_MAX } from './output.ts'

/** How long a command may take, in ms: by default, and at most. */
export const BASH_MS = 120_000
export const BASH_MS_MAX = 600_000
/** Least time between two progress events, in ms. */
const PROGRESS_MS = 100
/** Characters of one progress event. */
const PROGRESS_CHARS = 2000
/** How long output may still come once the group is gone, in ms: a process that left the group can hold the pipes open for ever. */
const DRAIN_MS = 250
/** Characters of a reason that is shown. */
const REASON_CHARS_MAX = 200

const ARGS = z.object({
  command: z.string().min(1).max(100_000).describe('The bash command to run in the workspace'),
  timeout_ms: z.int().min(1).max(BASH_MS_MAX).optional().describe(`After how many ms to stop it; default ${BASH_MS}`),
})

/** The tool. `env` is all that its processes see of the server's environment. */
export function bashTool(options: { readonly env: Readonly<Record<string, string>>; readonly clock: Clock }): Tool {
  return {
    name: 'bash',
    description: 'Runs a bash command in the workspace and answers its output. What it leaves in the background ends with it.',
    inputSchema: schemaOf(ARGS),
    readOnly: false,
    parallelSafe: false,
    repeatable: false,
    timeoutMs: (args) => ARGS.safeParse(args).data?.timeout_ms ?? BASH_MS,
    check: (args) => reasonAgainst(ARGS, args),
    async open(args: Json, context): Promise<OpenToolCall> {
      const { command } = ARGS.parse(args)
      const guardian = await startGuardian(options.env, context.workspace)
      return {
        intent: guardian.intent,
        run: () => run(guardian, command, context, options.clock),
        close: async () => guardian.kill(),
      }
    },
  }
}

async function run(guardian: GuardedProcess, command: string, context: ToolContext, clock: Clock): Promise<ToolResult> {
  const output = new Output(context.outputFolder, `${context.runId} ${context.toolCallId}`)
  const progress = progressOf(context, clock)
  const onAbort = () => guardian.kill()
  context.signal.addEventListener('abort', onAbort, { once: true })
  const streams = [guardian.output.stdout, guardian.output.stderr]
  const ended = streams.map((stream) => new Promise<void>((resolve) => stream.once('close', resolve)))
  for (const stream of streams) {
    stream.on('data', (chunk: Buffer) => {
      output.add(chunk)
      progress(chunk)
      if (output.overflown || output.failure !== undefined) guardian.kill()
    })
  }
  if (context.signal.aborted) guardian.kill()
  const end = await guardian.run(command, context.workspace)
  // What still runs holds the pipes open: it ends here, with all that it had written.
  guardian.kill()
  // One more turn of the loop: on a busy one, what has arrived is read after the timers.
  const takeBack = clock.after(DRAIN_MS, () => setImmediate(() => streams.forEach((stream) => stream.destroy())))
  await Promise.all(ended)
  takeBack()
  context.signal.removeEventListener('abort', onAbort)
  return resultOf(output, end, context)
}

function resultOf(output: Output, end: CommandEnd, context: ToolContext): ToolResult {
  const { text, file } = output.finish()
  const how = howItEnded(output, end, context)
  const trimmed = text.endsWith('\n') ? text.slice(0, -1) : text
  const all = how === undefined ? trimmed : `${trimmed}${trimmed === '' ? '' : '\n'}[${how.slice(0, REASON_CHARS_MAX)}]`
  return { output: all, isError: how !== undefined, ...(file === undefined ? {} : { outputFile: file }) }
}

function howItEnded(output: Output, end: CommandEnd, context: ToolContext): string | undefined {
  if (output.failure !== undefined) return `stopped: the output could not be kept: ${output.failure}`
  if (output.overflown) return `stopped: more than ${OUTPUT_FILE_BYTES_MAX} bytes of output`
  if (context.signal.aborted) return `stopped: ${context.signal.reason instanceof Error ? context.signal.reason.message : 'cancelled'}`
  if (end.error !== undefined) return `could not start: ${end.error}`
  if (end.signal !== null) return `ended by ${end.signal}`
  return end.code === 0 ? undefined : `exit code ${end.code}`
}

/** Reports output as it comes, at most one report per `PROGRESS_MS`; the rest is in the result. */
function progressOf(context: ToolContext, clock: Clock): (chunk: Buffer) => void {
  let lastMs = -PROGRESS_MS
  const decoder = new TextDecoder()
  let pending = ''
  return (chunk) => {
    pending = `${pending}${decoder.decode(chunk, { stream: true })}`.slice(-PROGRESS_CHARS).replace(/^[\uDC00-\uDFFF]/, '')
    if (clock.monotonicMs() - lastMs < PROGRESS_MS) return
    lastMs = clock.monotonicMs()
    context.progress(pending)
    pending = ''
  }
}
