/** The file tools: `read`, `write`, `edit`. All paths stay in the workspace. */
import { isUtf8 } from 'node:buffer'
import { randomBytes } from 'node:crypto'
import { constants, type Stats } from 'node:fs'
import { lstat, mkdir, open, readFile, rename, stat, unlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { z } from 'zod'
import type { Tool, ToolContext, ToolResult } from '../domain/tool.ts'
import { TOOL_OUTPUT_BYTES_MAX } from '../domain/tool.ts'
import { failure, simpleTool } from './define.ts'
import { contain } from './path.ts'

/** Bytes of a file that the tools take in or give out. */
export const FILE_BYTES_MAX = 8 * 1024 * 1024
/** Lines that one `read` answers at most. */
export const READ_LINES_MAX = 2000
/** Bytes of lines that one `read` answers; the rest of the bound is for the words after them. */
const SHOWN_BYTES_MAX = TOOL_OUTPUT_BYTES_MAX - 200
/** Permissions of a new file, before the umask. */
const NEW_FILE_MODE = 0o644
const TOO_LARGE = `the file would be larger than ${FILE_BYTES_MAX} bytes`

const path = z.string().min(1).max(4096).describe('Path of the file, relative to the workspace')

const READ = z.object({
  path,
  offset: z.int().min(1).optional().describe('First line, from 1'),
  limit: z.int().min(1).max(READ_LINES_MAX).optional().describe('Number of lines'),
})
const WRITE = z.object({ path, content: z.string().max(FILE_BYTES_MAX).describe('The whole new content') })
const EDIT = z.object({
  path,
  old_text: z.string().min(1).describe('Text that stands in the file, exactly'),
  new_text: z.string().describe('Text to put in its place'),
  replace_all: z.boolean().optional().describe('Replace every occurrence; otherwise there must be exactly one'),
})

/** The tools that look at and change files. */
export function fileTools(): readonly Tool[] {
  return [
    simpleTool({
      name: 'read',
      description: 'Reads a text file of the workspace, with line numbers.',
      args: READ,
      readOnly: true,
      parallelSafe: true,
      repeatable: true,
      run: (args, context) => withPath(args.path, context, (real) => readText(real, args)),
    }),
    simpleTool({
      name: 'write',
      description: 'Writes a file of the workspace, whole. Makes its folders.',
      args: WRITE,
      readOnly: false,
      parallelSafe: false,
      repeatable: true,
      run: (args, context) => withPath(args.path, context, (real) => writeText(real, args.path, args.content)),
    }),
    simpleTool({
      name: 'edit',
      description: 'Replaces text in a file of the workspace.',
      args: EDIT,
      readOnly: false,
      parallelSafe: false,
      repeatable: false,
      run: (args, context) => withPath(args.path, context, (real) => editText(real, args)),
    }),
  ]
}

/** Runs `work` on a contained path; what the system refuses becomes an answer. */
async function withPath(given: string, context: ToolContext, work: (real: string) => Promise<ToolResult>): Promise<ToolResult> {
  try {
    const contained = await contain(context.workspace, given)
    if ('refused' in contained) return failure(contained.refused)
    return await work(contained.path)
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    return failure(code === 'ENOENT' ? `there is no file ${given}` : `${given}: ${message}`)
  }
}

interface Loaded {
  readonly text: string
  /** Whether every byte is text: otherwise writing the text back would damage the file. */
  readonly exact: boolean
  readonly facts: Stats
}

async function loadText(real: string): Promise<Loaded | { readonly refused: string }> {
  const facts = await stat(real)
  if (!facts.isFile()) return { refused: 'this is not a file' }
  if (facts.size > FILE_BYTES_MAX) return { refused: `the file is larger than ${FILE_BYTES_MAX} bytes` }
  const bytes = await readFile(real)
  if (bytes.includes(0)) return { refused: 'this is a binary file' }
  return { text: bytes.toString('utf8'), exact: isUtf8(bytes), facts }
}

async function readText(real: string, { offset = 1, limit = READ_LINES_MAX }: z.infer<typeof READ>): Promise<ToolResult> {
  const loaded = await loadText(real)
  if ('refused' in loaded) return failure(loaded.refused)
  const lines = loaded.text.split('\n')
  if (lines.at(-1) === '') lines.pop()
  if (offset > Math.max(1, lines.length)) return failure(`the file has ${lines.length} lines`)
  const shown: string[] = []
  let bytes = 0
  for (const [index, line] of lines.slice(offset - 1, offset - 1 + limit).entries()) {
    const text = `${offset + index}\t${line}`
    bytes += Buffer.byteLength(text) + 1
    if (bytes > SHOWN_BYTES_MAX && shown.length > 0) break
    shown.push(bytes > SHOWN_BYTES_MAX ? beginningOf(text) : text)
  }
  const left = lines.length - (offset - 1) - shown.length
  if (left > 0) shown.push(`[${left} more lines; go on with offset ${offset + shown.length}]`)
  return { output: shown.join('\n'), isError: false }
}

/** A line that is longer than an answer: without its rest, so that a reader gets past it. */
function beginningOf(text: string): string {
  const bytes = Buffer.from(text)
  const shown = new TextDecoder().decode(bytes.subarray(0, SHOWN_BYTES_MAX), { stream: true })
  return `${shown} [${bytes.length - Buffer.byteLength(shown)} more bytes in this line]`
}

async function writeText(real: string, name: string, content: string): Promise<ToolResult> {
  const bytes = Buffer.byteLength(content)
  if (bytes > FILE_BYTES_MAX) return failure(TOO_LARGE)
  await mkdir(dirname(real), { recursive: true })
  const before = await lstat(real).catch(() => undefined)
  if (before?.isDirectory() === true) return failure(`${name} is a folder`)
  await replaceFile(real, content, before)
  return { output: `${before === undefined ? 'created' : 'replaced'} ${name} (${bytes} bytes)`, isError: false }
}

/** Writes beside the file, then renames: nobody sees half of it, and a crash leaves the old or the new one. */
async function replaceFile(real: string, content: string, before: Stats | undefined): Promise<void> {
  const beside = join(dirname(real), `.${randomBytes(8).toString('hex')}.tmp`)
  const file = await open(beside, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, NEW_FILE_MODE)
  try {
    await file.writeFile(content, 'utf8')
    // The old mode is kept as it is: a mode given to open is narrowed by the umask. A link has none of its own.
    if (before?.isFile() === true) await file.chmod(before.mode & 0o777)
    await file.sync()
    await file.close()
    await rename(beside, real)
  } catch (error) {
    await file.close()
    await unlink(beside)
    throw error
  }
}

async function editText(real: string, { path: name, old_text: from, new_text: to, replace_all: all }: z.infer<typeof EDIT>): Promise<ToolResult> {
  const loaded = await loadText(real)
  if ('refused' in loaded) return failure(loaded.refused)
  if (!loaded.exact) return failure('this is not UTF-8 text')
  const parts = loaded.text.split(from)
  const count = parts.length - 1
  if (count === 0) return failure(`old_text does not stand in ${name}`)
  if (count > 1 && all !== true) return failure(`old_text stands ${count} times in ${name}: give more of its surroundings, or set replace_all`)
  // Before the text is made: it could be larger than a string can be.
  const bytes = Buffer.byteLength(loaded.text) + count * (Buffer.byteLength(to) - Buffer.byteLength(from))
  if (bytes > FILE_BYTES_MAX) return failure(TOO_LARGE)
  await replaceFile(real, parts.join(to), loaded.facts)
  const line = (parts[0] ?? '').split('\n').length
  const removed = from.split('\n').map((text) => `-${text}`)
  const added = to.split('\n').map((text) => `+${text}`)
  const diff = [`@@ line ${line} @@`, ...removed, ...added].join('\n').slice(0, 4000)
  return { output: `replaced ${count} in ${name}\n${diff}`, isError: false }
}
