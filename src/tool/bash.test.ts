/** The bash tool: what a command says, how it ends, and what it is given. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, realpathSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import type { RunId, SessionId } from '../domain/ids.ts'
import type { OpenToolCall, ToolContext, ToolResult } from '../domain/tool.ts'
import { manualClock } from '../testing/manual-clock.ts'
import { bashTool } from './bash.ts'
import { toolEnvironment } from './registry.ts'

/** Bytes of output that go into an event: frozen, a test that pins it. */
const OUTPUT_BYTES_MAX = 49_152
const clock = manualClock()
const tool = bashTool({ env: toolEnvironment(process.env), clock })

let folder: string
let context: ToolContext
let progress: string[]

beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'convoke-bash-')))
  mkdirSync(join(folder, 'work'))
  mkdirSync(join(folder, 'out'))
  progress = []
  context = contextOf(new AbortController().signal)
})
afterEach(() => rmSync(folder, { recursive: true }))

function contextOf(signal: AbortSignal, toolCallId = 'call_1'): ToolContext {
  const ids = { sessionId: 's' as SessionId, runId: 'r' as RunId, toolCallId }
  return { ...ids, workspace: join(folder, 'work'), outputFolder: join(folder, 'out'), signal, progress: (line) => void progress.push(line) }
}

async function bash(command: string, given: ToolContext = context, using = tool): Promise<ToolResult> {
  const call: OpenToolCall = await using.open({ command }, given)
  try {
    return await call.run()
  } finally {
    await call.close()
  }
}

const bytes = (text: string) => Buffer.byteLength(text)

test.each([
  ['what it says, without the last line break', 'echo hello', 'hello', false],
  ['what it says to the error stream', 'echo oops >&2', 'oops', false],
  ['nothing', 'true', '', false],
  ['inner and leading blanks as they are', `printf '  a\\n\\n  b\\n\\n'`, '  a\n\n  b\n', false],
  ['its exit code', 'exit 7', '[exit code 7]', true],
  ['its words and its exit code', 'echo first; exit 3', 'first\n[exit code 3]', true],
  ['a command that is not there', 'no-such-command-here 2>/dev/null', '[exit code 127]', true],
  ['the signal that ended it', 'kill -TERM $$', '[ended by SIGTERM]', true],
  ['the exit code of the last command of a pipe', 'false | echo end', 'end', false],
  ['several lines', 'echo a\necho b', 'a\nb', false],
  ['quotes and dollars', `x='$HOME "q"'; echo "$x"`, '$HOME "q"', false],
])('a command answers %s', async (_what, command, output, isError) => {
  expect(await bash(command)).toEqual({ output, isError })
})

test('a syntax error is an answer, with what bash says about it', async () => {
  const { output, isError } = await bash('if true; then')
  expect(isError).toBe(true)
  expect(output).toMatch(/syntax error[\s\S]*\[exit code 2\]$/)
})

test('a command works in the workspace', async () => {
  expect((await bash('pwd; echo made > a.txt')).output).toBe(join(folder, 'work'))
  expect(readFileSync(join(folder, 'work/a.txt'), 'utf8')).toBe('made\n')
})

test('words to both streams come in the order of their writing', async () => {
  expect((await bash('for i in 1 2 3; do echo out$i; echo err$i >&2; done 2>&1')).output).toBe('out1\nerr1\nout2\nerr2\nout3\nerr3')
})

test('the standard input is at its end at once', async () => {
  expect(await bash('read -r line; echo "$? [$line]"; cat; wc -c')).toEqual({ output: '1 []\n0', isError: false })
})

test('of the environment a command sees five names, its own mark, and what bash adds', async () => {
  const env = toolEnvironment({
    ...process.env,
    LANG: 'C',
    TMPDIR: '/tmp',
    OPENAI_API_KEY: 'sk-secret',
    CONVOKE_API_KEYS: 'a:b',
    NODE_OPTIONS: '--trace-warnings',
  })
  const { output } = await bash('env; cat /proc/$PPID/environ | tr "\\0" "\\n"', context, bashTool({ env, clock }))
  const names = new Set(output.split('\n').map((line) => line.split('=')[0]))
  for (const name of ['PWD', 'OLDPWD', 'SHLVL', '_']) names.delete(name)
  expect(output).not.toContain('sk-secret')
  expect(names).toEqual(new Set(['PATH', 'HOME', 'LANG', 'TERM', 'TMPDIR', 'CONVOKE_GROUP']))
})

test.each([
  [{}, { TERM: 'dumb' }],
  [
    { TERM: 'xterm', PATH: '/bin' },
    { TERM: 'xterm', PATH: '/bin' },
  ],
  [
    { HOME: '/h', LANG: 'C', TMPDIR: '/t', SSH_AUTH_SOCK: '/s', LD_PRELOAD: 'x', SECRET: 'y' },
    { TERM: 'dumb', HOME: '/h', LANG: 'C', TMPDIR: '/t' },
  ],
])('of %j, tools see %j', (env, seen) => {
  expect(toolEnvironment(env)).toEqual(seen)
})

test.each([
  ['multi-byte characters', `printf 'h\\xc3\\xa9 \\xf0\\x9f\\x8c\\x8d'`, 'hé 🌍'],
  ['a character whose bytes come one by one', `for b in f0 9f 8c 8d; do printf "\\\\x$b"; sleep 0.01; done; echo .`, '🌍.'],
  ['bytes that are no text, in the middle', `printf 'a\\xff\\xfeb'`, 'a\uFFFD\uFFFDb'],
  ['bytes that are no text, at the borders', `printf '\\xffab\\xff'`, '\uFFFDab\uFFFD'],
])('output with %s is valid text', async (_what, command, output) => {
  expect((await bash(command)).output).toBe(output)
})

test.each([
  ['short bytes that are no text', `head -c 40000 /dev/zero | tr '\\0' '\\377'`],
  ['many bytes that are no text', `head -c 200000 /dev/zero | tr '\\0' '\\377'`],
  ['characters of four bytes', `printf '\\xf0\\x9f\\x8c\\x8d%.0s' $(seq 60000)`],
  ['as much as fits', `head -c ${OUTPUT_BYTES_MAX} /dev/zero | tr '\\0' x`],
  ['as much as fits, and a failure', `head -c ${OUTPUT_BYTES_MAX} /dev/zero | tr '\\0' x; exit 1`],
  ['a byte more than fits', `head -c ${OUTPUT_BYTES_MAX + 1} /dev/zero | tr '\\0' x`],
])('output of %s stays within its bound', async (_what, command) => {
  const { output } = await bash(command)
  expect(bytes(output)).toBeLessThanOrEqual(OUTPUT_BYTES_MAX)
  expect(bytes(output)).toBeGreaterThan(OUTPUT_BYTES_MAX * 0.9)
})

test('long output shows its beginning and its end, and all of it is in a file', async () => {
  const { output, isError, outputFile } = await bash('seq 100000')
  expect(isError).toBe(false)
  expect(output).toMatch(/^1\n2\n3\n/)
  expect(output).toMatch(/\n99999\n100000$/)
  expect(bytes(output)).toBeLessThanOrEqual(OUTPUT_BYTES_MAX)
  const all = Array.from({ length: 100_000 }, (_, index) => `${index + 1}\n`).join('')
  expect(readFileSync(outputFile as string, 'utf8')).toBe(all)
  const [, left, named] = /\n\[(\d+) bytes are left out here; the whole output is in (\S+)\]\n/.exec(output) ?? []
  expect(named).toBe(outputFile)
  const shown = output.replace(/\n\[\d+ bytes[^\]]*\]\n/, '')
  expect(bytes(shown) + 1 + Number(left)).toBe(bytes(all))
})

test.each([0, 1, 2, 3])('a cut inside a character drops its bytes rather than showing them broken: shifted by %i', async (shift) => {
  const { output } = await bash(`printf '${'x'.repeat(shift)}'; printf '\\xf0\\x9f\\x8c\\x8d%.0s' $(seq 30000)`)
  expect(output).not.toContain('\uFFFD')
  expect(output).toMatch(/^x{0,3}(🌍)+\n\[\d+ bytes[^\]]*\]\n(🌍)+$/u)
})

test('a call of another run keeps its output apart, also under the same id', async () => {
  const files = []
  for (const runId of ['r1', 'r2'] as RunId[]) files.push((await bash(`seq 20000; echo ${runId}`, { ...context, runId })).outputFile as string)
  expect(files.map((file) => readFileSync(file, 'utf8').trim().slice(-2))).toEqual(['r1', 'r2'])
})

test('short output leaves no file', async () => {
  expect(await bash('echo short')).not.toHaveProperty('outputFile')
  expect(readdirSync(join(folder, 'out'))).toEqual([])
})

test.each(['../../evil', '/etc/passwd', 'a/b', 'x'.repeat(500), '..'])('a call id like "%.20s" names no file outside the folder', async (id) => {
  const { outputFile } = await bash('seq 20000', contextOf(context.signal, id))
  expect(outputFile).toMatch(/\/out\/[0-9a-f]{32}\.log$/)
  expect(readdirSync(join(folder, 'out'))).toHaveLength(1)
})

test('a flood is stopped at its bound, and what it said until then is kept', async () => {
  const { output, isError, outputFile } = await bash('yes 0123456789abcdef')
  expect(isError).toBe(true)
  expect(output).toMatch(/\[stopped: more than 67108864 bytes of output\]$/)
  expect(bytes(output)).toBeLessThanOrEqual(OUTPUT_BYTES_MAX)
  expect(readFileSync(outputFile as string).length).toBeLessThanOrEqual(67_108_864)
})

test('output that cannot be kept ends the command with a reason, not the server', async () => {
  const { outputFile } = await bash('seq 20000')
  rmSync(outputFile as string)
  symlinkSync('/dev/full', outputFile as string)
  const { output, isError } = await bash('seq 1000000; sleep 60')
  expect(isError).toBe(true)
  expect(output).toMatch(/^1\n2\n[\s\S]*\[stopped: the output could not be kept: ENOSPC/)
})

test('progress comes at most ten times a second, with what was said since, and no more than 2000 characters', async () => {
  const first = Promise.withResolvers<void>()
  const watched = { ...context, progress: (line: string) => (progress.push(line), first.resolve()) }
  const pass = (gate: string) => bash(`cat ${gate}`, { ...context, progress: () => undefined })
  const steps = ['mkfifo a b c', 'echo first', 'echo > a', 'echo second', 'echo > b', 'echo > c', `head -c 9000 /dev/zero | tr '\\0' y`]
  const running = bash(steps.join('; '), watched)
  await first.promise
  await pass('a')
  // Behind the second gate, the second word has been read here: it is older than the end of the call that passed the gate.
  await pass('b')
  expect(progress).toEqual(['first\n'])
  clock.advance(100)
  await pass('c')
  await running
  expect(progress).toEqual(['first\n', expect.stringMatching(/^(second\n)?y+$/)])
  expect(progress[1]?.length).toBeLessThanOrEqual(2000)
})

test('progress never shows half of a character', async () => {
  // One write: 2202 units of text, of which the last 2000 begin inside a character.
  await bash(`printf '%s' "a$(printf '\\xf0\\x9f\\x8c\\x8d%.0s' $(seq 600))$(printf 'b%.0s' $(seq 1001))"`)
  expect(progress).toEqual([`${'🌍'.repeat(499)}${'b'.repeat(1001)}`])
})

test.each([
  [{ command: 'ls' }, 120_000],
  [{ command: 'ls', timeout_ms: 5 }, 5],
  [{ command: 'ls', timeout_ms: 600_000 }, 600_000],
  [{ command: 'ls', timeout_ms: 600_001 }, 120_000],
  ['nonsense', 120_000],
])('a call with %j may take %i ms', (args, ms) => {
  expect(tool.timeoutMs(args)).toBe(ms)
})

test.each([
  [{ command: 'ls' }, undefined],
  [{ command: 'ls', timeout_ms: 1 }, undefined],
  [{ command: '' }, /command/],
  [{ command: 'x'.repeat(100_001) }, /command/],
  [{}, /command/],
  [{ command: 'ls', timeout_ms: 0 }, /timeout_ms/],
  [{ command: 'ls', timeout_ms: 1.5 }, /timeout_ms/],
  ['ls', /arguments/],
  [null, /arguments/],
])('arguments %j are checked', (args, reason) => {
  const answer = tool.check(args)
  if (reason === undefined) expect(answer).toBeUndefined()
  else expect(answer).toMatch(reason)
})

test('models are told a plain schema, and the policy that the tool acts', () => {
  expect(tool.inputSchema).toMatchObject({
    type: 'object',
    required: ['command'],
    properties: { command: { type: 'string' }, timeout_ms: { type: 'integer' } },
  })
  expect(tool.inputSchema).not.toHaveProperty('$schema')
  expect(tool).toMatchObject({ name: 'bash', readOnly: false, parallelSafe: false, repeatable: false })
})
