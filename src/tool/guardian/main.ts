/**
 * The guardian: a small process that stands between the server and a command.
 *
 * It leads a process group of its own and holds a pipe to the server (its standard input). When that pipe closes, however the
 * server went, it kills the whole group, itself included. One line on the pipe starts the command.
 */
import { spawn } from 'node:child_process'
import { closeSync, writeSync } from 'node:fs'
import { GROUP_VARIABLE, markOf, startTicks } from './group.ts'

/** Where the end of the command is reported. */
const REPORT_FD = 3

let line = ''
let started = false

process.stdin.on('data', (chunk: Buffer) => {
  line += chunk.toString('utf8')
  if (started || !line.includes('\n')) return
  started = true
  run(JSON.parse(line.slice(0, line.indexOf('\n'))) as { command: string; cwd: string })
})
process.stdin.on('end', killGroup)
process.stdin.on('close', killGroup)
process.stdin.on('error', killGroup)

function run({ command, cwd }: { command: string; cwd: string }): void {
  // The group is found by this mark should the guardian die before it.
  const mark = markOf({ groupId: process.pid, startTicks: startTicks(process.pid) })
  const child = spawn('bash', ['-c', command], { cwd, stdio: ['ignore', 1, 2], env: { ...process.env, [GROUP_VARIABLE]: mark } })
  child.on('error', (error) => report({ error: error.message }))
  child.on('exit', (code, signal) => report({ code, signal }))
}

function report(end: object): void {
  writeSync(REPORT_FD, `${JSON.stringify(end)}\n`)
  closeSync(REPORT_FD)
}

function killGroup(): void {
  process.kill(-process.pid, 'SIGKILL')
}
