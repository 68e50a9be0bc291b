/** `convoke db`, by processes of its own, beside a server and without one. */
import { existsSync, readFileSync, readdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test, vi } from 'vitest'
import { ask, frames } from '../support/http.ts'
import { newWorld, type ServerProcess, type World } from '../support/process.ts'

// Processes are slow to start on a busy machine.
vi.setConfig({ testTimeout: 60_000 })

const say = (content: string, extra = {}) => ({ message: { role: 'user', content }, ...extra })

/** A server with one session that has answered once, and one that waits for a person. */
async function served(): Promise<{ readonly world: World; readonly server: ServerProcess; readonly ids: readonly [string, string] }> {
  const world = newWorld()
  const server = await world.serve()
  const make = async (title: string): Promise<string> => (await ask(server.url, 'POST', '/v1/sessions', { title })).json.id
  const ids = [await make('that has answered'), await make('that waits')] as const
  await ask(server.url, 'POST', `/v1/sessions/${ids[0]}/messages`, say('hello there'))
  await ask(server.url, 'POST', `/v1/sessions/${ids[1]}/messages`, say('run echo one'))
  const statusOf = async (id: string) => (await ask(server.url, 'GET', `/v1/sessions/${id}`)).json.session.run_status
  await expect.poll(() => statusOf(ids[0]), { timeout: 20_000 }).toMatchObject({ state: 'idle' })
  await expect.poll(() => statusOf(ids[1]), { timeout: 20_000 }).toMatchObject({ waiting: true })
  return { world, server, ids }
}

function change(world: World, sql: string): void {
  const db = new DatabaseSync(join(world.data, 'convoke.db'))
  db.exec(sql)
  db.close()
}

describe('convoke db check', () => {
  test('finds nothing in a sound log, beside a server and after it', async () => {
    const { world, server } = await served()
    const beside = await world.run(['db', 'check'])
    expect(beside).toMatchObject({ code: 0, stderr: '' })
    expect(beside.stdout).toMatch(/^ok {4}the log is sound: 2 sessions, \d+ events in \d+ batches, 0 idempotency keys\n$/)
    await server.kill('SIGKILL')
    expect(await world.run(['db', 'check', '--data', world.data])).toMatchObject({ code: 0, stdout: beside.stdout, stderr: '' })
  })

  test('names what it finds, one line each, and fails', async () => {
    const { world, server, ids } = await served()
    await server.kill('SIGTERM')
    change(world, `UPDATE batch SET body = '[' WHERE feed = 1; UPDATE session_count SET n = 5`)
    const { code, stdout } = await world.run(['db', 'check'])
    expect([code, stdout.split('\n')]).toEqual([
      1,
      [
        `FAIL  session ${ids[0]}: position 1 is damaged`,
        'FAIL  the count of active sessions of local is off by 3',
        expect.stringMatching(/^FAIL {2}findings: 2, damaged events: 1: 2 sessions, /),
        '',
      ],
    ])
    const json = (await world.run(['db', 'check', '--json'])).stdout.trimEnd().split('\n')
    expect(json.map((line) => JSON.parse(line) as object)).toMatchObject([
      { finding: { session: ids[0] } },
      { finding: {} },
      { totals: { findings: 2, damaged: 1 } },
    ])
  })

  test('refuses a log from which acknowledged work is gone, and leaves the traces', async () => {
    const { world, server } = await served()
    await server.kill('SIGKILL')
    truncateSync(join(world.data, 'convoke.db-wal'), 5000)
    for (let time = 1; time <= 2; time++) {
      expect(await world.run(['db', 'check'])).toMatchObject({ code: 1, stderr: expect.stringContaining('convoke.db-wal is damaged behind byte') })
    }
  })

  test('makes no log where there is none', async () => {
    const world = newWorld()
    expect(await world.run(['db', 'check'])).toMatchObject({ code: 1, stderr: `convoke: there is no log in ${world.data}\n` })
  })
})

describe('convoke db backup and restore', () => {
  test('save beside a running server, and bring back: sessions, the open question, and cursors of the old log are recognised', async () => {
    const { world, server, ids } = await served()
    const file = join(world.folder, 'saved.convoke')
    const saved = await world.run(['db', 'backup', file])
    expect(saved).toMatchObject({ code: 0, stderr: '' })
    expect(saved.stdout).toMatch(/^saved to .*saved\.convoke: 2 sessions, \d+ events, 0 output files, \d+ bytes\n$/)
    expect(await world.run(['db', 'backup', file])).toMatchObject({ code: 1, stderr: `convoke: ${file} exists; --force replaces it\n` })
    expect((await world.run(['db', 'backup', file, '--force'])).code).toBe(0)

    const eventsOf = (url: string, query: string) => fetch(`${url}/v1/sessions/${ids[0]}/events?${query}`)
    const head = await eventsOf(server.url, 'after=0&until=run_end')
    const logId = head.headers.get('convoke-log-id') ?? ''
    const shown = await head.text()
    // What happens after the backup is lost to the restored log.
    await ask(server.url, 'POST', '/v1/sessions', { title: 'made after the backup' })

    const busy = await world.run(['db', 'restore', file, '--force'])
    expect(busy).toMatchObject({ code: 1, stderr: `convoke: the data folder ${world.data} is in use by process ${server.pid}\n` })
    await server.kill('SIGKILL')
    expect((await world.run(['db', 'restore', file])).stderr).toContain('is not empty')
    const restored = await world.run(['db', 'restore', file, '--force'])
    expect(restored).toMatchObject({ code: 0, stderr: '' })
    expect(restored.stdout).toMatch(
      /^restored to .*: 2 sessions, \d+ events, 0 output files; new log id [0-9a-f-]{36}\nwhat was there is kept in .*before-restore-[\dTZ-]+\n$/,
    )
    const [, newLogId = ''] = /new log id (\S+)/.exec(restored.stdout) ?? []
    expect(newLogId).not.toBe(logId)

    const again = await world.serve()
    expect((await ask(again.url, 'GET', '/v1/sessions')).json.total).toBe(2)
    const same = await eventsOf(again.url, 'after=0&until=run_end')
    expect(same.headers.get('convoke-log-id')).toBe(newLogId)
    expect((await same.text()).replaceAll(/^:.*\n/gm, '')).toBe(shown.replaceAll(/^:.*\n/gm, ''))
    const [gap] = await frames(`${again.url}/v1/sessions/${ids[0]}/events?after=1&log=${logId}`, {}, () => true)
    expect(gap?.event).toBe('gap_detected')
    expect(await (await eventsOf(again.url, `after=1&until=run_end&log=${newLogId}`)).text()).not.toContain('gap_detected')
    expect((await ask(again.url, 'GET', `/v1/sessions/${ids[1]}`)).json.session.run_status).toMatchObject({ waiting: true })
    expect((await world.run(['db', 'check'])).code).toBe(0)
  })

  test('carry the whole output of a tool, and a restore elsewhere finds it', async () => {
    const world = newWorld()
    const server = await world.serve()
    const { id } = (await ask(server.url, 'POST', '/v1/sessions', { title: 'long output' })).json
    await ask(server.url, 'POST', `/v1/sessions/${id}/messages`, say('run seq 1 20000', { overrides: { auto_approve: 'all' } }))
    await expect
      .poll(async () => (await ask(server.url, 'GET', `/v1/sessions/${id}`)).json.session.run_status, { timeout: 20_000 })
      .toMatchObject({ state: 'idle' })
    const file = join(world.folder, 'saved.convoke')
    expect((await world.run(['db', 'backup', file])).stdout).toContain('1 output files')
    await server.kill('SIGTERM')
    const [name = ''] = readdirSync(join(world.data, 'outputs', id))
    const whole = readFileSync(join(world.data, 'outputs', id, name), 'utf8')
    rmSync(world.data, { recursive: true })
    const elsewhere = join(world.folder, 'elsewhere')
    expect((await world.run(['db', 'restore', file, '--data', elsewhere])).code).toBe(0)
    expect(readFileSync(join(elsewhere, 'outputs', id, name), 'utf8')).toBe(whole)
    expect((await world.run(['db', 'check', '--data', elsewhere])).code).toBe(0)
    rmSync(join(elsewhere, 'outputs', id, name))
    expect((await world.run(['db', 'check', '--data', elsewhere])).stdout).toContain(`FAIL  session ${id}: the output of position`)
  })

  test('leave the old log or the new one when the restore is killed at any moment', async () => {
    const { world, server } = await served()
    const file = join(world.folder, 'saved.convoke')
    await world.run(['db', 'backup', file])
    await server.kill('SIGTERM')
    change(world, "INSERT OR REPLACE INTO meta VALUES ('mark', 'old')")
    const restoring = world.start(['db', 'restore', file, '--force'], { input: '' })
    await expect.poll(() => existsSync(join(world.data, 'restoring')), { timeout: 20_000, interval: 1 }).toBe(true)
    await restoring.kill('SIGKILL')
    expect((await world.run(['db', 'check'])).code).toBe(0)
    expect((await world.run(['db', 'restore', file, '--force'])).code).toBe(0)
    expect((await world.run(['db', 'check'])).stdout).toContain('the log is sound: 2 sessions')
  })
})

describe('convoke db compact', () => {
  test('is refused beside a server; then tells what it won', async () => {
    const { world, server } = await served()
    expect((await world.run(['db', 'compact'])).stderr).toBe(`convoke: the data folder ${world.data} is in use by process ${server.pid}\n`)
    await server.kill('SIGTERM')
    change(world, 'CREATE TABLE gone (body BLOB) STRICT; INSERT INTO gone VALUES (zeroblob(1048576)); DROP TABLE gone')
    const { code, stdout } = await world.run(['db', 'compact'])
    const [, before, after] = /^compacted .*: (\d+) bytes before, (\d+) after; 0 old idempotency keys forgotten\n$/.exec(stdout) ?? []
    expect([code, Number(before) - Number(after) > 1_000_000]).toEqual([0, true])
    expect((await world.run(['db', 'check'])).code).toBe(0)
  })
})

describe('convoke db export and import', () => {
  test('carry a session from a running server to another folder, byte for byte, where its question is still open', async () => {
    const { world, server, ids } = await served()
    const file = join(world.folder, 'session.jsonl')
    const told = await world.run(['db', 'export', ids[1], file])
    expect(told).toMatchObject({ code: 0, stdout: expect.stringMatching(/^exported session .* to .*session\.jsonl: \d+ bytes\n$/), stderr: '' })
    expect((await world.run(['db', 'export', ids[1]])).stdout).toBe(readFileSync(file, 'utf8'))
    expect((await world.run(['db', 'export', ids[1], file])).stderr).toBe(`convoke: ${file} exists; --force replaces it\n`)
    expect((await world.run(['db', 'import', file, '--new-id'])).stderr).toContain(`is in use by process ${server.pid}`)
    const shown = async (url: string) => (await ask(url, 'GET', `/v1/sessions/${ids[1]}/messages`)).json
    const before = await shown(server.url)

    const other = newWorld()
    await (await other.serve()).kill('SIGTERM')
    const imported = await other.run(['db', 'import', '-'], { input: readFileSync(file, 'utf8') })
    expect(imported).toMatchObject({ code: 0, stderr: '' })
    expect(imported.stdout).toMatch(/^imported session .*: \d+ events, 0 output files; its run goes on when the server starts\n$/)
    expect((await other.run(['db', 'check'])).code).toBe(0)
    const bare = (text: string) => text.split('\n').slice(1, -2)
    expect(bare((await other.run(['db', 'export', ids[1], '-'])).stdout)).toEqual(bare(readFileSync(file, 'utf8')))

    const { url } = await other.serve()
    expect(await shown(url)).toEqual(before)
    const { run_status: waiting } = (await ask(url, 'GET', `/v1/sessions/${ids[1]}`)).json.session
    expect(waiting).toMatchObject({ waiting: true })
    const { tool_calls: calls } = (await ask(url, 'GET', `/v1/sessions/${ids[1]}/tools/pending`)).json
    await ask(url, 'POST', `/v1/sessions/${ids[1]}/tools/decisions`, { run_id: waiting.run_id, decisions: { [calls[0].id]: { action: 'accept' } } })
    await expect.poll(async () => JSON.stringify(await shown(url)), { timeout: 20_000 }).toContain('bash answered')
  })

  test('refuse a session that is there, and a file that is damaged', async () => {
    const { world, server, ids } = await served()
    const file = join(world.folder, 'session.jsonl')
    await world.run(['db', 'export', ids[0], file])
    await server.kill('SIGTERM')
    expect(await world.run(['db', 'import', file])).toMatchObject({ code: 1, stderr: expect.stringContaining(`there is a session ${ids[0]} already`) })
    expect((await world.run(['db', 'import', file, '--new-id', '--as', ids[0]])).stderr).toContain('--as and --new-id cannot be given together')
    writeFileSync(file, readFileSync(file, 'utf8').replace('hello', 'jello'))
    expect(await world.run(['db', 'import', file, '--new-id'])).toMatchObject({ code: 1, stderr: expect.stringContaining('the checksum is another one') })
    expect((await world.run(['db', 'import', join(world.folder, 'nothing')])).stderr).toContain('no such file')
    expect((await world.run(['db', 'export', 'mine'])).stderr).toBe('convoke: mine is no session id: a UUID\n')
    expect((await world.run(['db', 'check'])).stdout).toContain('the log is sound: 2 sessions')
    const list = world.start(['db', 'export', ids[0]], { input: '' })
    list.closeOutput()
    expect(await list.ended).toMatchObject({ code: 0, stderr: '' })
  })
})

test.each([
  [['db'], / check .* backup .* restore .* compact .* export .* import /],
  [['db', 'restore'], /--data <dir> .*--force .*--damaged /],
  [['db', 'import'], /--as <id> .*--new-id /],
])('convoke %j --help says what there is', async (args, pattern) => {
  const { code, stdout } = await newWorld().run([...args, '--help'])
  expect(code).toBe(0)
  expect(stdout.replaceAll(/\s+/g, ' ')).toMatch(pattern)
})

test('the page on operations tells of every subcommand and every option', () => {
  const root = new URL('../../', import.meta.url)
  const [code, page] = ['src/cli/db.ts', 'docs/operations.md'].map((name) => readFileSync(new URL(name, root), 'utf8')) as [string, string]
  const names = [...code.matchAll(/command\('([a-z]+)/g)].map(([, name = '']) => name)
  const options = [...code.matchAll(/'(--[a-z-]+)/g)].map(([, name = '']) => name)
  expect(names).toEqual(['db', 'check', 'backup', 'restore', 'compact', 'export', 'import'])
  expect(names.slice(1).filter((name) => !page.includes(`convoke db ${name}`))).toEqual([])
  expect(options.filter((option) => option !== '--config' && !page.includes(option))).toEqual([])
})
