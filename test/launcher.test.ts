/** The launcher, on a fake program in a package of its own: what reaches the program, and how both end. */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'

const repository = join(dirname(fileURLToPath(import.meta.url)), '..')

/** Speaks as the program: one line per thing that happens, and a way to end for each test. */
const PROGRAM = `
import { spawnSync } from 'node:child_process'
export async function main(argv) {
  const say = (what) => process.stdout.write(JSON.stringify(what) + '\\n')
  if (argv[0] === 'code') return Number(argv[1])
  if (argv[0] === 'environment') {
    const inherited = spawnSync(process.execPath, ['-p', 'process.env.CONVOKE_LAUNCHER_FD'], { encoding: 'utf8' }).stdout.trim()
    say({ own: process.env.CONVOKE_LAUNCHER_FD ?? 'undefined', inherited, node: process.versions.node, argv })
    return 0
  }
  if (argv[0] === 'echo') {
    for await (const chunk of process.stdin) process.stdout.write(chunk)
    return 0
  }
  // Waits: each signal is told, and the program ends a moment after the first, so that a second one would be seen.
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
      process.on(signal, () => {
        say({ signal })
        setTimeout(() => resolve(5), 300)
      })
    }
    setInterval(() => undefined, 1000)
    say({ pid: process.pid })
  }).finally(() => setTimeout(() => process.exit(), 10))
}
`

/** Makes any Node look like an old one, so that these tests need none on the machine. */
const PRETEND_OLD = ['--import', `data:text/javascript,Object.defineProperty(process,'versions',{value:{...process.versions,node:'20.0.0'}})`]

let folder: string
let launcher: string

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'convoke-launcher-'))
  launcher = packageAt(join(folder, 'checkout'), { source: PROGRAM, pinned: true })
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function packageAt(root: string, parts: { source?: string; built?: string; pinned?: boolean }): string {
  mkdirSync(join(root, 'bin'), { recursive: true })
  writeFileSync(join(root, 'package.json'), '{"type":"module"}')
  cpSync(join(repository, 'bin/convoke.js'), join(root, 'bin/convoke.js'))
  if (parts.source !== undefined) put(join(root, 'src/cli/main.ts'), parts.source)
  if (parts.built !== undefined) put(join(root, 'dist/cli/main.js'), parts.built)
  if (parts.pinned === true) {
    const bin = join(root, 'node_modules', `node-${process.platform}-${process.arch}`, 'bin')
    mkdirSync(bin, { recursive: true })
    symlinkSync(process.execPath, join(bin, 'node'))
  }
  return join(root, 'bin/convoke.js')
}

function put(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
}

function runOld(args: readonly string[], options: { file?: string; input?: string } = {}) {
  const { status, signal, stdout, stderr } = spawnSync(process.execPath, [...PRETEND_OLD, options.file ?? launcher, ...args], {
    encoding: 'utf8',
    timeout: 10_000,
    input: options.input ?? '',
  })
  return { status, signal, stdout, stderr }
}

/** A waiting program under a launcher that has no terminal, as under a service manager. */
async function startWaiting() {
  const child = spawn(process.execPath, [...PRETEND_OLD, launcher, 'wait'], { stdio: ['ignore', 'pipe', 'inherit'], detached: true })
  onTestFinished(() => void child.kill('SIGKILL'))
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  const lines = () =>
    text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as { pid?: number; signal?: string })
  await vi.waitFor(() => expect(lines()[0]?.pid).toBeTypeOf('number'), { timeout: 10_000 })
  return { child, lines, pid: lines()[0]?.pid ?? 0, ended: ended(child) }
}

function ended(child: ChildProcess): Promise<{ code: number | null; signal: string | null }> {
  return new Promise((resolve) => child.once('close', (code, signal) => resolve({ code, signal })))
}

describe('under an old Node', () => {
  test.each([0, 1, 7])('the program’s exit code %i is the launcher’s', (code) => {
    expect(runOld(['code', String(code)])).toEqual({ status: code, signal: null, stdout: '', stderr: '' })
  })

  test('the program runs on the pinned Node, with its arguments, and nothing says to its children that it was launched', () => {
    const { stdout } = runOld(['environment', '--flag', 'two words'])
    const argv = ['environment', '--flag', 'two words']
    expect(JSON.parse(stdout)).toEqual({ own: 'undefined', inherited: 'undefined', node: process.versions.node, argv })
  })

  test('standard input reaches the program', () => {
    expect(runOld(['echo'], { input: 'a line\n' }).stdout).toBe('a line\n')
  })

  test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)('%s from another process reaches the program once, and its code comes back', async (signal) => {
    const { child, lines, ended } = await startWaiting()
    child.kill(signal)
    expect(await ended).toEqual({ code: 5, signal: null })
    expect(lines().slice(1)).toEqual([{ signal }])
  })

  test('the launcher ends by the signal that ended the program', async () => {
    const { pid, ended } = await startWaiting()
    process.kill(pid, 'SIGKILL')
    expect(await ended).toEqual({ code: null, signal: 'SIGKILL' })
  })

  test('the program dies with a launcher that was killed', async () => {
    const { child, pid } = await startWaiting()
    child.kill('SIGKILL')
    await vi.waitFor(() => expect(() => process.kill(pid, 0)).toThrow('ESRCH'), { timeout: 5000 })
  })

  test('without a pinned Node one line says which version is needed', () => {
    const file = packageAt(join(folder, 'bare'), { source: PROGRAM })
    const stderr = 'convoke needs Node 24.16 or newer; this is Node 20.0.0\n'
    expect(runOld(['code', '0'], { file })).toEqual({ status: 1, signal: null, stdout: '', stderr })
  })

  test('a pinned Node that is old itself does not launch for ever', () => {
    const file = packageAt(join(folder, 'loop'), { source: PROGRAM })
    const bin = join(folder, 'loop/node_modules/.bin')
    put(join(bin, 'pretend.mjs'), `Object.defineProperty(process, 'versions', { value: { ...process.versions, node: '22.0.0' } })`)
    writeFileSync(join(bin, 'node'), `#!/bin/sh\nexec "${process.execPath}" --import "${join(bin, 'pretend.mjs')}" "$@"\n`, { mode: 0o755 })
    expect(runOld(['code', '0'], { file })).toMatchObject({ status: 1, stderr: 'convoke needs Node 24.16 or newer; this is Node 22.0.0\n' })
  })
})

test('Ctrl-C in a terminal reaches the program once', ({ skip }) => {
  skip(!existsSync('/usr/bin/script'), 'needs script(1) for a terminal')
  const quote = (word: string) => `'${word.replaceAll("'", `'\\''`)}'`
  const log = join(folder, 'terminal')
  // `exec`, for script(1) starts a shell, and one that stayed between would die of the key itself.
  const command = `exec ${[process.execPath, ...PRETEND_OLD, launcher, 'wait'].map(quote).join(' ')}`
  // The keys are typed once the program has said its pid.
  const keys = `(i=0; until grep -q pid ${quote(log)} 2>/dev/null || [ $i -ge 200 ]; do i=$((i+1)); sleep 0.05; done; printf '\\003'; sleep 2)`
  const typed = spawnSync('/bin/sh', ['-c', `${keys} | script -qefc ${quote(command)} ${quote(log)}`], {
    encoding: 'utf8',
    timeout: 15_000,
    env: { ...process.env, SHELL: '/bin/sh' },
  })
  const signals = readFileSync(log, 'utf8').match(/\{"signal":"\w+"\}/g)
  expect(signals).toEqual(['{"signal":"SIGINT"}'])
  expect(typed.status).toBe(5)
})

test('an installed package runs from its build, even with sources beside it', () => {
  const built = 'export const main = async () => 42\n'
  const file = packageAt(join(folder, 'node_modules/convoke'), { source: PROGRAM, built })
  expect(spawnSync(process.execPath, [file, 'code', '0']).status).toBe(42)
})

test('a stray CONVOKE_LAUNCHER_FD does not end the program', () => {
  const env = { ...process.env, CONVOKE_LAUNCHER_FD: '77' }
  expect(spawnSync(process.execPath, [launcher, 'code', '3'], { env }).status).toBe(3)
})

test('a real old Node gets as far as the version', ({ skip }) => {
  const old = oldNode()
  if (old === undefined) return skip('this machine has no Node older than 24.16 on its PATH')
  const version = (JSON.parse(readFileSync(join(repository, 'package.json'), 'utf8')) as { version: string }).version
  const { status, stdout } = spawnSync(old, [join(repository, 'bin/convoke.js'), '--version'], { encoding: 'utf8', timeout: 10_000 })
  expect({ status, stdout }).toEqual({ status: 0, stdout: `${version}\n` })
})

function oldNode(): string | undefined {
  const candidates = (process.env['PATH'] ?? '').split(delimiter).map((place) => join(place, 'node'))
  return candidates.filter(existsSync).find((file) => {
    const [major = 0, minor = 0] = spawnSync(file, ['-p', 'process.versions.node'], { encoding: 'utf8' }).stdout.split('.').map(Number)
    return major < 24 || (major === 24 && minor < 16)
  })
}
