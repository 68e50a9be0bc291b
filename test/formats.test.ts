/** Data folders that older versions wrote: everything in them is there, in its place, and unfinished runs go on. */
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import type { Recorded, StreamEvent } from '../src/domain/event.ts'
import type { SessionId } from '../src/domain/ids.ts'
import type { SessionState } from '../src/domain/session.ts'
import type { Store } from '../src/log/store.ts'
import type { SessionSummary } from '../src/projection/session-summary.ts'
import { LOCAL_USER, sessionId } from '../src/domain/ids.ts'
import { STATE_VERSION } from '../src/domain/session.ts'
import { fold } from '../src/log/apply.ts'
import { unpackEvents } from '../src/log/packing.ts'
import { READ_EVENTS_MAX } from '../src/log/store.ts'
import { summarize } from '../src/projection/session-summary.ts'
import { messageOf } from '../src/projection/transcript.ts'
import { backUp } from '../src/storage/sqlite/maintenance/backup.ts'
import { checkLog } from '../src/storage/sqlite/maintenance/check.ts'
import { restore } from '../src/storage/sqlite/maintenance/restore.ts'
import { MIGRATIONS } from '../src/storage/sqlite/schema.ts'
import { openSqliteStore } from '../src/storage/sqlite/store.ts'
import { systemRandom } from '../src/system/random.ts'
import { FORMATS, writeFixture } from './support/fixtures.ts'
import { ask } from './support/http.ts'
import { newWorld } from './support/process.ts'

// Processes are slow to start on a busy machine.
vi.setConfig({ testTimeout: 60_000 })

function folderOf(format: number): string {
  const folder = mkdtempSync(join(tmpdir(), 'convoke-format-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  writeFixture(format, folder)
  return folder
}

/** What the file holds, read without any of the engine. */
function written(folder: string): ReadonlyMap<string, readonly Recorded[]> {
  const db = new DatabaseSync(join(folder, 'convoke.db'), { readOnly: true })
  const rows = db.prepare('SELECT s.id, b.first, b.at_ms, b.body FROM stream s JOIN batch b ON b.segment = s.key ORDER BY s.id, b.first').all()
  db.close()
  const events = rows.flatMap((row) =>
    unpackEvents(JSON.parse(String(row['body'])) as unknown[]).map((event, index) => ({
      id: String(row['id']),
      recorded: { position: Number(row['first']) + index, atMs: Number(row['at_ms']), event: event as StreamEvent },
    })),
  )
  return new Map([...Map.groupBy(events, ({ id }) => id)].map(([id, list]) => [id, list.map(({ recorded }) => recorded)]))
}

async function wholeLog(store: Store, id: SessionId): Promise<readonly Recorded[]> {
  const log: Recorded[] = []
  for (;;) {
    const page = await store.read(id, log.length, READ_EVENTS_MAX)
    log.push(...(page?.events ?? []))
    if (page === undefined || log.length >= page.head) return log
  }
}

test('every format before this one has its data folder', () => {
  expect(FORMATS).toEqual(Array.from({ length: FORMATS.length }, (_, index) => index + 1))
  expect(FORMATS.length).toBeGreaterThanOrEqual(Math.max(1, MIGRATIONS.length - 1))
})

// Whoever changes this line raises STATE_VERSION with it: rows that were folded otherwise are then folded anew, when a log is opened.
test('version 2 of the fold says of the oldest log what it said when it was released', () => {
  const folded = [...written(folderOf(1)).entries()].map(([id, events]) => {
    const summary = events.reduce<SessionSummary | undefined>((before, recorded) => summarize(sessionId(id), before, recorded), undefined)
    const { version: _version, ...state } = fold(
      undefined,
      0,
      events.map(({ event }) => event),
    ) as SessionState
    return { state, summary }
  })
  expect([STATE_VERSION, createHash('sha256').update(JSON.stringify(folded)).digest('hex')]).toEqual([
    2,
    '01e35055b9fda0a7f99a9f21602f596f09cb2dd80d88011b3d290e5735c5984a',
  ])
})

describe.each(FORMATS)('a data folder of format %i', (format) => {
  test('has all its events, states, messages and lists when it is opened', async () => {
    const folder = folderOf(format)
    const before = written(folder)
    expect(before.size).toBe(6)
    const store = await openSqliteStore({ folder, random: systemRandom, worker: false })
    for (const [name, events] of before) {
      const id = sessionId(name)
      expect(await wholeLog(store, id)).toEqual(events)
      const bare = events.map(({ event }) => event)
      expect(await store.state(id)).toEqual(fold(undefined, 0, bare))
      const { items, total } = await store.messages(id, { limit: 1000, offset: 0 })
      expect(items).toEqual(events.flatMap((recorded) => messageOf(recorded) ?? []))
      expect(total).toBe(items.length)
    }
    const list = await store.sessions({ owner: LOCAL_USER, limit: 10 })
    const titles = ['killed in a tool', 'killed in a model call', 'empty', 'deleted', 'waits for a person', 'finished, with tools']
    expect([list.total, list.items.map(({ title }) => title)]).toEqual([6, titles])
    expect((await store.sessions({ owner: LOCAL_USER, limit: 10, status: 'deleted' })).items.map(({ title }) => title)).toEqual(['deleted'])
    expect(await store.unfinishedRuns(10)).toHaveLength(3)
    expect(store.driver).toBe(2)
    await store.close()
    const findings: string[] = []
    checkLog({ folder, outputs: 'outputs' }, ({ text }) => findings.push(text))
    expect(findings).toEqual([])
  })

  test('is kept beside the migrated one as it was, once', async () => {
    const folder = folderOf(format)
    const kept = `convoke.db.format-${format}`
    const before = written(folder)
    const openAndClose = async () => (await openSqliteStore({ folder, random: systemRandom, worker: false })).close()
    await openAndClose()
    expect(readdirSync(folder).filter((name) => name.startsWith('convoke.db'))).toEqual(format === MIGRATIONS.length ? ['convoke.db'] : ['convoke.db', kept])
    if (format === MIGRATIONS.length) return
    const old = join(folder, 'old')
    mkdirSync(old)
    renameSync(join(folder, kept), join(old, 'convoke.db'))
    expect(written(old)).toEqual(before)
    await openAndClose()
    expect(existsSync(join(folder, kept))).toBe(false)
    // What was kept is a log like any other: it can be put back.
    await (await openSqliteStore({ folder: old, random: systemRandom, worker: false })).close()
  })

  test('is not migrated where it cannot be kept, and left as it is', async () => {
    if (format === MIGRATIONS.length) return
    const folder = folderOf(format)
    const before = readFileSync(join(folder, 'convoke.db'))
    mkdirSync(join(folder, `convoke.db.format-${format}.writing`))
    await expect(openSqliteStore({ folder, random: systemRandom, worker: false })).rejects.toMatchObject({
      code: 'store_failed',
      message: expect.stringContaining('the log is not migrated, because it cannot be copied to'),
    })
    expect(readFileSync(join(folder, 'convoke.db')).equals(before)).toBe(true)
    writeFileSync(join(folder, `convoke.db.format-${format}`), '')
    await (await openSqliteStore({ folder, random: systemRandom, worker: false })).close()
    expect(readFileSync(join(folder, `convoke.db.format-${format}`), 'utf8')).toBe('')
  })

  test('is saved and brought back as it is, and migrated when it is opened', async () => {
    const folder = folderOf(format)
    const before = written(folder)
    const target = join(folder, 'restored')
    await backUp({ folder, outputs: 'outputs' }, join(folder, 'saved'))
    expect(await restore({ folder: target, outputs: 'outputs' }, join(folder, 'saved'), { newLogId: 'new', stamp: 'now' })).toMatchObject({ sessions: 6 })
    expect(written(target)).toEqual(before)
    const store = await openSqliteStore({ folder: target, random: systemRandom, worker: false })
    for (const [name, events] of before) expect(await wholeLog(store, sessionId(name))).toEqual(events)
    await store.close()
  })

  test('has its unfinished runs brought to their end, and its question still open', async () => {
    const world = newWorld()
    writeFixture(format, world.data)
    const { url } = await world.serve()
    const { sessions } = (await ask(url, 'GET', '/v1/sessions')).json as { sessions: { id: string; title: string }[] }
    const named = (title: string) => sessions.find((session) => session.title === title)?.id ?? ''
    const statusOf = async (title: string) => (await ask(url, 'GET', `/v1/sessions/${named(title)}`)).json.session.run_status
    for (const title of ['killed in a tool', 'killed in a model call']) {
      await expect.poll(() => statusOf(title), { timeout: 30_000 }).toMatchObject({ state: 'idle' })
    }
    const { messages } = (await ask(url, 'GET', `/v1/sessions/${named('killed in a tool')}/messages`)).json
    expect(JSON.stringify(messages)).toContain('TOOL_CALL_OUTCOME_UNKNOWN')
    const asked = named('waits for a person')
    const { run_status: waiting } = (await ask(url, 'GET', `/v1/sessions/${asked}`)).json.session
    expect(waiting).toMatchObject({ waiting: true })
    const { tool_calls: calls } = (await ask(url, 'GET', `/v1/sessions/${asked}/tools/pending`)).json
    expect(calls).toMatchObject([{ name: 'bash', arguments: { command: 'echo dangerous' } }])
    const decisions = { [calls[0].id]: { action: 'accept' } }
    await ask(url, 'POST', `/v1/sessions/${asked}/tools/decisions`, { run_id: waiting.run_id, decisions })
    // What waited behind the question has its turns after it.
    await expect
      .poll(async () => JSON.stringify((await ask(url, 'GET', `/v1/sessions/${asked}/messages`)).json), { timeout: 30_000 })
      .toContain('You said: the second that waits')
  })
})

describe('a folder of a newer format', () => {
  test('is refused by name by everything that would open it, and left as it is', async () => {
    const world = newWorld()
    writeFixture(1, world.data)
    const file = join(world.data, 'convoke.db')
    const db = new DatabaseSync(file)
    db.exec('PRAGMA user_version = 99; PRAGMA wal_checkpoint(TRUNCATE)')
    db.close()
    const before = readFileSync(file)
    for (const args of [
      ['serve', '--port', '0'],
      ['db', 'check'],
    ]) {
      const { code, stderr } = await world.run(args)
      expect([args, code]).toEqual([args, 1])
      expect(stderr).toContain(`convoke: the data folder has format 99, this version of convoke knows up to ${MIGRATIONS.length}: use a newer convoke`)
    }
    expect(readFileSync(file).equals(before)).toBe(true)
  })
})
