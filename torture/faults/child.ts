/** Real servers in processes of their own, which may refuse to start. */
import { spawn, type ChildProcess } from 'node:child_process'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ConfigInput } from '../../src/config-schema.ts'

const BIN = fileURLToPath(new URL('../../bin/convoke.js', import.meta.url))
/** Compiled code is shared: starting from none costs each process twice the time. */
const CACHE = fileURLToPath(new URL('../../node_modules/.cache', import.meta.url))
/** How long a start may take, in ms. */
const START_MS = 30_000

/** How a process ended. */
export interface End {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** A server that listens, or has. */
export interface Child {
  readonly url: string
  readonly pid: number
  readonly ended: Promise<End>
  /** What it wrote to standard error so far. */
  readonly said: string
  readonly alive: boolean
  kill(signal: NodeJS.Signals): Promise<End>
}

/** What came of a start. */
export type Start = { readonly kind: 'listening'; readonly child: Child } | { readonly kind: 'refused'; readonly end: End; readonly said: string }

/** How to start. */
export interface ChildOptions {
  readonly data: string
  readonly config?: ConfigInput
  readonly env?: Readonly<Record<string, string>>
  /** Run as this user and group. */
  readonly uid?: number
  /** Largest file that it may write, in blocks of 512 bytes. */
  readonly fileBlocksMax?: number
}

/** Starts a server on a free port. Resolves when it listens or has ended; kills one that does neither in time. */
export async function startChild(options: ChildOptions): Promise<Start> {
  const home = mkdtempSync(join(tmpdir(), 'convoke-torture-home-'))
  // Another user must be able to read it.
  chmodSync(home, 0o755)
  const file = join(home, 'convoke.config.json')
  writeFileSync(
    file,
    JSON.stringify({ log: 'error', shutdownMs: 1000, ...options.config, models: { discover: false, demoPaceMs: 0, ...options.config?.models } }),
    { mode: 0o644 },
  )
  const args = [process.execPath, BIN, 'serve', '--json', '--port', '0', '--data', options.data, '--config', file]
  const [command = '', ...rest] = options.fileBlocksMax === undefined ? args : ['sh', '-c', `ulimit -f ${options.fileBlocksMax}; exec "$@"`, 'sh', ...args]
  const child = spawn(command, rest, {
    cwd: '/',
    env: { PATH: process.env['PATH'] ?? '', HOME: home, XDG_CACHE_HOME: CACHE, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(options.uid === undefined ? {} : { uid: options.uid, gid: options.uid }),
  })
  const said = { text: '' }
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => (said.text = `${said.text}${chunk}`.slice(-50_000)))
  const ended = endOf(child).finally(() => rmSync(home, { recursive: true, force: true }))
  const late = setTimeout(() => child.kill('SIGKILL'), START_MS)
  const url = await Promise.race([listening(child), ended.then(() => undefined)])
  clearTimeout(late)
  if (url === undefined) return { kind: 'refused', end: await ended, said: said.text }
  return {
    kind: 'listening',
    child: {
      url,
      pid: child.pid ?? 0,
      ended,
      get said() {
        return said.text
      },
      get alive() {
        return child.exitCode === null && child.signalCode === null
      },
      async kill(signal) {
        child.kill(signal)
        const hard = setTimeout(() => child.kill('SIGKILL'), START_MS)
        const end = await ended
        clearTimeout(hard)
        return end
      },
    },
  }
}

/** Starts a server that must listen. @throws {Error} with what it said, where it does not */
export async function startedChild(options: ChildOptions): Promise<Child> {
  const start = await startChild(options)
  if (start.kind === 'refused') throw new Error(`the server did not start: ${JSON.stringify(start.end)} ${start.said}`)
  return start.child
}

function endOf(child: ChildProcess): Promise<End> {
  return new Promise((resolve) => {
    child.once('error', () => resolve({ code: null, signal: null }))
    child.once('close', (code, signal) => resolve({ code, signal }))
  })
}

function listening(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    let text = ''
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk
      const url = /"listening":"([^"]+)"/.exec(text)?.[1]
      if (url !== undefined) resolve(url)
    })
  })
}

/** What is wrong with a refusal: it must be one line for a person, with a code for a machine, and nothing of our insides. */
export function wrongInRefusal({ end, said }: Extract<Start, { kind: 'refused' }>): string | undefined {
  if (end.code !== 1) return `it ended with ${JSON.stringify(end)}: ${said.slice(0, 300)}`
  return /^convoke: [^\n]+ \[store_\w+\]\n$/.test(said) ? undefined : `it said ${JSON.stringify(said.slice(0, 400))}`
}

/** Open handles of a process. */
export function handlesOf(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length
}

/** Resident memory of a process, in bytes. */
export function memoryOf(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024
}
