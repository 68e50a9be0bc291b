/** The file tools: what is read, written and replaced, and what is refused. */
import {
  chmodSync,
  closeSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { spawnSync } from 'node:child_process'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { RunId, SessionId } from '../domain/ids.ts'
import type { Json } from '../domain/message.ts'
import type { Tool, ToolResult } from '../domain/tool.ts'
import { fileTools } from './files.ts'

const OUTPUT_BYTES_MAX = 49_152
const FILE_BYTES_MAX = 8_388_608
const tools = new Map(fileTools().map((tool) => [tool.name, tool]))
const toolOf = (name: string) => tools.get(name) as Tool

let folder: string
let workspace: string
const at = (path: string) => join(workspace, path)

beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'convoke-files-')))
  workspace = join(folder, 'work')
  mkdirSync(workspace)
})
afterEach(() => rmSync(folder, { recursive: true }))

async function use(name: string, args: Json): Promise<ToolResult> {
  const ids = { sessionId: 's' as SessionId, runId: 'r' as RunId, toolCallId: 'c' }
  const signal = new AbortController().signal
  const call = await toolOf(name).open(args, { ...ids, workspace, outputFolder: folder, signal, progress: () => undefined })
  try {
    return await call.run()
  } finally {
    await call.close()
  }
}

const lines = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => `line ${from + index}`)
const numbered = (from: number, to: number) => lines(from, to).map((line, index) => `${from + index}\t${line}`)

test.each([
  ['a whole file', 'one\ntwo\n', {}, '1\tone\n2\ttwo'],
  ['a file without a last line break', 'one\ntwo', {}, '1\tone\n2\ttwo'],
  ['an empty file', '', {}, ''],
  ['blank lines', '\n\na\n\n', {}, '1\t\n2\t\n3\ta\n4\t'],
  ['lines of another system', 'a\r\nb\r\n', {}, '1\ta\r\n2\tb\r'],
  ['characters of all sizes', 'é🌍\u0000'.slice(0, 3), {}, '1\té🌍'],
  ['from a line on', 'a\nb\nc\n', { offset: 2 }, '2\tb\n3\tc'],
  ['the last line', 'a\nb\nc\n', { offset: 3 }, '3\tc'],
  ['some lines', 'a\nb\nc\nd\n', { offset: 2, limit: 2 }, '2\tb\n3\tc\n[1 more lines; go on with offset 4]'],
  ['a first line of many', 'a\nb\nc\n', { limit: 1 }, '1\ta\n[2 more lines; go on with offset 2]'],
  ['more lines than there are', 'a\nb\n', { limit: 2000 }, '1\ta\n2\tb'],
  ['the first line of an empty file', '', { offset: 1 }, ''],
])('read shows %s', async (_what, content, args, output) => {
  writeFileSync(at('a.txt'), content)
  expect(await use('read', { path: 'a.txt', ...args })).toEqual({ output, isError: false })
})

test.each([
  [{ offset: 4 }, 'the file has 3 lines'],
  [{ offset: 1_000_000 }, 'the file has 3 lines'],
])('read behind the end, at %j, says how long the file is', async (args, output) => {
  writeFileSync(at('a.txt'), 'a\nb\nc\n')
  expect(await use('read', { path: 'a.txt', ...args })).toEqual({ output, isError: true })
})

test('read shows at most 2000 lines, and where to go on', async () => {
  writeFileSync(at('a.txt'), lines(1, 5000).join('\n'))
  const { output } = await use('read', { path: 'a.txt' })
  expect(output.split('\n')).toEqual([...numbered(1, 2000), '[3000 more lines; go on with offset 2001]'])
  const last = await use('read', { path: 'a.txt', offset: 4001 })
  expect(last.output.split('\n')).toEqual(numbered(4001, 5000))
})

test('read stays within the bound of an event, and following its offsets reads the whole file', async () => {
  const content = Array.from({ length: 300 }, (_, index) => `${index} ${'é'.repeat(index * 7)}`)
  writeFileSync(at('a.txt'), content.join('\n'))
  const seen: string[] = []
  let offset: number | undefined = 1
  for (let turn = 0; offset !== undefined && turn < 100; turn++) {
    const { output, isError } = await use('read', { path: 'a.txt', offset })
    expect(isError).toBe(false)
    expect(Buffer.byteLength(output)).toBeLessThanOrEqual(OUTPUT_BYTES_MAX)
    const next = /\n\[\d+ more lines; go on with offset (\d+)\]$/.exec(output)
    seen.push(
      ...output
        .replace(/\n\[\d+ more lines[^\n]*$/, '')
        .split('\n')
        .map((line) => line.replace(/^\d+\t/, '')),
    )
    offset = next === null ? undefined : Number(next[1])
  }
  expect(seen).toEqual(content)
})

test('a line that is longer than an event is cut, and the next one can be read', async () => {
  writeFileSync(at('a.txt'), `first\n${'🌍'.repeat(50_000)}\nlast\n`)
  const long = await use('read', { path: 'a.txt', offset: 2 })
  expect(Buffer.byteLength(long.output)).toBeLessThanOrEqual(OUTPUT_BYTES_MAX)
  expect(long.output).toMatch(/^2\t(🌍)+ \[\d+ more bytes in this line\]\n\[1 more lines; go on with offset 3\]$/u)
  expect((await use('read', { path: 'a.txt', offset: 3 })).output).toBe('3\tlast')
})

test.each([
  ['a missing file', 'gone.txt', 'there is no file gone.txt'],
  ['a file in a missing folder', 'gone/a.txt', 'there is no file gone/a.txt'],
  ['a folder', 'sub', 'this is not a file'],
  ['the workspace itself', '.', 'this is not a file'],
  ['a pipe', 'pipe', 'this is not a file'],
  ['a binary file', 'a.bin', 'this is a binary file'],
  ['a huge file', 'huge', 'the file is larger than 8388608 bytes'],
])('read and edit refuse %s with a reason', async (_what, path, output) => {
  mkdirSync(at('sub'))
  spawnSync('mkfifo', [at('pipe')])
  writeFileSync(at('a.bin'), Buffer.from([0x7f, 0x45, 0x4c, 0x46, 0, 1]))
  closeSync(openSync(at('huge'), 'w'))
  truncateSync(at('huge'), FILE_BYTES_MAX + 1)
  expect(await use('read', { path })).toEqual({ output, isError: true })
  expect(await use('edit', { path, old_text: 'a', new_text: 'b' })).toEqual({ output, isError: true })
})

test('a path through a file, a name that is too long and a ring of links are refused with a reason', async () => {
  writeFileSync(at('a.txt'), 'x')
  symlinkSync('ring2', at('ring1'))
  symlinkSync('ring1', at('ring2'))
  for (const path of ['a.txt/b', 'x'.repeat(300), 'ring1', 'ring1/a']) {
    for (const [name, more] of [
      ['read', {}],
      ['write', { content: 'y' }],
      ['edit', { old_text: 'x', new_text: 'y' }],
    ] as const) {
      expect(await use(name, { path, ...more })).toMatchObject({ isError: true, output: expect.stringMatching(/./) })
    }
  }
  expect(readFileSync(at('a.txt'), 'utf8')).toBe('x')
  expect(readdirSync(workspace).toSorted((a, b) => a.localeCompare(b))).toEqual(['a.txt', 'ring1', 'ring2'])
})

test('write makes a file with its folders, and says its size in bytes', async () => {
  expect(await use('write', { path: 'a/b/c.txt', content: 'hé\n' })).toEqual({ output: 'created a/b/c.txt (4 bytes)', isError: false })
  expect(readFileSync(at('a/b/c.txt'), 'utf8')).toBe('hé\n')
  expect(await use('write', { path: 'a/b/c.txt', content: '' })).toEqual({ output: 'replaced a/b/c.txt (0 bytes)', isError: false })
  expect(readFileSync(at('a/b/c.txt'), 'utf8')).toBe('')
  expect(readdirSync(at('a/b'))).toEqual(['c.txt'])
})

test('write does not replace a folder', async () => {
  mkdirSync(at('sub'))
  expect(await use('write', { path: 'sub', content: 'x' })).toEqual({ output: 'sub is a folder', isError: true })
  expect(statSync(at('sub')).isDirectory()).toBe(true)
})

test('write takes no more than can be read again', async () => {
  expect(toolOf('write').check({ path: 'a', content: 'x'.repeat(FILE_BYTES_MAX) })).toBeUndefined()
  expect(toolOf('write').check({ path: 'a', content: 'x'.repeat(FILE_BYTES_MAX + 1) })).toMatch(/content/)
  const { output, isError } = await use('write', { path: 'a.txt', content: 'é'.repeat(FILE_BYTES_MAX / 2 + 1) })
  expect({ output, isError }).toEqual({ output: 'the file would be larger than 8388608 bytes', isError: true })
  expect(existsSync(at('a.txt'))).toBe(false)
})

test.each([
  ['write', { content: 'new' }],
  ['edit', { old_text: 'old', new_text: 'new' }],
])('%s puts a whole new file in the place of the old one', async (name, more) => {
  writeFileSync(at('a.txt'), 'old')
  linkSync(at('a.txt'), at('second'))
  const reader = openSync(at('a.txt'), 'r')
  const before = statSync(at('a.txt')).ino
  await use(name, { path: 'a.txt', ...more })
  // Who had opened the old file still reads all of it: nothing was written into it.
  expect(readFileSync(reader, 'utf8')).toBe('old')
  closeSync(reader)
  expect(readFileSync(at('second'), 'utf8')).toBe('old')
  expect(readFileSync(at('a.txt'), 'utf8')).toBe('new')
  expect(statSync(at('a.txt')).ino).not.toBe(before)
  expect(readdirSync(workspace).toSorted((a, b) => a.localeCompare(b))).toEqual(['a.txt', 'second'])
})

test.each([
  ['write', { content: 'new' }],
  ['edit', { old_text: 'old', new_text: 'new' }],
])('%s keeps the mode of the file', async (name, more) => {
  for (const mode of [0o600, 0o755, 0o664, 0o777]) {
    writeFileSync(at('a.txt'), 'old')
    chmodSync(at('a.txt'), mode)
    await use(name, { path: 'a.txt', ...more })
    expect(statSync(at('a.txt')).mode & 0o7777).toBe(mode)
  }
})

test.each([
  ['write', { content: 'new' }],
  ['edit', { old_text: 'old', new_text: 'new' }],
])('%s through a link inside the workspace changes the file behind it', async (name, more) => {
  writeFileSync(at('real.txt'), 'old')
  symlinkSync('real.txt', at('link.txt'))
  expect((await use(name, { path: 'link.txt', ...more })).isError).toBe(false)
  expect(readlinkSync(at('link.txt'))).toBe('real.txt')
  expect(readFileSync(at('real.txt'), 'utf8')).toBe('new')
})

test('write on a link that leads nowhere replaces the link, with the mode of a new file', async () => {
  symlinkSync(join(folder, 'outside.txt'), at('link.txt'))
  await use('write', { path: 'link.txt', content: 'inside' })
  expect(lstatSync(at('link.txt')).isFile()).toBe(true)
  expect(lstatSync(at('link.txt')).mode & 0o111).toBe(0)
  expect(existsSync(join(folder, 'outside.txt'))).toBe(false)
})

test.each([
  ['one place', 'a b c', { old_text: 'b', new_text: 'X' }, 'a X c', 'replaced 1 in a.txt\n@@ line 1 @@\n-b\n+X'],
  ['a place of several lines', 'a\nb\nc\nd', { old_text: 'b\nc', new_text: 'X' }, 'a\nX\nd', 'replaced 1 in a.txt\n@@ line 2 @@\n-b\n-c\n+X'],
  ['every place', 'x y x\nx', { old_text: 'x', new_text: 'zz', replace_all: true }, 'zz y zz\nzz', 'replaced 3 in a.txt\n@@ line 1 @@\n-x\n+zz'],
  ['one place, when all are asked for', 'x', { old_text: 'x', new_text: 'y', replace_all: true }, 'y', 'replaced 1 in a.txt\n@@ line 1 @@\n-x\n+y'],
  ['a place with nothing', 'a b', { old_text: ' b', new_text: '' }, 'a', 'replaced 1 in a.txt\n@@ line 1 @@\n- b\n+'],
  ['words that look like patterns', 'a.*b', { old_text: '.*', new_text: '$&$1' }, 'a$&$1b', 'replaced 1 in a.txt\n@@ line 1 @@\n-.*\n+$&$1'],
  ['at a byte order mark', '\uFEFFa', { old_text: 'a', new_text: 'b' }, '\uFEFFb', 'replaced 1 in a.txt\n@@ line 1 @@\n-a\n+b'],
])('edit replaces %s', async (_what, before, args, after, output) => {
  writeFileSync(at('a.txt'), before)
  expect(await use('edit', { path: 'a.txt', ...args })).toEqual({ output, isError: false })
  expect(readFileSync(at('a.txt'), 'utf8')).toBe(after)
})

test.each([
  ['no place', 'abc', { old_text: 'B', new_text: 'x' }, 'old_text does not stand in a.txt'],
  ['two places', 'x x', { old_text: 'x', new_text: 'y' }, 'old_text stands 2 times in a.txt: give more of its surroundings, or set replace_all'],
  ['two places, when all are refused', 'x x', { old_text: 'x', new_text: 'y', replace_all: false }, /stands 2 times/],
])('edit of %s changes nothing and says why', async (_what, content, args, output) => {
  writeFileSync(at('a.txt'), content)
  const before = statSync(at('a.txt')).ino
  const result = await use('edit', { path: 'a.txt', ...args })
  expect(result.isError).toBe(true)
  expect(result.output).toMatch(output)
  expect(statSync(at('a.txt')).ino).toBe(before)
})

test('edit does not damage a file of another encoding', async () => {
  const latin = Buffer.from([0x63, 0x61, 0x66, 0xe9, 0x20, 0x6f, 0x6c, 0x64])
  writeFileSync(at('a.txt'), latin)
  expect(await use('edit', { path: 'a.txt', old_text: 'old', new_text: 'new' })).toEqual({ output: 'this is not UTF-8 text', isError: true })
  expect(readFileSync(at('a.txt'))).toEqual(latin)
  expect((await use('read', { path: 'a.txt' })).output).toBe('1\tcaf\uFFFD old')
})

test('edit makes no file that could not be read again', async () => {
  writeFileSync(at('a.txt'), 'x'.repeat(10_000))
  const { output, isError } = await use('edit', { path: 'a.txt', old_text: 'x', new_text: 'y'.repeat(1000), replace_all: true })
  expect({ output, isError }).toEqual({ output: 'the file would be larger than 8388608 bytes', isError: true })
  expect(statSync(at('a.txt')).size).toBe(10_000)
})

test('the difference that edit shows is bounded', async () => {
  writeFileSync(at('a.txt'), 'old')
  const { output } = await use('edit', { path: 'a.txt', old_text: 'old', new_text: 'n'.repeat(100_000) })
  expect(output.length).toBeLessThan(5000)
})

test.each([
  ['read', { path: '' }, /path/],
  ['read', { path: 'a'.repeat(4097) }, /path/],
  ['read', { path: 'a', offset: 0 }, /offset/],
  ['read', { path: 'a', limit: 2001 }, /limit/],
  ['read', {}, /path/],
  ['write', { path: 'a' }, /content/],
  ['edit', { path: 'a', old_text: '', new_text: 'b' }, /old_text/],
  ['edit', { path: 'a', old_text: 'x' }, /new_text/],
  ['edit', [], /arguments/],
])('%s does not take %j', (name, args, reason) => {
  expect(toolOf(name).check(args)).toMatch(reason)
})

test.each([
  ['read', { readOnly: true, parallelSafe: true, repeatable: true }],
  ['write', { readOnly: false, parallelSafe: false, repeatable: true }],
  ['edit', { readOnly: false, parallelSafe: false, repeatable: false }],
])('%s tells the policy what it is', (name, facts) => {
  expect(toolOf(name)).toMatchObject(facts)
  expect(toolOf(name).timeoutMs({})).toBe(30_000)
  expect(toolOf(name).inputSchema).toMatchObject({ type: 'object', properties: { path: { type: 'string' } } })
})
