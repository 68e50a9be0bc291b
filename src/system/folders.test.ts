/** Where sessions may work: below the roots when they bind, links followed first. */
import { existsSync, mkdirSync, mkdtempSync, readdirSync, realpathSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { SessionId } from '../domain/ids.ts'
import { SessionFolders } from './folders.ts'
import { systemRandom } from './random.ts'

let folder: string
const at = (path: string) => join(folder, path)

beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'convoke-folders-')))
  for (const path of ['root/project', 'root/..odd', 'root-too', 'second', 'outside', 'data']) mkdirSync(at(path), { recursive: true })
  writeFileSync(at('root/file'), '')
  symlinkSync(at('outside'), at('root/out'))
  symlinkSync(at('root/project'), at('outside/in'))
  symlinkSync(at('second'), at('alias'))
  symlinkSync(at('nowhere'), at('root/broken'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const folders = (restricted: boolean, roots = [at('root'), at('alias'), at('missing')]) => new SessionFolders({ dataFolder: at('data'), roots, restricted })

test.each([
  ['a root', 'root', 'root'],
  ['a folder below a root', 'root/project', 'root/project'],
  ['a folder whose name begins with dots', 'root/..odd', 'root/..odd'],
  ['a way with dots that stays below', 'root/project/../..odd/.', 'root/..odd'],
  ['a link into a root', 'outside/in', 'root/project'],
  ['a root that is given by a link', 'second', 'second'],
  ['a link that is a root', 'alias', 'second'],
])('where roots bind, %s is allowed, and resolved', async (_what, cwd, real) => {
  expect(await folders(true).resolveCwd(`${folder}/${cwd}`)).toBe(at(real))
})

test.each([
  ['a folder outside', 'outside'],
  ['the parent of the roots', '.'],
  ['a folder whose name begins like a root', 'root-too'],
  ['a link out of a root', 'root/out'],
  ['dots out of a root', 'root/../outside'],
  ['a folder that is not there, below a root', 'root/gone'],
  ['a folder that is not there, outside', 'gone'],
  ['a broken link', 'root/broken'],
  ['a file', 'root/file'],
])('where roots bind, %s is cwd_not_allowed, with the same words for all', async (_what, cwd) => {
  await expect(folders(true).resolveCwd(`${folder}/${cwd}`)).rejects.toMatchObject({
    code: 'cwd_not_allowed',
    message: 'cwd is not below a configured workspace root',
  })
})

test.each([[], [at.name]])('where roots bind and none is there, nothing is allowed', async (...roots) => {
  await expect(folders(true, roots).resolveCwd(at('root'))).rejects.toMatchObject({ code: 'cwd_not_allowed' })
})

test('where roots do not bind, any folder is allowed, and resolved', async () => {
  expect(await folders(false).resolveCwd(at('outside'))).toBe(at('outside'))
  expect(await folders(false).resolveCwd(at('root/out'))).toBe(at('outside'))
  expect(await folders(false).resolveCwd('/')).toBe('/')
})

test.each(['gone', 'root/file', 'root/broken'])('where roots do not bind, %s is no folder', async (cwd) => {
  await expect(folders(false).resolveCwd(at(cwd))).rejects.toMatchObject({ code: 'invalid_request', errors: [{ pointer: '/cwd', detail: 'no such folder' }] })
})

test.each(['', 'root', './root', '../root', '~', 'root\0', '/root\0/x'])('%j is no absolute path', async (cwd) => {
  for (const restricted of [true, false])
    await expect(folders(restricted).resolveCwd(cwd)).rejects.toMatchObject({
      code: 'invalid_request',
      errors: [{ pointer: '/cwd', detail: 'must be an absolute path' }],
    })
})

test('a session without a folder gets one of its own, and one for outputs that only the server reads', async () => {
  const session = systemRandom.uuid() as SessionId
  const made = await folders(true).ensure(session, undefined)
  expect(made).toEqual({ workspace: at(`data/workspaces/${session}`), outputFolder: at(`data/outputs/${session}`) })
  expect(statSync(made.workspace).isDirectory()).toBe(true)
  expect(statSync(made.outputFolder).mode & 0o777).toBe(0o700)
  writeFileSync(join(made.workspace, 'kept'), '')
  expect(await folders(true).ensure(session, undefined)).toEqual(made)
  expect(existsSync(join(made.workspace, 'kept'))).toBe(true)
})

test('a session with a folder works there, also when it has to be made again', async () => {
  const session = systemRandom.uuid() as SessionId
  const made = await folders(true).ensure(session, at('root/again/deep'))
  expect(made.workspace).toBe(at('root/again/deep'))
  expect(statSync(made.workspace).isDirectory()).toBe(true)
  expect(existsSync(at(`data/workspaces/${session}`))).toBe(false)
})

test('two sessions share no folder', async () => {
  const [a, b] = await Promise.all([1, 2].map(() => folders(true).ensure(systemRandom.uuid() as SessionId, undefined)))
  expect(new Set([a?.workspace, b?.workspace, a?.outputFolder, b?.outputFolder]).size).toBe(4)
})

test('new ids are of version 7, never twice, and grow with the time', () => {
  const ids = Array.from({ length: 1000 }, () => systemRandom.uuid())
  for (const id of ids) expect(id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
  expect(new Set(ids).size).toBe(1000)
  expect(ids.map((id) => id.slice(0, 13))).toEqual(ids.map((id) => id.slice(0, 13)).toSorted((a, b) => a.localeCompare(b)))
})

test('fractions lie from 0 up to but not at 1', () => {
  for (const fraction of Array.from({ length: 1000 }, () => systemRandom.fraction())) expect(fraction >= 0 && fraction < 1).toBe(true)
})

describe('what a session has in the data folder', () => {
  const session = 's1' as SessionId
  const put = (path: string) => {
    mkdirSync(join(at('data'), path, '..'), { recursive: true })
    writeFileSync(join(at('data'), path), 'x')
  }
  beforeEach(() => ['workspaces/s1/a/b.txt', 'workspaces/s1/c.txt', 'outputs/s1/one.log', 'outputs/s1/two.log', 'outputs/s2/one.log'].forEach(put))

  test('is counted, and nothing is nothing', async () => {
    expect(await folders(false).count(session)).toEqual({ workspace: 2, outputs: 2 })
    expect(await folders(false).count('s3' as SessionId)).toEqual({ workspace: 0, outputs: 0 })
  })

  test('is removed, again and again, and nothing of others; what a link points to stays', async () => {
    symlinkSync(at('root/file'), at('data/workspaces/s1/link'))
    for (let times = 0; times < 2; times++) await folders(false).remove(session)
    expect([existsSync(at('data/workspaces/s1')), existsSync(at('data/outputs/s1'))]).toEqual([false, false])
    expect([existsSync(at('root/file')), existsSync(at('data/outputs/s2/one.log'))]).toEqual([true, true])
  })

  test('is removed but for the outputs that are needed', async () => {
    for (let times = 0; times < 2; times++) await folders(false).remove(session, new Set(['two.log', 'three.log']))
    expect([existsSync(at('data/workspaces/s1')), readdirSync(at('data/outputs/s1'))]).toEqual([false, ['two.log']])
  })
})
