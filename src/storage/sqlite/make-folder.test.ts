import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { makeFolder } from './make-folder.ts'

function emptyFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'convoke-make-folder-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

test('a folder is made with those above it, for its owner only; again does nothing', () => {
  const path = join(emptyFolder(), 'a', 'b', 'c')
  makeFolder(path)
  makeFolder(path)
  expect(statSync(path).mode & 0o777).toBe(0o700)
  expect(statSync(join(path, '..')).mode & 0o777).toBe(0o700)
})

test('a folder below a file, or in the place of one, is the system’s error', () => {
  const file = join(emptyFolder(), 'file')
  writeFileSync(file, '')
  expect(() => makeFolder(file)).toThrow(/EEXIST/)
  expect(() => makeFolder(join(file, 'a'))).toThrow(/ENOTDIR|EEXIST/)
})

test.runIf(process.platform === 'linux')('a folder that nobody can make is an error, and no endless loop', () => {
  expect(() => makeFolder('/proc/nobody-can-make-this')).toThrow(/ENOENT/)
  expect(() => makeFolder('/proc/nobody-can-make-this/nor/this')).toThrow(/ENOENT/)
})
