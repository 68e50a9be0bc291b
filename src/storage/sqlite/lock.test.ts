import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { beforeEach, expect, onTestFinished, test } from 'vitest'
import { lockFolder } from './lock.ts'

let folder: string
let pidFile: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'convoke-lock-'))
  pidFile = join(folder, 'convoke.pid')
  onTestFinished(() => rmSync(folder, { recursive: true }))
})

const never = () => Promise.reject(new Error('nobody should wait here'))

test('a lock names its process while it is held, and leaves no name behind', async () => {
  const lock = await lockFolder(folder, 0, never)
  expect(readFileSync(pidFile, 'utf8')).toBe(`${process.pid}\n`)
  lock.release()
  expect(existsSync(pidFile)).toBe(false)
})

test('a folder that is held is refused at once, naming it and its process', async () => {
  const lock = await lockFolder(folder, 0, never)
  writeFileSync(pidFile, '4711\n')
  await expect(lockFolder(folder, 0, never)).rejects.toMatchObject({ code: 'store_locked', message: `the data folder ${folder} is in use by process 4711` })
  lock.release()
})

test('a holder that has not said its number yet is unknown', async () => {
  const lock = await lockFolder(folder, 0, never)
  rmSync(pidFile)
  await expect(lockFolder(folder, 0, never)).rejects.toThrow('in use by process (unknown)')
  lock.release()
})

test('a number that a dead process left does not hold anybody up', async () => {
  writeFileSync(pidFile, '1\n')
  const lock = await lockFolder(folder, 0, never)
  expect(readFileSync(pidFile, 'utf8')).toBe(`${process.pid}\n`)
  lock.release()
})

test('whoever waits gets the lock as soon as the holder is gone', async () => {
  const holder = await lockFolder(folder, 0, never)
  const pauses: number[] = []
  const lock = await lockFolder(folder, 1000, async (ms) => {
    pauses.push(ms)
    if (pauses.length === 3) holder.release()
  })
  expect(pauses).toEqual([25, 25, 25])
  lock.release()
})

test.each([
  [0, 0],
  [25, 1],
  [60, 3],
  [2000, 80],
])('a wait of %i ms is over after %i pauses', async (waitMs, count) => {
  const holder = await lockFolder(folder, 0, never)
  let pauses = 0
  await expect(lockFolder(folder, waitMs, async () => void pauses++)).rejects.toMatchObject({ code: 'store_locked' })
  expect(pauses).toBe(count)
  holder.release()
})

test('a second release does not take the lock from the next holder', async () => {
  const first = await lockFolder(folder, 0, never)
  first.release()
  const second = await lockFolder(folder, 0, never)
  first.release()
  expect(existsSync(pidFile)).toBe(true)
  await expect(lockFolder(folder, 0, never)).rejects.toMatchObject({ code: 'store_locked' })
  second.release()
})

test('what is no lock at all is an error of its own, not a lock', async () => {
  await expect(lockFolder(join(folder, 'missing'), 0, never)).rejects.toThrow('unable to open database file')
})
