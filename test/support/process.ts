/** The real command line, as child processes in a world of their own: no child outlives its test, and none waits for ever. */
import { arrivals } from './arrivals.ts'
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { onTestFinished } from 'vitest'
import type { ConfigInput } from '../../src/config-schema.ts'

const ENTRY = fileURLToPath(new URL('../../bin/convoke.js', import.meta.url))
/** Worlds share their compiled code: starting from none costs each process twice the time. */
const CACHE = fileURLToPath(new URL('../../node_modules/.cache', import.meta.url))
/** After how many ms a child is killed, so that a test fails by what it did not say. */
const CHILD_MS = 50_000

/** How a program ended, and what it said. */
export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

/** A program that runs. */
export interface Program {
  readonly pid: number
  readonly stdout: string
  readonly stderr: string
  readonly ended: Promise<Ended>
  /** Resolves when the program has written text that matches, on either stream; rejects when it ends without. */
  shown(pattern: RegExp): Promise<RegExpExecArray>
  write(text: string): void
  /** Ends its input. */
  close(): void
  /** Stops reading what it says, as `| head` does. */
  closeOutput(): void
  kill(signal: NodeJS.Signals): Promise<Ended>
  /** Sends a signal that does not end it. */
  signal(signal: NodeJS.Signals): void
}

/** A server in a process of its own. */
export interface ServerProcess extends Program {
  readonly url: string
  readonly port: number
}

/** A machine in small: home, working folder, data folder, configuration. */
export interface World {
  readonly folder: string
  readonly data: string
  readonly cwd: string
  /** Starts `convoke ARGS`. */
  start(args: readonly string[], options?: StartOptions): Program
  /** Runs `convoke ARGS` to its end; its input is `options.input`, or empty. */
  run(args: readonly string[], options?: StartOptions): Promise<Ended>
  /** Starts a server on this world's data folder. */
  serve(options?: StartOptions & { readonly port?: number; readonly args?: readonly string[] }): Promise<ServerProcess>
  /** Starts `convoke ARGS` in a terminal. */
  terminal(args: readonly string[], options?: StartOptions): Program
}

/** How to start. */
export interface StartOptions {
  readonly env?: Readonly<Record<string, string>>
  readonly input?: string
}

/** A world; it is gone when the test has finished. */
export function newWorld(config: ConfigInput = {}): World {
  const folder = mkdtempSync(join(tmpdir(), 'convoke-world-'))
  const cwd = join(folder, 'work')
  const data = join(folder, 'data')
  mkdirSync(cwd)
  const values = { ...config, models: { demoPaceMs: 0, discover: false, ...config.models } }
  writeFileSync(join(cwd, 'convoke.config.json'), JSON.stringify(values))
  const children = new Set<ChildProcess>()
  onTestFinished(async () => {
    await Promise.all([...children].map(dead))
    rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  })
  const launch = (command: string, args: readonly string[], options: StartOptions = {}) => {
    const env = { PATH: process.env['PATH'] ?? '', HOME: join(folder, 'home'), XDG_CACHE_HOME: CACHE, TERM: 'xterm', CONVOKE_DATA: data, ...options.env }
    const child = spawn(command, args, { cwd, env, stdio: 'pipe' })
    children.add(child)
    const program = follow(child)
    void program.ended.then(() => children.delete(child))
    if (options.input !== undefined) child.stdin.end(options.input)
    return program
  }
  const start: World['start'] = (args, options) => launch(process.execPath, [ENTRY, ...args], options)
  return {
    folder,
    data,
    cwd,
    start,
    run: (args, options) => start(args, { input: '', ...options }).ended,
    async serve({ port = 0, args = [], ...options } = {}) {
      const program = start(['serve', '--json', '--port', String(port), ...args], options)
      const [line] = await program.shown(/^\{"listening".*\}$/m)
      const { listening: url } = JSON.parse(line) as { listening: string }
      return Object.assign(program, { url, port: Number(new URL(url).port) })
    },
    terminal(args, options) {
      const words = [process.execPath, ENTRY, ...args].map((word) => `'${word.replaceAll("'", `'\\''`)}'`)
      return launch('script', ['-qefc', words.join(' '), '/dev/null'], options)
    },
  }
}

function follow(child: ChildProcess): Program {
  const text = { stdout: '', stderr: '' }
  const { wake: changed, next } = arrivals()
  let done = false
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (chunk: string) => {
      text[name] += chunk
      changed()
    })
  }
  // The program may end before it has read its input.
  child.stdin?.on('error', () => undefined)
  const tooLong = setTimeout(() => child.kill('SIGKILL'), CHILD_MS)
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => {
      clearTimeout(tooLong)
      done = true
      changed()
      resolve({ code, signal, ...text })
    })
  })
  return {
    pid: child.pid ?? 0,
    get stdout() {
      return text.stdout
    },
    get stderr() {
      return text.stderr
    },
    ended,
    async shown(pattern) {
      for (;;) {
        const found = pattern.exec(text.stdout) ?? pattern.exec(text.stderr)
        if (found !== null) return found
        if (done) throw new Error(`the program ended without ${String(pattern)}:\n${text.stdout}\n${text.stderr}`)
        await next()
      }
    },
    write: (words) => void child.stdin?.write(words),
    closeOutput: () => void child.stdout?.destroy(),
    close: () => void child.stdin?.end(),
    signal: (name) => void child.kill(name),
    async kill(signal) {
      child.kill(signal)
      return ended
    },
  }
}

async function dead(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  await new Promise((resolve) => {
    child.once('close', resolve)
    child.kill('SIGKILL')
  })
}
