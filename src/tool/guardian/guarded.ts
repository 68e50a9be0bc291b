/** The server's side of a guarded command. */
import { spawn, type ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import type { Readable, Writable } from 'node:stream'
import type { ToolIntent } from '../../domain/tool.ts'

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

/** Start time of a process in clock ticks since boot (proc(5), field 22 of stat); 0 where it cannot be read. */
export function startTicks(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The second field may hold spaces and brackets; the fields after it begin behind the last bracket.
    return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? 0)
  } catch {
    // No such process, or a system without /proc.
    return 0
  }
}

/** Kills the group that `intent` names, if its leader is still the same process. Answers whether it did. */
export function killGroup(intent: ToolIntent): boolean {
  if (intent.groupId <= 1 || intent.startTicks === 0 || startTicks(intent.groupId) !== intent.startTicks) return false
  try {
    process.kill(-intent.groupId, 'SIGKILL')
    return true
  } catch {
    // It went between the look and the signal.
    return false
  }
}
