/** Migrations: what a fresh folder gets, what was released, and what other versions left. */
import { createHash } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { Principal } from '../../domain/principal.ts'
import { sessionId, userId } from '../../domain/ids.ts'
import { USER_SCOPES } from '../../domain/principal.ts'
import { systemRandom } from '../../system/random.ts'
import { migrate } from './migrate.ts'
import { MIGRATIONS } from './schema.ts'
import { openSqliteStore } from './store.ts'

const versionOf = (db: DatabaseSync) => (db.prepare('PRAGMA user_version').get() as { user_version: number }).user_version

/** Tables and indexes with their columns, as text that a person can compare. */
function schemaOf(db: DatabaseSync): string[] {
  const objects = db.prepare("SELECT type, name, tbl_name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY type DESC, name").all()
  return objects.map((object) => {
    const { type, name, tbl_name: table } = object as { type: string; name: string; tbl_name: string }
    const columns = db.prepare(`SELECT name FROM pragma_${type === 'table' ? 'table' : 'index'}_info(?)`).all(name) as { name: string }[]
    return `${type === 'table' ? name : `${name} on ${table}`}: ${columns.map((column) => column.name).join(' ')}`
  })
}

describe('a fresh database', () => {
  test('gets this schema', () => {
    const db = new DatabaseSync(':memory:')
    migrate(db)
    expect(versionOf(db)).toBe(MIGRATIONS.length)
    expect(schemaOf(db)).toEqual([
      'batch: feed segment first last at_ms body',
      'block: segment first places',
      'idempotency: scope key fingerprint at_ms outcome',
      'inherit: stream last segment messages',
      'leftover: id segment',
      'message: key stream ordinal position body',
      'meta: name value',
      'orphan: segment id keep_to swept',
      'pack: last first',
      'pack_due: key at_ms segment first last',
      'session: key id owner status updated_at_ms title body',
      'session_count: owner status n',
      'stream: key id owner head run_id driver fence state places base',
      'stream_item: stream kind ordinal body',
      'idempotency_age on idempotency: at_ms',
      'inherit_segment on inherit: segment last',
      'message_stream on message: stream ordinal position',
      'orphan_unswept on orphan: segment',
      'session_by_owner on session: owner updated_at_ms id',
      'session_by_status on session: owner status updated_at_ms id',
      'session_idle on session: updated_at_ms id',
      'stream_unfinished on stream: id',
    ])
  })

  test('is left alone by a second migration', () => {
    const db = new DatabaseSync(':memory:')
    migrate(db)
    db.exec("INSERT INTO meta (name, value) VALUES ('mine', 'kept')")
    migrate(db)
    expect(db.prepare('SELECT value FROM meta').get()).toEqual({ value: 'kept' })
  })

  test('is strict: a value of another type is refused', () => {
    const db = new DatabaseSync(':memory:')
    migrate(db)
    expect(() => db.exec("INSERT INTO session_count (owner, status, n) VALUES ('o', 's', 'many')")).toThrow('cannot store TEXT value in INTEGER column')
  })
})

test('a migration that fails leaves the database as it was', () => {
  const db = new DatabaseSync(':memory:')
  migrate(db, MIGRATIONS.slice(0, 1))
  db.exec("INSERT INTO meta (name, value) VALUES ('mine', 'kept')")
  const before = schemaOf(db)
  const broken = 'CREATE TABLE half (a); DELETE FROM meta; INSERT INTO nowhere VALUES (1)'
  expect(() => migrate(db, [MIGRATIONS[0] ?? '', broken])).toThrow('no such table: nowhere')
  expect([versionOf(db), schemaOf(db), db.prepare('SELECT value FROM meta').get()]).toEqual([1, before, { value: 'kept' }])
  // Nothing holds it: it can be written, and migrated by whoever knows better.
  migrate(db)
  expect(versionOf(db)).toBe(MIGRATIONS.length)
})

// A migration that was released never changes: whoever changes this line breaks every data folder that there is.
test.each([
  [1, '0dd3f8acdf5996859556788401b104b9fc361de02da338f3adaf01e1918e189a'],
  [2, 'c9fe72e01a08f31769ae1846829b3781c87f4bc0a621827653e2347b1eb3343f'],
])('migration %i is as it was released', (number, digest) => {
  expect(
    createHash('sha256')
      .update(MIGRATIONS[number - 1] ?? '')
      .digest('hex'),
  ).toBe(digest)
})

test('each migration has its line above', () => {
  expect(MIGRATIONS).toHaveLength(2)
})

describe('a data folder', () => {
  function newFolder(): string {
    const folder = mkdtempSync(join(tmpdir(), 'convoke-migrate-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    return folder
  }

  test('whose database is empty is migrated from version 0', async () => {
    const folder = newFolder()
    const file = join(folder, 'convoke.db')
    new DatabaseSync(file).close()
    await (await openSqliteStore({ folder, random: systemRandom, worker: false })).close()
    const db = new DatabaseSync(file, { readOnly: true })
    expect(versionOf(db)).toBe(MIGRATIONS.length)
    db.close()
  })

  test('of format 1 is migrated: its sessions read as before, go on, and can be forked', async () => {
    const folder = newFolder()
    const file = join(folder, 'convoke.db')
    const db = new DatabaseSync(file)
    db.exec(`${MIGRATIONS[0]}; PRAGMA user_version = 1`)
    const id = sessionId('01900000-0000-7000-8000-000000000001')
    const run = '01900000-0000-7000-8000-000000000002'
    const state = { version: 1, owner: 'alice', status: 'active', agent: 'convoke', fence: 1 }
    const message = { position: 3, atMs: 6, runId: run, messageId: run, message: { role: 'user', content: 'hello' } }
    const summary = { id, owner: 'alice', title: 't', agent: 'convoke', status: 'active', visibility: 'PRIVATE', createdAtMs: 5, updatedAtMs: 6 }
    db.prepare('INSERT INTO stream VALUES (1, ?, ?, 3, NULL, NULL, 1, ?, ?)').run(id, 'alice', JSON.stringify(state), '1.1;2.2;')
    const body = JSON.stringify({ ...summary, run: { state: 'idle' }, messageCount: 1 })
    db.prepare('INSERT INTO session VALUES (1, ?, ?, ?, 6, ?, ?)').run(id, 'alice', 'active', 't', body)
    const created = { type: 'SessionCreated', owner: 'alice', title: 't', agent: 'convoke' }
    const started = { type: 'RunStarted', runId: run, fence: 1, driver: 1, agent: 'convoke', options: {}, by: 'alice' }
    const said = { type: 'MessageAdded', runId: run, messageId: run, message: message.message }
    const batch = db.prepare('INSERT INTO batch VALUES (?, 1, ?, ?, ?, ?)')
    batch.run(1, 1, 1, 5, JSON.stringify([created]))
    batch.run(2, 2, 3, 6, JSON.stringify([started, said]))
    db.prepare('INSERT INTO message VALUES (1, 1, 0, 3, ?)').run(JSON.stringify(message))
    db.close()
    const store = await openSqliteStore({ folder, random: systemRandom, worker: false })
    expect((await store.read(id, 0, 9))?.events).toEqual([
      { position: 1, atMs: 5, event: created },
      { position: 2, atMs: 6, event: started },
      { position: 3, atMs: 6, event: said },
    ])
    expect(await store.messages(id, { limit: 9, offset: 0 })).toEqual({ items: [message], total: 1 })
    const fresh = sessionId('01900000-0000-7000-8000-000000000003')
    const alice: Principal = { user: userId('alice'), scopes: USER_SCOPES }
    const rename = { kind: 'decide', stream: id, command: { type: 'UpdateSession', title: 'u' }, asker: alice, atMs: 7 } as const
    const fork = { ...rename, stream: fresh, command: { type: 'ForkSession', origin: id, at: 3 } } as const
    expect(await store.commit([rename, fork])).toMatchObject([
      { kind: 'appended', from: 4, feed: 3 },
      { kind: 'appended', from: 4, feed: 4 },
    ])
    expect((await store.read(fresh, 0, 9))?.events.map(({ event }) => event.type)).toEqual(['SessionCreated', 'RunStarted', 'MessageAdded', 'SessionForked'])
    expect((await store.history(fresh, 9, 9)).map(({ position }) => position)).toEqual([3])
    await store.close()
  })

  test.each([true, false])('of a newer version is refused and left as it is, byte for byte (writer in a worker: %s)', async (worker) => {
    const folder = newFolder()
    const file = join(folder, 'convoke.db')
    await (await openSqliteStore({ folder, random: systemRandom, worker: false })).close()
    const db = new DatabaseSync(file)
    db.exec(`PRAGMA journal_mode = DELETE; PRAGMA user_version = ${MIGRATIONS.length + 1}; PRAGMA journal_mode = WAL`)
    db.close()
    const before = readFileSync(file)
    await expect(openSqliteStore({ folder, random: systemRandom, worker })).rejects.toMatchObject({
      code: 'store_newer',
      message: 'the data folder has format 3, this version of convoke knows up to 2: use a newer convoke',
    })
    expect(readFileSync(file).equals(before)).toBe(true)
  })

  test.each([true, false])('that holds no database is refused, and let go of (writer in a worker: %s)', async (worker) => {
    const folder = newFolder()
    writeFileSync(join(folder, 'convoke.db'), 'this is no database at all, only text that is long enough to be read as a page\n'.repeat(20))
    await expect(openSqliteStore({ folder, random: systemRandom, worker })).rejects.toThrow('file is not a database')
    rmSync(join(folder, 'convoke.db'))
    await (await openSqliteStore({ folder, random: systemRandom, worker })).close()
  })
})
