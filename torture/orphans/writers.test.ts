import { expect, test } from 'vitest'
import { judgeWritten, parseWritten } from './writers.ts'

const THEN = { session: 's1', position: 9, name: 'tool_execution_completed', atMs: 5000 }

test('lines are read with their times, without one that was cut off', () => {
  expect(parseWritten('main 1 4.998000\nmain 2 5.0005\nmain 3 5.')).toEqual([
    { writer: 'main', ordinal: 1, atMs: 4998 },
    { writer: 'main', ordinal: 2, atMs: 5000.5 },
  ])
})

test('a write before the run went on, or within the millisecond of the log’s time, is right', () => {
  expect(judgeWritten(parseWritten('main 1 4.998\nmain 2 5.000900\n'), [], THEN)).toEqual([])
})

test('a write after the run went on is found, of each writer the last', () => {
  const found = judgeWritten(parseWritten('one 1 5.2\none 2 5.3\ntwo 1 4.9\n'), [], THEN)
  expect(found).toEqual(['P5: session s1: one made its write 2 300.0 ms after the run went on with tool_execution_completed at position 9'])
})

test('a writer that left its group may write on', () => {
  expect(judgeWritten(parseWritten('away 1 5.2\n'), ['away'], THEN)).toEqual([])
})
