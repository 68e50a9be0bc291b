/** Servers under measurement, each a process of its own on 127.0.0.1. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Clock ticks per second of `/proc/PID/stat` on Linux. */
const TICKS_PER_SECOND = 100

/** A server process. */
export interface Measured {
  readonly url: string
  readonly pid: number
  /** From the start of the process to the line that says where it listens, in ms. */
  readonly startMs: number
  /** CPU that it has used, in ms. */
  cpuMs(): number
  /** Resident memory, in bytes. */
  rss(): number
  /** Stops it by signal and removes its data. */
  stop(): Promise<void>
}

/** Starts Convoke with a configuration, on a free port. */
export async function startConvoke(config: object = {}, data?: string): Promise<Measured> {
  const folder = data ?? mkdtempSync(join(tmpdir(), 'convoke-bench-'))
  const file = join(folder, 'convoke.config.json')
  writeFileSync(file, JSON.stringify(config))
  const bin = fileURLToPath(new URL('../../bin/convoke.js', import.meta.url))
  return start([bin, 'serve', '--port', '0', '--data', folder, '--config', file], () => rmSync(folder, { recursive: true, force: true }))
}

/** Starts a floor: a file of `bench/floor/` that prints where it listens. */
export function startFloor(name: string, args: readonly string[] = []): Promise<Measured> {
  return start([fileURLToPath(new URL(`../floor/${name}.ts`, import.meta.url)), ...args], () => undefined)
}

/** Starts the scripted model. */
export function startProvider(tokens: number): Promise<Measured> {
  return start([fileURLToPath(new URL('./provider.ts', import.meta.url)), String(tokens)], () => undefined)
}

async function start(args: readonly string[], cleanUp: () => void): Promise<Measured> {
  const before = performance.now()
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] })
  const url = await listening(child)
  const pid = child.pid as number
  return {
    url,
    pid,
    startMs: performance.now() - before,
    cpuMs: () => cpuMs(pid),
    rss: () => Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024,
    async stop() {
      const exited = once(child, 'exit')
      child.kill('SIGTERM')
      await exited
      cleanUp()
    },
  }
}

function listening(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString()
      const url = /http:\/\/\S+/.exec(text)?.[0]
      if (url !== undefined) resolve(url)
    })
    child.once('exit', (code) => reject(new Error(`a server ended with ${code} before it listened: ${text}`)))
  })
}

function cpuMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return ((Number(fields[11]) + Number(fields[12])) * 1000) / TICKS_PER_SECOND
}
