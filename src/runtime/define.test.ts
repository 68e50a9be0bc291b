import { expect, test } from 'vitest'
import { defineAgent, isDefinedAgent } from './define.ts'

test('a defined agent is told from an object with the same methods, whichever copy of the package made it', () => {
  const agent = defineAgent({ name: 'mine', run: () => 'hello' })
  expect(isDefinedAgent(agent)).toBe(true)
  expect(isDefinedAgent({ name: 'theirs', replayed: true, run: () => undefined } as object)).toBe(true)
  expect(isDefinedAgent({ name: 'low', run: () => undefined })).toBe(false)
})

test('a defined agent keeps the definition that its function is a method of', async () => {
  const definition = { name: 'mine', word: 'hello', run: (): string => definition.word }
  class Greeter {
    readonly name = 'greeter'
    readonly word = 'hi'
    run(): string {
      return this.word
    }
  }
  expect(await defineAgent(definition).run({} as never)).toBe('hello')
  expect(await defineAgent(new Greeter()).run({} as never)).toBe('hi')
})

test.each(['', ' ', 'a b', 'ä', '.a', '-a', 'x'.repeat(65)])('%j is no name', (name) => {
  expect(() => defineAgent({ name, run: () => undefined })).toThrow(expect.objectContaining({ code: 'config_invalid' }))
})

test.each(['a', 'A-1_b.c', 'x'.repeat(64)])('%j is a name', (name) => {
  expect(defineAgent({ name, run: () => undefined }).name).toBe(name)
})
