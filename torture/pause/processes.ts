/** The processes of the pause part, and how their writes are told apart. */
import { spawn } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Recorded } from '../../src/domain/event.ts'
import { eventually } from '../support/wait.ts'

/** How long a process may take to start or to end, in ms. */
const PATIENCE_MS = 20_000

/** One process that drives runs. */
export interface DriverProcess {
  readonly name: string
  readonly driver: number
  /** Runs that it had to let go of. */
  readonly left: number
  /** Has it start a run in `session`. */
  speak(session: string): void
  signal(name: 'SIGSTOP' | 'SIGCONT'): void
  /** Ends it in good order, or by force. */
  end(): Promise<void>
}

/** Starts a process on the log in `folder`. */
export async function startProcess(folder: string, name: string, ledger: string): Promise<DriverProcess> {
  const child = spawn(process.execPath, [fileURLToPath(new URL('./driver.ts', import.meta.url)), folder, name, ledger], { stdio: ['pipe', 'pipe', 'inherit'] })
  let driver: number | undefined
  let left = 0
  createInterface({ input: child.stdout }).on('line', (line) => {
    const said = JSON.parse(line) as { readonly driver?: number; readonly why?: string }
    if (said.driver !== undefined) driver = said.driver
    if (said.why?.includes('another driver has this run') === true) left++
  })
  try {
    await eventually(PATIENCE_MS, `process ${name}`, () => driver)
  } catch (error) {
    child.kill('SIGKILL')
    throw error
  }
  return {
    name,
    driver: driver ?? 0,
    get left() {
      return left
    },
    speak: (session) => void child.stdin.write(`${session}\n`),
    signal: (signal) => void child.kill(signal),
    async end() {
      child.kill('SIGCONT')
      child.stdin.end()
      const ended = () => child.exitCode ?? child.signalCode ?? undefined
      await eventually(PATIENCE_MS, 'an exit', ended).catch(() => child.kill('SIGKILL'))
    },
  }
}

/** Positions of tokens that were written by another driver than the one that held the run then. Each token begins with its driver's number. */
export function lateWrites(log: readonly Recorded[]): readonly number[] {
  let holder = 0
  return log.flatMap(({ event, position }) => {
    if (event.type === 'RunStarted' || event.type === 'RunClaimed') holder = event.driver
    return event.type === 'TextDelta' && Number.parseInt(event.delta, 10) !== holder ? [position] : []
  })
}
