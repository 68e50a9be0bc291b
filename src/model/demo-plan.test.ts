import fc from 'fast-check'
import { expect, test } from 'vitest'
import { planOf } from './demo-plan.ts'

const ALL = new Set(['bash', 'read', 'write', 'edit', 'todo'])
const bash = (command: string) => ({ name: 'bash', arguments: { command } })
const read = (path: string) => ({ name: 'read', arguments: { path } })

test.each([
  ['run ls -la', [[bash('ls -la')]]],
  ['Run: ls', [[bash('ls')]]],
  ['please run `echo "a b"`', [[bash('echo "a b"')]]],
  ['run echo one and two', [[bash('echo one and two')]]],
  ['run if true; then echo x; fi', [[bash('if true; then echo x; fi')]]],
  ['write notes.txt: hello', [[{ name: 'write', arguments: { path: 'notes.txt', content: 'hello\n' } }]]],
  ['write a/b.txt:', [[{ name: 'write', arguments: { path: 'a/b.txt', content: '\n' } }]]],
  ['write a.txt: salt and pepper', [[{ name: 'write', arguments: { path: 'a.txt', content: 'salt and pepper\n' } }]]],
  ['write a.txt: first this then that', [[{ name: 'write', arguments: { path: 'a.txt', content: 'first this then that\n' } }]]],
  ['read notes.txt', [[read('notes.txt')]]],
  ['edit a.txt: old words => new words', [[{ name: 'edit', arguments: { path: 'a.txt', old_text: 'old words', new_text: 'new words' } }]]],
  ['edit a.txt: old =>', [[{ name: 'edit', arguments: { path: 'a.txt', old_text: 'old', new_text: '' } }]]],
  ['todo: one, two ,, three', [[{ name: 'todo', arguments: { todos: ['one', 'two', 'three'].map((text) => ({ text, status: 'pending' })) } }]]],
  ['run ls then read a.txt', [[bash('ls')], [read('a.txt')]]],
  ['run ls\nread a.txt', [[bash('ls')], [read('a.txt')]]],
  ['read a.txt and read b.txt', [[read('a.txt'), read('b.txt')]]],
  ['read a.txt and run ls then read b.txt', [[read('a.txt'), bash('ls')], [read('b.txt')]]],
  ['hello\nrun ls\nthanks', [[bash('ls')]]],
])('"%s" is understood', (text, plan) => {
  expect(planOf(text, ALL)).toEqual(plan)
})

test.each([
  '',
  'hello',
  'what does run mean?',
  'run',
  'run ',
  'rerun ls',
  'read',
  'read two words',
  'write notes.txt',
  'write: x',
  'edit a.txt: no arrow',
  'todo',
  'todo:',
  'I run ls',
])('"%s" asks for nothing', (text) => {
  expect(planOf(text, ALL)).toEqual([])
})

test('a tool that is not there is not called, and its turn falls away', () => {
  expect(planOf('run ls and read a.txt then run pwd', new Set(['read']))).toEqual([[read('a.txt')]])
  expect(planOf('run ls', new Set())).toEqual([])
})

test('any text has a plan of available tools, and the same one each time', () => {
  const anyText = fc.oneof(
    fc.string(),
    fc
      .array(fc.constantFrom('run', 'read', 'write a:', 'edit a:', '=>', 'todo:', 'and', 'then', '\n', 'x', ',', '`'), { maxLength: 20 })
      .map((words) => words.join(' ')),
  )
  fc.assert(
    fc.property(anyText, fc.subarray([...ALL]), (text, available) => {
      const plan = planOf(text, new Set(available))
      for (const calls of plan) expect(calls.length).toBeGreaterThan(0)
      for (const call of plan.flat()) expect(available).toContain(call.name)
      expect(planOf(text, new Set(available))).toEqual(plan)
    }),
  )
})
