/**
 * A machine in small for one part: a folder with home, configuration, data and ledger, and server processes on that data.
 *
 * Everything that is started carries the world's `HOME`, which is how it is found again, and is killed when the world closes.
 */
import { spawn, type ChildProcess } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ConfigInput } from '../../src/config-schema.ts'
import { processesWith, type LivingProcess } from './processes.ts'
import { elapsed } from './wait.ts'

const BIN = fileURLToPath(new URL('../../bin/convoke.js', import.meta.url))
/** Compiled code is shared by all worlds: starting from none costs each process twice the time. */
const CACHE = fileURLToPath(new URL('../../node_modules/.cache', import.meta.url))
/** Whoever ends the harness by these ends what it started too. */
const INTERRUPTS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
/** How long a start may take, in ms. */
const START_MS = 60_000
/** Characters kept of what a process says. */
const SAID_CHARS_MAX = 20_000
/** How often a start is tried whose port somebody took meanwhile. */
const PORT_TRIES_MAX = 3

/** How a process ended. */
export interface ProcessEnd {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** A server process, started but perhaps not listening yet. */
export interface ServerChild {
  readonly pid: number
  /** Resolves with the url; rejects when the process ends before, or says nothing in time. */
  readonly listening: Promise<string>
  readonly ended: Promise<ProcessEnd>
  /** The last of what it wrote to standard error. */
  readonly said: string
  signal(name: NodeJS.Signals): void
  /** Sends a signal that ends it, and waits for the end. */
  kill(name: NodeJS.Signals): Promise<ProcessEnd>
}

/** The world. */
export interface World {
  readonly folder: string
  /** The working folder of sessions. */
  readonly workspace: string
  /** A file outside of the server's data that tools write to. */
  readonly ledger: string
  /** Where the server is, or was last. */
  readonly url: string
  /** Starts a server on the world's data, on the port of the one before. */
  spawn(): ServerChild
  /** Starts a server that listens. @throws {Error} with what it said, where it does not start */
  start(): Promise<ServerChild>
  /** Has `fn` called when the world closes. */
  atClose(fn: () => void): void
  /** What lives of this world, `except` for those pids. */
  living(...except: readonly number[]): readonly LivingProcess[]
  /** Keeps the folder when the world closes, to be looked into. */
  keep(): void
  /** Kills what lives and removes the folder. */
  close(): Promise<void>
}

/** Makes a world. `config` goes into its configuration file. */
export function createWorld(name: string, config: (world: { readonly folder: string }) => ConfigInput): World {
  const folder = mkdtempSync(join(tmpdir(), `convoke-torture-${name}-`))
  const [home, workspace, ledger] = [join(folder, 'home'), join(folder, 'work'), join(folder, 'ledger')]
  mkdirSync(home)
  mkdirSync(workspace)
  writeFileSync(ledger, '')
  const file = join(folder, 'convoke.config.json')
  writeFileSync(file, JSON.stringify(config({ folder })))
  const marker = `HOME=${home}`
  const env = {
    PATH: process.env['PATH'] ?? '',
    HOME: home,
    XDG_CACHE_HOME: CACHE,
    CONVOKE_DATA: join(folder, 'data'),
    CONVOKE_CONFIG: file,
    TORTURE_LEDGER: ledger,
  }
  const closing: (() => void)[] = []
  let kept = false
  let url = ''
  let port = 0
  const world: World = {
    folder,
    workspace,
    ledger,
    get url() {
      return url
    },
    spawn() {
      const child = follow(
        spawn(process.execPath, [BIN, 'serve', '--json', '--port', String(port)], { cwd: workspace, env, stdio: ['ignore', 'pipe', 'pipe'] }),
      )
      child.listening.then(
        (found) => {
          url = found
          port = Number(new URL(found).port)
        },
        () => undefined,
      )
      return child
    },
    async start() {
      for (let tries = 1; ; tries++) {
        const child = world.spawn()
        try {
          await child.listening
          return child
        } catch (error) {
          await child.kill('SIGKILL')
          if (tries >= PORT_TRIES_MAX || !child.said.includes('is taken')) throw error
          port = 0
        }
      }
    },
    living: (...except) => processesWith(marker).filter(({ pid }) => !except.includes(pid)),
    keep: () => void (kept = true),
    atClose: (fn) => void closing.push(fn),
    async close() {
      for (const name of INTERRUPTS) process.off(name, interrupted)
      for (const end of closing) end()
      await killAll(() => world.living())
      if (!kept) rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
    },
  }
  const interrupted = () => void world.close().finally(() => process.exit(130))
  for (const name of INTERRUPTS) process.once(name, interrupted)
  return world
}

/** Stops a world's last server, and says what is wrong with its end: its code, or what it left. */
export async function endServer(world: World, server: ServerChild): Promise<readonly string[]> {
  const { code, signal } = await server.kill('SIGTERM')
  return [
    ...(code === 0 ? [] : [`P14: the server ended with ${code ?? signal} after SIGTERM: ${server.said}`]),
    ...world.living().map(({ pid, group, command }) => `P5: process ${pid} of group ${group} is left: ${command}`),
  ]
}

/** Kills until nothing is left: what is killed may just have started something. */
async function killAll(living: () => readonly LivingProcess[]): Promise<void> {
  for (let found = living(), tries = 0; found.length > 0 && tries < 100; found = living(), tries++) {
    for (const { pid } of found) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // It went by itself.
      }
    }
    await elapsed(20)
  }
}

function follow(child: ChildProcess): ServerChild {
  let said = ''
  let out = ''
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => (said = `${said}${chunk}`.slice(-SAID_CHARS_MAX)))
  const ended = new Promise<ProcessEnd>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code, signal) => resolve({ code, signal }))
  })
  const listening = new Promise<string>((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`a server did not listen within ${START_MS} ms: ${said}`)), START_MS)
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      out += chunk
      const line = /^\{"listening".*\}$/m.exec(out)
      if (line !== null) resolve((JSON.parse(line[0]) as { listening: string }).listening)
    })
    ended.then(
      ({ code, signal }) => reject(new Error(`a server ended (${code ?? signal}) before it listened: ${said}`)),
      (error: Error) => reject(error),
    )
    void ended.finally(() => clearTimeout(late)).catch(() => undefined)
    child.stdout?.once('data', () => clearTimeout(late))
  })
  // Whoever kills it while it starts does not wait for it to listen.
  listening.catch(() => undefined)
  return {
    pid: child.pid ?? 0,
    listening,
    ended,
    get said() {
      return said
    },
    signal: (name) => void child.kill(name),
    async kill(name) {
      child.kill(name)
      return ended
    },
  }
}
