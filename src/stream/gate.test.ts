import { expect, test } from 'vitest'
import { Gate } from './gate.ts'

test('at most so many run at once, and those who wait come in their order', async () => {
  const gate = new Gate(2)
  const started: number[] = []
  const finish: (() => void)[] = []
  const all = [0, 1, 2, 3].map((index) =>
    gate.run(async () => {
      started.push(index)
      await new Promise<void>((resolve) => (finish[index] = resolve))
      return index
    }),
  )
  expect(started).toEqual([0, 1])
  finish[1]?.()
  await all[1]
  expect(started).toEqual([0, 1, 2])
  finish[0]?.()
  await all[0]
  expect(started).toEqual([0, 1, 2, 3])
  finish[2]?.()
  finish[3]?.()
  expect(await Promise.all(all)).toEqual([0, 1, 2, 3])
})

test('a failure frees its place and hurts nobody who waits', async () => {
  const gate = new Gate(1)
  const failing = gate.run(() => Promise.reject(new Error('no')))
  const waiting = gate.run(async () => 'done')
  await expect(failing).rejects.toThrow('no')
  expect(await waiting).toBe('done')
  expect(await gate.run(async () => 'again')).toBe('again')
})

test('it is crowded while somebody waits', async () => {
  const gate = new Gate(1)
  let open: () => void = () => undefined
  const first = gate.run(() => new Promise<void>((resolve) => (open = resolve)))
  expect(gate.crowded).toBe(false)
  const second = gate.run(async () => gate.crowded)
  expect(gate.crowded).toBe(true)
  open()
  await first
  expect(await second).toBe(false)
})
