#!/usr/bin/env node
/**
 * The door: runs the program on this Node, or, when this one is too old, on the pinned one beside the package.
 *
 * Old syntax on purpose (ES2020, no top-level await, no `node:` prefix): any Node that knows modules must get as far as the clear message.
 *
 * L1. The launched process never outlives its launcher: a pipe between them closes when the launcher dies, however it dies.
 * L2. Each signal reaches the program once, whether a person typed it or another process sent it.
 * L3. The launcher ends as the program ended: same exit code, or same signal.
 */
import { spawn } from 'child_process'
import { existsSync, readFileSync } from 'fs'
import module from 'module'
import { Socket } from 'net'
import { homedir } from 'os'
import { dirname, join, sep } from 'path'
import { fileURLToPath } from 'url'

const NEEDED_MAJOR = 24
const NEEDED_MINOR = 16
const LAUNCHER_FD = 3
const self = fileURLToPath(import.meta.url)
const root = join(dirname(self), '..')

if (isNewEnough(process.versions.node)) {
  run().catch((error) => {
    console.error(error)
    process.exitCode = 1
  })
} else {
  launch()
}

function isNewEnough(version) {
  const [major, minor] = version.split('.').map(Number)
  return major > NEEDED_MAJOR || (major === NEEDED_MAJOR && minor >= NEEDED_MINOR)
}

async function run() {
  watchLauncher()
  keepCompiledCode()
  // A checkout runs from source. An installed package runs from its build: Node refuses to strip types below node_modules.
  const fromSource = !root.split(sep).includes('node_modules') && existsSync(join(root, 'src', 'cli', 'main.ts'))
  const { main } = await import(fromSource ? '../src/cli/main.ts' : '../dist/cli/main.js')
  process.exitCode = await main(process.argv.slice(2))
}

/** Halves the time of a start, and spares the memory of a compiler when it runs from source. In the user's own folder: others could plant code in a shared one. */
function keepCompiledCode() {
  const base = process.env.XDG_CACHE_HOME || join(homedir(), '.cache')
  const folder = join(base, 'convoke', 'code')
  module.enableCompileCache(folder)
  // Worker threads look here.
  process.env.NODE_COMPILE_CACHE = folder
}

/** L1, the launched side. */
function watchLauncher() {
  const fd = process.env.CONVOKE_LAUNCHER_FD
  if (fd === undefined) return
  // What the program starts must not take itself for launched.
  delete process.env.CONVOKE_LAUNCHER_FD
  let pipe
  try {
    pipe = new Socket({ fd: Number(fd), readable: true, writable: false })
  } catch {
    // Nobody passed a pipe: a stray variable, so there is no launcher to watch.
    return
  }
  // A read through `fs` would hold a pool thread, and keep a finished command from exiting.
  pipe.unref()
  pipe.on('error', () => undefined) // 'close' follows, and tells.
  pipe.on('close', () => process.kill(process.pid, 'SIGKILL'))
  pipe.resume()
}

function launch() {
  const node = process.env.CONVOKE_LAUNCHER_FD === undefined ? pinnedNode() : undefined
  if (node === undefined) {
    console.error(`convoke needs Node ${NEEDED_MAJOR}.${NEEDED_MINOR} or newer; this is Node ${process.versions.node}`)
    process.exit(1)
  }
  const child = spawn(node, [self].concat(process.argv.slice(2)), {
    stdio: ['inherit', 'inherit', 'inherit', 'pipe'],
    env: Object.assign({}, process.env, { CONVOKE_LAUNCHER_FD: String(LAUNCHER_FD) }),
  })
  // The program's end closes the pipe too: that is not an error.
  child.stdio[LAUNCHER_FD].on('error', () => undefined)
  child.on('error', (error) => {
    console.error(`convoke could not start ${node}: ${error.message}`)
    process.exit(1)
  })
  const forwarded = forwardSignals(child)
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code)
    for (const name of forwarded) process.removeAllListeners(name)
    process.kill(process.pid, signal)
  })
}

/**
 * L2. A terminal sends Ctrl-C, and its hang-up, to the whole foreground process group: the child has those already, and a second one would
 * mean "stop at once". A signal from `kill` reaches the launcher alone. So what a terminal can have sent is not forwarded, all else is.
 */
function forwardSignals(child) {
  const startedInForeground = isForeground()
  const terminalSent = {
    SIGINT: isForeground,
    // By then the terminal is gone, so it counts what was at the start.
    SIGHUP: () => startedInForeground,
    // No key sends it. On Windows nothing can be forwarded: there `kill` always ends the child.
    SIGTERM: () => process.platform === 'win32',
  }
  const names = Object.keys(terminalSent)
  for (const name of names) {
    process.on(name, () => {
      if (!terminalSent[name]()) child.kill(name)
    })
  }
  return names
}

/** Whether a terminal's keys reach this process group. */
function isForeground() {
  if (process.platform === 'win32') return true
  try {
    // proc(5): after the name in parentheses come state, ppid, pgrp, session, tty_nr, tpgid.
    const stat = readFileSync('/proc/self/stat', 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return fields[2] === fields[5]
  } catch {
    // No /proc on this system: a terminal on any standard stream is the best hint.
    return [process.stdin, process.stdout, process.stderr].some((stream) => stream.isTTY === true)
  }
}

/** The Node of the lock file: beside the checkout, or hoisted beside the installed package. */
function pinnedNode() {
  const windows = process.platform === 'win32'
  const name = `node-${windows ? 'win' : process.platform}-${process.arch}`
  const file = windows ? 'node.exe' : 'node'
  for (const modules of [join(root, 'node_modules'), join(root, '..')]) {
    for (const path of [join(modules, name, 'bin', file), join(modules, '.bin', file)]) {
      if (existsSync(path)) return path
    }
  }
  return undefined
}
