import { expect, test } from 'vitest'
import type { RunId, SessionId } from '../domain/ids.ts'
import type { Json } from '../domain/message.ts'
import { manualClock } from '../testing/manual-clock.ts'
import { builtinTools } from './registry.ts'
import { todoTool } from './todo.ts'

const tool = todoTool()

async function use(args: Json) {
  const ids = { sessionId: 's' as SessionId, runId: 'r' as RunId, toolCallId: 'c' }
  const call = await tool.open(args, { ...ids, workspace: '/', outputFolder: '/', signal: new AbortController().signal, progress: () => undefined })
  return call.run()
}

test('the whole list is answered with marks, and handed on with numbers', async () => {
  const todos = [
    { text: 'look', status: 'completed' },
    { text: 'think', status: 'in_progress' },
    { text: 'write', status: 'pending' },
  ]
  expect(await use({ todos })).toEqual({
    output: '[x] look\n[~] think\n[ ] write',
    isError: false,
    todos: [
      { id: '1', text: 'look', status: 'completed' },
      { id: '2', text: 'think', status: 'in_progress' },
      { id: '3', text: 'write', status: 'pending' },
    ],
  })
})

test('an empty list is a list', async () => {
  expect(await use({ todos: [] })).toEqual({ output: 'the list is empty', isError: false, todos: [] })
})

test.each([
  [{ todos: [{ text: '', status: 'pending' }] }, /todos\.0\.text/],
  [{ todos: [{ text: 'x'.repeat(1001), status: 'pending' }] }, /todos\.0\.text/],
  [{ todos: [{ text: 'a', status: 'done' }] }, /todos\.0\.status/],
  [{ todos: [{ text: 'a' }] }, /todos\.0\.status/],
  [{ todos: Array.from({ length: 201 }, () => ({ text: 'a', status: 'pending' })) }, /todos/],
  [{}, /todos/],
])('a list that is none is refused: %#', (args, reason) => {
  expect(tool.check(args)).toMatch(reason)
})

test('the longest list and the longest text are taken', () => {
  expect(tool.check({ todos: Array.from({ length: 200 }, () => ({ text: 'x'.repeat(1000), status: 'pending' })) })).toBeUndefined()
})

test('the tool needs no permission, and may be repeated, but not beside another', () => {
  expect(tool).toMatchObject({ name: 'todo', readOnly: true, parallelSafe: false, repeatable: true })
})

test('the built-in tools have distinct names and object schemas', () => {
  const tools = builtinTools({ clock: manualClock(), env: {} })
  expect(tools.map(({ name }) => name)).toEqual(['bash', 'read', 'write', 'edit', 'todo'])
  for (const { inputSchema, description } of tools) {
    expect(inputSchema).toMatchObject({ type: 'object' })
    expect(description).not.toBe('')
  }
})
