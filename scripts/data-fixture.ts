/**
 * Writes a data folder of this version as SQL text to standard output: `node scripts/data-fixture.ts > test/fixtures/format-N.sql`.
 *
 * A real server runs a scenario with everything in it and is killed in the middle. Run it once for each format, before the next one exists:
 * what it wrote is what later versions must be able to open, so the file is never made anew.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'

const ENTRY = fileURLToPath(new URL('../bin/convoke.js', import.meta.url))
/** What stands in the text in place of the folder that the scenario ran in. */
const FOLDER = '/srv/convoke'
/** Pace of the demo model, in ms per word: slow enough that words come in batches of their own. */
const PACE_MS = 2

type Ask = (method: string, path: string, body?: unknown) => Promise<Readonly<Record<string, never>>>

let asked = 0
const folder = mkdtempSync(join(tmpdir(), 'convoke-fixture-'))
try {
  mkdirSync(join(folder, 'work'))
  writeFileSync(join(folder, 'work', 'convoke.config.json'), JSON.stringify({ models: { demoPaceMs: PACE_MS, discover: false } }))
  const env = { ...process.env, CONVOKE_DATA: join(folder, 'data'), HOME: folder }
  const server = spawn(process.execPath, [ENTRY, 'serve', '--port', '0', '--json'], { cwd: join(folder, 'work'), env, stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = (await once(server.stdout, 'data')) as [Buffer]
  const { listening } = JSON.parse(line.toString()) as { listening: string }
  const ended = once(server, 'exit')
  await scenario(async (method, path, body) => {
    const headers = { 'content-type': 'application/json', 'idempotency-key': `fixture-${++asked}` }
    const answer = await fetch(`${listening}/v1${path}`, { method, ...(body === undefined ? {} : { headers, body: JSON.stringify(body) }) })
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`)
    return answer.status === 204 ? {} : ((await answer.json()) as Readonly<Record<string, never>>)
  }).finally(() => server.kill('SIGKILL'))
  await ended
  // Without its start time no process can be taken for the one that ran the tool.
  process.stdout.write(
    dump(join(folder, 'data', 'convoke.db'))
      .replaceAll(folder, FOLDER)
      .replaceAll(/"startTicks":\d+/g, '"startTicks":0'),
  )
} finally {
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
}

/** Sessions in every state that a crash can leave. */
async function scenario(ask: Ask): Promise<void> {
  const create = async (title: string) => (await ask('POST', '/sessions', { title }))['id'] as unknown as string
  const send = (id: string, content: string, more = {}) => ask('POST', `/sessions/${id}/messages`, { message: { role: 'user', content }, ...more })
  const allowed = { overrides: { auto_approve: 'all' } }
  const until = async (id: string, isThere: (text: string) => boolean) => {
    while (!isThere(JSON.stringify(await ask('GET', `/sessions/${id}`)))) await new Promise((resolve) => setTimeout(resolve, 20))
  }
  const idle = (id: string) => until(id, (text) => /"state":"(idle|failed)"/.test(text))

  const finished = await create('finished, with tools')
  await send(finished, 'count to 250')
  await idle(finished)
  await send(finished, 'write notes.txt: grüße 🦊 then read notes.txt and run echo one; echo two >&2 then todo: one, two', allowed)
  await idle(finished)

  const asked = await create('waits for a person')
  await send(asked, 'run echo dangerous')
  await until(asked, (text) => text.includes('"waiting":true'))
  await send(asked, 'the first that waits', { when_busy: 'enqueue' })
  await send(asked, 'the second that waits', { when_busy: 'enqueue' })

  const deleted = await create('deleted')
  await ask('DELETE', `/sessions/${deleted}`)
  await create('empty')

  const tool = await create('killed in a tool')
  await send(tool, 'run sleep 60', allowed)
  const model = await create('killed in a model call')
  await send(model, 'count to 9999')
  await until(model, (text) => text.includes('"state":"running"'))
  await until(tool, (text) => text.includes('"state":"running"'))
  // Some words, and the start of the tool.
  await new Promise((resolve) => setTimeout(resolve, 400))
}

/** A database as SQL: its schema, its rows, its format. */
function dump(file: string): string {
  const db = new DatabaseSync(file, { readOnly: true })
  const objects = db.prepare("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY type = 'index', name").all()
  const tables = (objects as unknown as readonly { type: string; name: string; sql: string }[]).filter(({ type }) => type === 'table')
  const rows = tables.flatMap(({ name }) =>
    db
      .prepare(`SELECT * FROM ${name}`)
      .all()
      .map((row) => `INSERT INTO ${name} VALUES (${Object.values(row).map(literal).join(', ')});`),
  )
  const { user_version: format } = db.prepare('PRAGMA user_version').get() as { user_version: number }
  const schema = objects.map((object) => `${String(object['sql'])};`)
  return [...schema, ...rows, `PRAGMA user_version = ${format};`, ''].join('\n')
}

function literal(value: unknown): string {
  return typeof value === 'string' ? `'${value.replaceAll("'", "''")}'` : String(value)
}
