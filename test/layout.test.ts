/** The house rules hold in our sources, and the check sees each kind of breach. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'
import { checkLayout } from '../scripts/layout.ts'

test('our sources keep the house rules', () => {
  expect(checkLayout(fileURLToPath(new URL('../src', import.meta.url)))).toEqual([])
})

const SOUND = {
  'domain/ids.ts': `import { z } from 'zod'\nexport type Id = string\nexport const anyId = z.string()\n`,
  'log/store.ts': `import type { Id } from '../domain/ids.ts'\nexport const first = (id: Id) => id\n`,
  'system/clock.ts': `import { readFileSync } from 'node:fs'\nexport const nowMs = () => Date.now() + readFileSync('/dev/null').length\n`,
  'storage/sqlite/store.ts': `import { existsSync } from 'node:fs'\nexport { first } from '../../log/store.ts'\nexport const there = existsSync\n`,
  'storage/sqlite/store.test.ts': `import '../../testing/kit.ts'\nsetTimeout(() => Date.now(), 1)\n`,
  'testing/kit.ts': `export const kit = new Date(0)\n`,
  'dialect/v1/routes.ts': `export const at = (ms: number) => new Date(ms)\n`,
  'dialect/v1/routes.test.ts': `import { at } from './routes.ts'\nat(0)\n`,
  'server.ts': `import './storage/sqlite/store.ts'\nimport './dialect/v1/routes.ts'\nimport './system/clock.ts'\n`,
}

function check(planted: Readonly<Record<string, string>>): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'convoke-layout-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  for (const [path, text] of Object.entries({ ...SOUND, ...planted })) {
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), text)
  }
  return checkLayout(folder)
}

test('a sound tree has no breach', () => {
  expect(check({})).toEqual([])
})

test.each([
  ['a forbidden import', 'log/a.ts', `import { there } from '../storage/sqlite/store.ts'`, 'log may not import storage: storage/sqlite/store.ts'],
  ['a forbidden type import', 'domain/a.ts', `import type { first } from '../log/store.ts'`, 'domain may not import log: log/store.ts'],
  ['a forbidden re-export', 'model/a.ts', `export * from '../log/store.ts'`, 'model may not import log: log/store.ts'],
  ['a forbidden import at a call', 'tool/a.ts', `export const late = () => import('../log/store.ts')`, 'tool may not import log: log/store.ts'],
  ['a forbidden type at its use', 'tool/a.ts', `export type S = typeof import('../log/store.ts').first`, 'tool may not import log: log/store.ts'],
  ['the machine outside the assembly', 'runtime/a.ts', `import '../system/clock.ts'`, 'runtime may not import system: system/clock.ts'],
  ['a test kit in shipped code', 'server.ts', `import './testing/kit.ts'`, 'server may not import testing: testing/kit.ts'],
  ['a folder without a row', 'utils/a.ts', ``, 'utils has no row in the import table'],
  ['a dialect that knows another', 'dialect/other/a.ts', `import '../v1/routes.ts'`, 'siblings do not meet: dialect/v1/routes.ts'],
  ['an engine that knows another', 'storage/memory/a.ts', `import '../sqlite/store.ts'`, 'siblings do not meet: storage/sqlite/store.ts'],
  ['Node in a pure folder', 'projection/a.ts', `import { sep } from 'node:path'`, 'projection may not use node:path'],
  ['Node without its prefix', 'client/a.ts', `import { sep } from 'path'`, 'client may not use path'],
  ['a Node global in a pure folder', 'domain/a.ts', `export const home = () => process.env.HOME`, 'domain may not use process'],
  ['a package in a pure folder', 'domain/a.ts', `import { Hono } from 'hono'`, 'domain may not use hono'],
  ['the clock', 'runtime/a.ts', `export const a = Date.now()`, 'Date.now is behind a port here (clock)'],
  ['the clock as a value', 'runtime/a.ts', `export const nowMs = Date.now`, 'Date.now is behind a port here (clock)'],
  ['the clock as a date', 'runtime/a.ts', `export const a = new Date()`, 'Date is behind a port here (clock)'],
  ['chance', 'agent/a.ts', `export const a = Math.random()`, 'Math.random is behind a port here (random)'],
  ['a random id', 'http/a.ts', `export const a = crypto.randomUUID()`, 'crypto.randomUUID is behind a port here (random)'],
  ['an imported random id', 'http/a.ts', `import { randomUUIDv7 } from 'node:crypto'\nrandomUUIDv7()`, 'randomUUIDv7 is behind a port here (random)'],
  ['a timer', 'stream/a.ts', `setTimeout(() => undefined, 1)`, 'setTimeout is behind a port here (timers)'],
  ['a global timer', 'stream/a.ts', `globalThis.setInterval(() => undefined, 1)`, 'globalThis.setInterval is behind a port here (timers)'],
  ['a turn of the loop', 'stream/a.ts', `setImmediate(() => undefined)`, 'setImmediate is behind a port here (timers)'],
  ['a timed signal', 'command/a.ts', `AbortSignal.timeout(1)`, 'AbortSignal.timeout is behind a port here (timers)'],
  ['the network', 'agent/a.ts', `await fetch('http://x')`, 'fetch is behind a port here (network)'],
  ['a process', 'agent/a.ts', `import { spawn } from 'node:child_process'`, 'node:child_process is behind a port here (processes)'],
  ['files', 'command/a.ts', `import { open } from 'node:fs/promises'`, 'node:fs/promises is behind a port here (files)'],
])('the check sees %s', (_what, path, text, breach) => {
  expect(check({ [path]: `${text}\n` })).toEqual([`${path}: ${breach}`])
})

test('the check sees an import cycle, of types too', () => {
  const planted = {
    'model/a.ts': `import type { B } from './b.ts'\nexport type A = B\n`,
    'model/b.ts': `import { c } from './c.ts'\nexport type B = typeof c\n`,
    'model/c.ts': `import type { A } from './a.ts'\nexport const c = 1 as unknown as A\n`,
  }
  expect(check(planted)).toEqual(['import cycle: model/a.ts -> model/b.ts -> model/c.ts -> model/a.ts'])
})
