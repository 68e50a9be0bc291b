import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { SessionId } from '../../../domain/ids.ts'
import type { Store } from '../../../log/store.ts'
import { runId, sessionId } from '../../../domain/ids.ts'
import type { Upkeep } from '../../../log/upkeep.ts'
import { systemRandom } from '../../../system/random.ts'
import { callsOf, fillLog, recordWrite } from '../../../testing/filled-log.ts'
import { ALICE, create, erase, fork, freshId, send } from '../../../testing/writes.ts'
import { openSqliteStore } from '../store.ts'
import { checkLog } from './check.ts'

interface Folder {
  readonly folder: string
  readonly ids: readonly SessionId[]
}

/** A log with a long session that has ended a run, one whose run waits with a queue behind it, and an empty one. */
async function written(work: (store: Store & Upkeep) => Promise<unknown> = async () => undefined): Promise<Folder> {
  const folder = mkdtempSync(join(tmpdir(), 'convoke-check-'))
  onTestFinished(() => rmSync(folder, { recursive: true }))
  const store = await openSqliteStore({ folder, random: systemRandom, worker: false })
  const ids = await fillLog(store)
  await work(store)
  await store.close()
  return { folder, ids }
}

function found({ folder }: Folder): { readonly texts: string[]; readonly totals: ReturnType<typeof checkLog> } {
  const texts: string[] = []
  const totals = checkLog({ folder, outputs: 'outputs' }, ({ session, text }) => texts.push(session === undefined ? text : `${session}: ${text}`))
  return { texts, totals }
}

function damage({ folder }: Folder, sql: string): void {
  const db = new DatabaseSync(join(folder, 'convoke.db'))
  db.exec(sql)
  db.close()
}

describe('a sound log', () => {
  test('has no findings, and everything in it was looked at', async () => {
    const { texts, totals } = found(await written())
    expect(texts).toEqual([])
    expect(totals).toEqual({ sessions: 3, events: 221, batches: 78, idempotency: 1, damaged: 0, unknown: 0, findings: 0 })
  })

  test('has forks, whose own events are looked at', async () => {
    const [f, g] = [sessionId(freshId()), sessionId(freshId())]
    const log = await written(async (store) => {
      const [origin] = (await store.readFeed(ALICE.user, 0, 1)).batches
      if (origin === undefined) throw new Error('the first session has events')
      await store.commit([fork(f, origin.stream, 20), send(f, freshId()), fork(g, f, 23)])
    })
    const { texts, totals } = found(log)
    expect([texts, totals.sessions, totals.events]).toEqual([[], 5, 225])
    damage(log, 'DELETE FROM inherit WHERE last = 23')
    expect(found(log).texts).toEqual([`${g}: its pieces do not reach position 23`])
  })

  test('is packed, and holds what erased sessions and their forks left', async () => {
    const f = sessionId(freshId())
    const log = await written(async (store) => {
      while (await store.pack(Infinity));
      const [origin] = (await store.readFeed(ALICE.user, 0, 1)).batches
      if (origin === undefined) throw new Error('the first session has events')
      await store.commit([fork(f, origin.stream, 100), erase(origin.stream)])
      await store.sweep()
    })
    const { texts, totals } = found(log)
    expect([texts, totals.sessions, totals.batches < 20]).toEqual([[], 3, true])
    damage(log, 'DELETE FROM orphan')
    expect(found(log).texts).toEqual(expect.arrayContaining([expect.stringContaining('belongs to no session')]))
  })

  test('is looked at while it is written', async () => {
    let checked: ReturnType<typeof found> | undefined
    const folder = mkdtempSync(join(tmpdir(), 'convoke-check-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    const store = await openSqliteStore({ folder, random: systemRandom, worker: false })
    await store.commit([create(sessionId(freshId()))])
    checked = found({ folder, ids: [] })
    await store.commit([create(sessionId(freshId()))])
    expect([checked.totals.sessions, found({ folder, ids: [] }).totals.sessions]).toEqual([1, 2])
    await store.close()
  })
})

describe('a log that is not sound', () => {
  /** Session 1 is long, 2 waits, 3 is empty; `$1` to `$3` stand for their ids, `key(n)` for the key of one. */
  test.each([
    [
      'a batch that is gone',
      'DELETE FROM batch WHERE segment = key(1) AND first = 10',
      ['$1: the place of position 10 leads to no batch (8)', '$1: positions 10 to 12 are missing'],
    ],
    ['the last batch gone', 'DELETE FROM batch WHERE segment = key(3)', ['$3: the place of position 1 leads to no batch (3)', '$3: position 1 is missing']],
    ['a batch that is no JSON', "UPDATE batch SET body = 'x' WHERE segment = key(1) AND first = 10", ['$1: positions 10 to 12 are damaged']],
    ['a batch with an event too few', `UPDATE batch SET body = '[]' WHERE segment = key(3)`, ['$3: position 1 is damaged']],
    [
      'places that lead elsewhere',
      "UPDATE stream SET places = '1.1;' WHERE key = key(3)",
      ['$3: the place of position 1 leads to a batch of something else (1)', '$3: position 1 is missing', 'batch 3 (positions 1 to 1) belongs to no session'],
    ],
    [
      'places that are nonsense',
      "UPDATE stream SET places = '!' || places WHERE key = key(3)",
      ['$3: the newest places cannot be read whole', '$3: position 1 is missing', 'batch 3 (positions 1 to 1) belongs to no session'],
    ],
    [
      'a batch twice',
      'UPDATE stream SET places = places || places WHERE key = key(3)',
      ['$3: two places lead to batch 3', '$3: batch 3 holds positions 1 to 1, expected was 2'],
    ],
    [
      'a block that is gone',
      'DELETE FROM block WHERE segment = key(1)',
      ['$1: positions 1 to 189 are missing', expect.stringContaining('belongs to no session')],
    ],
    ['a head too high', 'UPDATE stream SET head = 5 WHERE key = key(3)', ['$3: positions 2 to 5 are missing']],
    ['a head too low', 'UPDATE stream SET head = 0 WHERE key = key(3)', ['$3: position 1 is behind the head']],
    ['another fence', 'UPDATE stream SET fence = 7 WHERE key = key(2)', ['$2: its state is not the fold of its events']],
    ['another state', "UPDATE stream SET state = json_set(state, '$.fence', 7) WHERE key = key(2)", ['$2: its state is not the fold of its events']],
    [
      'a message that waits no more',
      "DELETE FROM stream_item WHERE stream = key(2) AND kind = 'queue'",
      ['$2: its rows of messages that wait are not the fold of its events'],
    ],
    ['a call too many', "INSERT INTO stream_item VALUES (key(1), 'call', 0, '{}')", ['$1: its rows of calls are not the fold of its events']],
    ['another title in the list', "UPDATE session SET title = 'x' WHERE key = key(1)", ['$1: its summary is not the fold of its events']],
    ['another summary', "UPDATE session SET body = json_set(body, '$.title', 'x') WHERE key = key(1)", ['$1: its summary is not the fold of its events']],
    [
      'no summary',
      'DELETE FROM session WHERE key = key(3)',
      ['$3: its summary is not the fold of its events', 'the count of active sessions of alice is off by 1'],
    ],
    ['a message without its row', 'DELETE FROM message WHERE stream = key(2)', ['$2: the message of position 3 has no row']],
    ['another message', "UPDATE message SET body = json_set(body, '$.atMs', 1) WHERE stream = key(2)", ['$2: the row of message 0 is not that of position 3']],
    [
      'a message too many',
      "INSERT INTO message (stream, ordinal, position, body) VALUES (key(3), 0, 1, '{}')",
      ['$3: there are more rows of messages than messages'],
    ],
    ['a batch of nobody', "INSERT INTO batch VALUES (999, 99, 4, 5, 0, '[]')", ['batch 999 (positions 4 to 5) belongs to no session']],
    [
      'rows of nobody',
      "INSERT INTO message (stream, ordinal, position, body) VALUES (99, 0, 1, '{}'); INSERT INTO block VALUES (99, 1, '')",
      ['1 rows of message belong to no session (99)', '1 blocks belong to no session (99)'],
    ],
    ['another count', 'UPDATE session_count SET n = 9', ['the count of active sessions of alice is off by 6']],
    ['a key that cannot be read', "UPDATE idempotency SET outcome = '{'", ['the record of idempotency key k (s) cannot be read']],
    ['a key without an outcome', "UPDATE idempotency SET outcome = '{}'", ['the record of idempotency key k (s) cannot be read']],
  ])('has %s named', async (_what, sql, expected) => {
    const log = await written()
    damage(
      log,
      sql.replaceAll(/key\((\d)\)/g, (_match, n: string) => `(SELECT key FROM stream WHERE id = '${log.ids[Number(n) - 1]}')`),
    )
    const { texts, totals } = found(log)
    const named = expected.map((text) => (typeof text === 'string' ? text.replace(/^\$(\d)/, (_match, n: string) => log.ids[Number(n) - 1] ?? '') : text))
    expect(texts.slice(0, named.length)).toEqual(named)
    expect(totals.findings).toBe(texts.length)
    if (_what !== 'a block that is gone') expect(texts).toHaveLength(named.length)
  })

  test('has its damaged events counted, and those of a newer version apart', async () => {
    const log = await written()
    damage(log, `UPDATE batch SET body = '[' WHERE first = 10; UPDATE batch SET body = '[{"type":"Later","v":2}]' WHERE feed = 3`)
    expect(found(log).totals).toMatchObject({ damaged: 3, unknown: 1, findings: 1 })
  })

  test('has a missing output file named, and finds one where the folder was moved to', async () => {
    const events = (run: string) => [
      ...callsOf(run),
      {
        type: 'ToolCompleted',
        runId: runId(run),
        toolCallId: 'c1',
        toolName: 'bash',
        result: 'cut',
        isError: false,
        outputFile: '/elsewhere/outputs/s/cut.log',
      } as const,
    ]
    const stream = sessionId(freshId())
    const log = await written(async (store) => {
      const run = freshId()
      await store.commit([create(stream), send(stream, run)])
      await store.commit([recordWrite(stream, run, events(run))])
    })
    expect(found(log).texts).toEqual([`${stream}: the output of position 6 is missing: /elsewhere/outputs/s/cut.log`])
    mkdirSync(join(log.folder, 'outputs', stream), { recursive: true })
    writeFileSync(join(log.folder, 'outputs', stream, 'cut.log'), 'all of it')
    expect(found(log).texts).toEqual([])
  })

  test('has a damaged page of the file named, and goes on', async () => {
    const log = await written()
    const db = new DatabaseSync(join(log.folder, 'convoke.db'))
    const { rootpage } = db.prepare("SELECT rootpage FROM sqlite_schema WHERE name = 'session_by_owner'").get() as { rootpage: number }
    db.close()
    const file = readFileSync(join(log.folder, 'convoke.db'))
    // The page size stands at byte 16 (sqlite.org/fileformat2.html).
    file.fill(0, (rootpage - 1) * file.readUInt16BE(16), rootpage * file.readUInt16BE(16))
    writeFileSync(join(log.folder, 'convoke.db'), file)
    const { texts, totals } = found(log)
    expect(texts).toEqual(Array.from(texts, () => expect.stringMatching(/^SQLite: /)))
    expect([texts.length > 0, totals.events]).toEqual([true, 221])
  })

  test('that is none is refused', () => {
    expect(() => checkLog({ folder: '/nowhere', outputs: 'outputs' }, () => undefined)).toThrow('there is no log in /nowhere')
  })
})
