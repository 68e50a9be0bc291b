/** The `todo` tool: the session's list, replaced as a whole. */
import { z } from 'zod'
import type { Todo, Tool } from '../domain/tool.ts'
import { simpleTool } from './define.ts'

/** Lines of a list. */
const TODOS_MAX = 200

const ARGS = z.object({
  todos: z
    .array(z.object({ text: z.string().min(1).max(1000), status: z.enum(['pending', 'in_progress', 'completed']) }))
    .max(TODOS_MAX)
    .describe('The whole list, in order'),
})

/** The tool. It touches nothing but the session's own list, so it needs no permission. */
export function todoTool(): Tool {
  return simpleTool({
    name: 'todo',
    description: 'Keeps the list of what is to be done in this session. Give the whole list each time.',
    args: ARGS,
    readOnly: true,
    parallelSafe: false,
    repeatable: true,
    async run({ todos }) {
      const list = todos.map(({ text, status }, index): Todo => ({ id: String(index + 1), text, status }))
      const marks = { pending: ' ', in_progress: '~', completed: 'x' } as const
      return { output: list.map((todo) => `[${marks[todo.status]}] ${todo.text}`).join('\n') || 'the list is empty', isError: false, todos: list }
    },
  })
}
