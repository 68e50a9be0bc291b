/** Runs every example, one after the other: `run.sh` when it has one, else `index.ts`. Fails when one does, or takes too long. */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const EXAMPLE_MS = 120_000
const folder = fileURLToPath(new URL('../examples', import.meta.url))
const names = existsSync(folder) ? readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory()) : []
const failed: string[] = []
for (const { name } of names) {
  const cwd = join(folder, name)
  const command = existsSync(join(cwd, 'run.sh')) ? ['bash', 'run.sh'] : existsSync(join(cwd, 'index.ts')) ? [process.execPath, 'index.ts'] : []
  const [program = '', ...args] = command
  console.log(`-- examples/${name}`)
  // An example that runs nothing proves nothing.
  if (program === '' || spawnSync(program, args, { cwd, stdio: ['ignore', 'inherit', 'inherit'], timeout: EXAMPLE_MS }).status !== 0) failed.push(name)
}
console.log(`${names.length - failed.length} examples passed, ${failed.length} failed${failed.length === 0 ? '' : `: ${failed.join(', ')}`}`)
process.exitCode = failed.length === 0 ? 0 : 1
