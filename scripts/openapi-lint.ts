/** Lints the API description that a running server gives. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Server } from '../src/server.ts'

const folder = mkdtempSync(join(tmpdir(), 'convoke-openapi-'))
try {
  const server = new Server({ port: 0, data: join(folder, 'data') })
  await server.start()
  const response = await fetch(`${server.url}/v1/openapi.json`)
  const text = await response.text()
  await server.stop()
  if (!response.ok) throw new Error(`the server answered ${response.status}: ${text}`)
  writeFileSync(join(folder, 'openapi.json'), text)
  const linter = fileURLToPath(import.meta.resolve('@redocly/cli/bin/cli.js'))
  const env = { ...process.env, REDOCLY_TELEMETRY: 'off', REDOCLY_SUPPRESS_UPDATE_NOTICE: 'true' }
  const { status } = spawnSync(process.execPath, [linter, 'lint', '--extends=spec', join(folder, 'openapi.json')], { stdio: 'inherit', env })
  process.exitCode = status ?? 1
} finally {
  rmSync(folder, { recursive: true, force: true })
}
