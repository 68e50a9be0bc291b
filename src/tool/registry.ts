/** The built-in tools. */
import type { Clock } from '../domain/ports.ts'
import type { Tool } from '../domain/tool.ts'
import { bashTool } from './bash.ts'
import { fileTools } from './files.ts'
import { todoTool } from './todo.ts'

/** What a tool's processes see of the server's environment: nothing that could be a secret. */
const PASSED = ['PATH', 'HOME', 'LANG', 'TERM', 'TMPDIR'] as const

/** The environment of tool processes, taken from the server's. */
export function toolEnvironment(env: Readonly<Record<string, string | undefined>>): Readonly<Record<string, string>> {
  const passed = PASSED.flatMap((name) => (env[name] === undefined ? [] : [[name, env[name]] as const]))
  return { TERM: 'dumb', ...Object.fromEntries(passed) }
}

/** `bash`, `read`, `write`, `edit`, `todo`. */
export function builtinTools(options: { readonly clock: Clock; readonly env: Readonly<Record<string, string>> }): readonly Tool[] {
  return [bashTool(options), ...fileTools(), todoTool()]
}
