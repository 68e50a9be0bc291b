import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, onTestFinished, test } from 'vitest'
import { sessionId } from '../../../domain/ids.ts'
import { systemRandom } from '../../../system/random.ts'
import { fillLog } from '../../../testing/filled-log.ts'
import { fork, freshId, send } from '../../../testing/writes.ts'
import { openSqliteStore } from '../store.ts'
import { checkLog } from './check.ts'
import { refold } from './refold.ts'

const open = (folder: string) => openSqliteStore({ folder, random: systemRandom, worker: false })

/** What an older version may have left: rows that say less, or other things, of the same events. */
const OLDER = `
  UPDATE meta SET value = '1' WHERE name = 'state_version';
  UPDATE stream SET state = json_remove(state, '$.agent', '$.lastRun'), fence = 9, run_id = NULL;
  DELETE FROM stream_item; INSERT INTO stream_item VALUES (1, 'queue', 0, '{}');
  UPDATE session SET body = json_set(body, '$.messageCount', 77), title = 'older';
  UPDATE session_count SET n = 8`

async function filled(): Promise<{ readonly folder: string; readonly change: (sql: string) => void; readonly rows: () => readonly unknown[] }> {
  const folder = mkdtempSync(join(tmpdir(), 'convoke-refold-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const store = await open(folder)
  const [long] = await fillLog(store)
  const forked = sessionId(freshId())
  await store.commit([fork(forked, long, 213)])
  await store.commit([send(forked, freshId())])
  await store.close()
  const use = <T>(work: (db: DatabaseSync) => T): T => {
    const db = new DatabaseSync(join(folder, 'convoke.db'))
    try {
      return work(db)
    } finally {
      db.close()
    }
  }
  const tables = ['stream', 'stream_item', 'session', 'session_count', 'message', 'batch', 'block', 'inherit']
  return {
    folder,
    change: (sql) => use((db) => db.exec(sql)),
    rows: () => use((db) => tables.flatMap((table) => db.prepare(`SELECT * FROM ${table}`).all())),
  }
}

function findings(folder: string): readonly string[] {
  const found: string[] = []
  checkLog({ folder, outputs: 'outputs' }, ({ text }) => found.push(text))
  return found
}

describe('rows that an older version folded', () => {
  test('are folded anew when the log is opened, and are then as if they had been written by this one', async () => {
    const { folder, change, rows } = await filled()
    const before = rows()
    change(OLDER)
    expect(() => findings(folder)).toThrow('of an older version')
    await (await open(folder)).close()
    expect(rows()).toEqual(before)
    expect(findings(folder)).toEqual([])
  })

  test('are left alone where they are of this version', async () => {
    const { folder, change, rows } = await filled()
    change(OLDER.replace("value = '1'", 'value = value'))
    const before = rows()
    await (await open(folder)).close()
    expect(rows()).toEqual(before)
  })

  test('stay as they are in a session of which events are lost', async () => {
    const { folder, change } = await filled()
    change(`${OLDER}; UPDATE batch SET body = 'x' WHERE segment = 1 AND first = 10`)
    await (await open(folder)).close()
    const db = new DatabaseSync(join(folder, 'convoke.db'))
    expect(db.prepare('SELECT title FROM session ORDER BY key').all()).toEqual([
      { title: 'older' },
      { title: 'another' },
      { title: 'a title' },
      { title: 'a title' },
    ])
    db.close()
  })

  test('stay as they are when this fails on the way', async () => {
    const { folder, change, rows } = await filled()
    change(`${OLDER}; CREATE TRIGGER no BEFORE UPDATE OF value ON meta WHEN NEW.name = 'state_version' BEGIN SELECT RAISE(ABORT, 'not now'); END`)
    const before = rows()
    const db = new DatabaseSync(join(folder, 'convoke.db'))
    expect(() => refold(db)).toThrow('not now')
    expect(db.isTransaction).toBe(false)
    db.close()
    expect(rows()).toEqual(before)
  })
})

test('rows that a newer version folded are refused', async () => {
  const { folder, change } = await filled()
  change("UPDATE meta SET value = '99' WHERE name = 'state_version'")
  await expect(open(folder)).rejects.toMatchObject({ code: 'store_newer', message: expect.stringContaining('rows of version 99') })
})
