import { expect, test } from 'vitest'
import { Voice } from './voice.ts'

test('one speaks at a time, in the order of asking', async () => {
  const voice = new Voice()
  const said: string[] = []
  const release = await voice.acquire()
  const second = voice.hold(async () => void said.push('second'))
  const third = voice.hold(async () => void said.push('third'))
  said.push('first')
  release()
  await Promise.all([second, third])
  expect(said).toEqual(['first', 'second', 'third'])
})

test('who fails while speaking lets the next one speak', async () => {
  const voice = new Voice()
  const failed = voice.hold(() => Promise.reject(new Error('no')))
  const next = voice.hold(async () => 'next')
  await expect(failed).rejects.toThrow('no')
  expect(await next).toBe('next')
})
