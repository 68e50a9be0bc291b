#!/usr/bin/env node
// Runs on any Node that knows modules: an older one than we need launches the pinned one, or says what it needs.
import { spawn } from 'node:child_process'
import { createReadStream, existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

const NEEDED = [24, 16]
const LAUNCHER_FD = 3
const root = join(dirname(fileURLToPath(import.meta.url)), '..')

const [major, minor] = process.versions.node.split('.').map(Number)
if (major > NEEDED[0] || (major === NEEDED[0] && minor >= NEEDED[1])) await run()
else launch()

async function run() {
  watchLauncher()
  // A checkout runs from source; an installed package, where type stripping is refused, from its build.
  const source = join(root, 'src', 'cli', 'main.ts')
  const { main } = await import(existsSync(source) ? '../src/cli/main.ts' : '../dist/cli/main.js')
  process.exitCode = await main(process.argv.slice(2))
}

// A server must not outlive a launcher that was killed: the pipe between them closes, and it follows.
function watchLauncher() {
  if (process.env.CONVOKE_LAUNCHED !== '1') return
  delete process.env.CONVOKE_LAUNCHED
  const pipe = createReadStream('', { fd: LAUNCHER_FD })
  pipe.on('close', () => process.kill(process.pid, 'SIGKILL'))
  pipe.on('error', () => undefined)
  pipe.resume()
}

function launch() {
  const node = pinnedNode()
  if (node === undefined) {
    console.error(`convoke needs Node ${NEEDED.join('.')} or newer; this is ${process.versions.node}`)
    process.exit(1)
  }
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
    stdio: ['inherit', 'inherit', 'inherit', 'pipe'],
    env: { ...process.env, CONVOKE_LAUNCHED: '1' },
  })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    // A terminal sends Ctrl-C to the whole group, so the child has it already; a second one would mean "at once".
    process.on(signal, () => (signal === 'SIGINT' && process.stdin.isTTY ? undefined : child.kill(signal)))
  }
  child.on('error', (error) => {
    console.error(`convoke could not start ${node}: ${error.message}`)
    process.exit(1)
  })
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code ?? 1)
    for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.removeAllListeners(name)
    process.kill(process.pid, signal)
  })
}

function pinnedNode() {
  const name = { linux: 'node-linux', win32: 'node-win' }[process.platform]
  const places = [join(root, 'node_modules'), join(root, '..')]
  const files = places.map((place) => join(place, `${name}-${process.arch}`, 'bin', process.platform === 'win32' ? 'node.exe' : 'node'))
  return files.find((file) => existsSync(file))
}
