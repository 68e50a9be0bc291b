/** The server's side of a guarded command. */
import { spawn, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Readable, Writable } from 'node:stream'
import type { ToolIntent } from '../../domain/tool.ts'
import { startTicks } from './group.ts'

/** How a command ended. */
export interface CommandEnd {
  readonly code: number | null
  readonly signal: string | null
  readonly error?: string
}

/** A guardian that waits, then its command. */
export interface GuardedProcess {
  readonly intent: ToolIntent
  readonly output: { readonly stdout: Readable; readonly stderr: Readable }
  /** Starts the command; once. Resolves when its main process has ended. */
  run(command: string, cwd: string): Promise<CommandEnd>
  /** Kills the group, with whatever the command left behind. Repeatable. */
  kill(): void
}

/** Starts a guardian with nothing but `env` as its environment. */
export function startGuardian(env: Readonly<Record<string, string>>, cwd: string): Promise<GuardedProcess> {
  // From source the program is .ts, from the build .js: the same as this file's.
  const program = fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? './main.ts' : './main.js', import.meta.url))
  const child = spawn(process.execPath, ['--no-warnings', program], { detached: true, stdio: ['pipe', 'pipe', 'pipe', 'pipe'], env, cwd })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('spawn', () => resolve(guarded(child)))
  })
}

function guarded(child: ChildProcess): GuardedProcess {
  const pid = child.pid ?? 0
  const control = child.stdin as Writable
  const report = child.stdio[3] as Readable
  // The other end may vanish at any time: its exit tells.
  control.on('error', () => undefined)
  const kill = () => {
    try {
      if (pid > 0) process.kill(-pid, 'SIGKILL')
    } catch {
      // The group is gone already.
    }
  }
  return {
    intent: { groupId: pid, startTicks: startTicks(pid) },
    output: { stdout: child.stdout as Readable, stderr: child.stderr as Readable },
    run: (command, cwd) =>
      new Promise((resolve) => {
        let text = ''
        report.on('data', (chunk: Buffer) => (text += chunk.toString('utf8')))
        report.on('close', () => resolve(parseEnd(text)))
        report.on('error', () => resolve(parseEnd(text)))
        control.write(`${JSON.stringify({ command, cwd })}\n`)
      }),
    kill,
  }
}

function parseEnd(text: string): CommandEnd {
  // No report: the guardian was killed with its group.
  if (text === '') return { code: null, signal: 'SIGKILL' }
  return JSON.parse(text) as CommandEnd
}
