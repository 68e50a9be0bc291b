/** Paths never leave the workspace: a property over random trees with links, and the cases that were once wrong elsewhere. */
import { existsSync, lstatSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import fc from 'fast-check'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { RunId, SessionId } from '../domain/ids.ts'
import type { Json } from '../domain/message.ts'
import type { Tool } from '../domain/tool.ts'
import { fileTools } from './files.ts'
import { contain } from './path.ts'

let folder: string
let workspace: string

beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'convoke-path-')))
  workspace = join(folder, 'work')
  for (const path of ['work/sub/deep', 'work/..odd', 'outside/sub', 'work-too']) mkdirSync(join(folder, path), { recursive: true })
  for (const path of ['work/a.txt', 'work/sub/b.txt', 'work/..odd/c.txt', 'outside/secret.txt', 'outside/sub/secret.txt', 'work-too/secret.txt'])
    writeFileSync(join(folder, path), `text of ${path}`)
  const links = {
    out: '../outside',
    file: '../outside/secret.txt',
    nowhere: '../outside/new',
    inner: 'sub',
    up: '..',
    root: '/',
    self: '.',
    twice: 'out/sub',
    beside: '../work-too',
  }
  for (const [name, target] of Object.entries(links)) symlinkSync(target, join(workspace, name))
  symlinkSync('../../outside', join(workspace, 'sub/out'))
  symlinkSync(join(workspace, 'a.txt'), join(folder, 'outside/back'))
})
afterEach(() => rmSync(folder, { recursive: true }))

test.each([
  ['a.txt', 'a.txt'],
  ['./a.txt', 'a.txt'],
  ['sub/../a.txt', 'a.txt'],
  ['new/folder/file', 'new/folder/file'],
  ['inner/b.txt', 'sub/b.txt'],
  ['self/self/a.txt', 'a.txt'],
  ['..odd/c.txt', '..odd/c.txt'],
  ['...', '...'],
  ['.', ''],
  ['sub/', 'sub'],
  ['out/back', 'a.txt'],
  ['../work/a.txt', 'a.txt'],
])('%s is inside, at %s', async (path, inside) => {
  expect(await contain(workspace, path)).toEqual({ path: join(workspace, inside) })
})

test('an absolute path below the workspace is inside, also when the workspace is given by a link', async () => {
  expect(await contain(workspace, join(workspace, 'sub/b.txt'))).toEqual({ path: join(workspace, 'sub/b.txt') })
  symlinkSync(workspace, join(folder, 'alias'))
  expect(await contain(join(folder, 'alias'), 'a.txt')).toEqual({ path: join(workspace, 'a.txt') })
})

test.each([
  '..',
  '../outside/secret.txt',
  'sub/../../outside/secret.txt',
  '/etc/passwd',
  '/',
  'out/secret.txt',
  'out',
  'file',
  'twice/secret.txt',
  'sub/out/secret.txt',
  'up',
  'up/outside/secret.txt',
  'root/etc/passwd',
  'out/new/file',
  'inner/out/new',
  'beside/secret.txt',
  '../work-too/secret.txt',
  '../work-too',
])('%s is outside', async (path) => {
  expect(await contain(workspace, path)).toEqual({ refused: `${path} is outside the workspace` })
})

test.each(['', 'a\0b', '\0'])('%j is no path', async (path) => {
  expect(await contain(workspace, path)).toEqual({ refused: 'the path is not valid' })
})

test('a workspace that is gone is a failure, not a permission', async () => {
  await expect(contain(join(folder, 'gone'), 'a')).rejects.toMatchObject({ code: 'ENOENT' })
})

const NAMES = [
  '..',
  '..',
  '.',
  'sub',
  'deep',
  'a.txt',
  'b.txt',
  'out',
  'file',
  'nowhere',
  'inner',
  'up',
  'self',
  'twice',
  'outside',
  'work',
  'secret.txt',
  'new',
  '..odd',
  '',
]
const anyPath = fc.tuple(fc.constantFrom('', '', '', '/', 'WORKSPACE/'), fc.array(fc.constantFrom(...NAMES), { minLength: 1, maxLength: 7 })).map(
  ([start, names]) =>
    (root: string) =>
      `${start.replace('WORKSPACE', root)}${names.join('/')}`,
)

test('of any path, what is contained is really inside, links followed', async () => {
  await fc.assert(
    fc.asyncProperty(anyPath, async (make) => {
      const path = make(workspace)
      const contained = await contain(workspace, path).catch((error: NodeJS.ErrnoException) => ({ refused: error.code }))
      if ('refused' in contained) return
      // What exists of it is looked at by the kernel, not by our own rules.
      let there = contained.path
      while (!existsSync(there)) there = join(there, '..')
      expect(relative(workspace, realpathSync(there))).not.toMatch(/^\.\.(\/|$)/)
      expect(relative(workspace, contained.path)).not.toMatch(/^\.\.(\/|$)/)
    }),
    { numRuns: 500 },
  )
})

test('with any paths, the tools show nothing of what is outside and change nothing there', async () => {
  const outside = () => snapshot(folder, workspace)
  const before = outside()
  const tools = new Map(fileTools().map((tool) => [tool.name, tool]))
  const anyCall = fc.tuple(
    fc.constantFrom<[string, Json]>(['read', {}], ['write', { content: 'written' }], ['edit', { old_text: 'text', new_text: 'edited' }]),
    anyPath,
  )
  await fc.assert(
    fc.asyncProperty(anyCall, async ([[name, more], make]) => {
      const output = await use(tools.get(name) as Tool, { path: make(workspace), ...(more as object) })
      expect(output).not.toContain('text of outside')
      expect(output).not.toContain('text of work-too')
      expect(outside()).toEqual(before)
    }),
    { numRuns: 500 },
  )
})

async function use(tool: Tool, args: Json): Promise<string> {
  const ids = { sessionId: 's' as SessionId, runId: 'r' as RunId, toolCallId: 'c' }
  const wrong = tool.check(args)
  if (wrong !== undefined) return wrong
  const call = await tool.open(args, { ...ids, workspace, outputFolder: folder, signal: new AbortController().signal, progress: () => undefined })
  return (await call.run()).output
}

/** Every file below `root` but those of `without`, with its text. */
function snapshot(root: string, without: string): Readonly<Record<string, string>> {
  const entries = readdirSync(root).flatMap((name): readonly (readonly [string, string])[] => {
    const path = join(root, name)
    if (path === without) return []
    const facts = lstatSync(path)
    if (facts.isDirectory()) return [[path, 'folder'], ...Object.entries(snapshot(path, without))]
    return [[path, facts.isFile() ? readFileSync(path, 'utf8') : 'link']]
  })
  return Object.fromEntries(entries)
}
