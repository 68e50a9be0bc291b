import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Readable } from 'node:stream'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { SessionId } from '../../../domain/ids.ts'
import type { SessionReads } from '../../../projection/reads.ts'
import type { Store } from '../../../log/store.ts'
import { runId, sessionId } from '../../../domain/ids.ts'
import { READ_EVENTS_MAX } from '../../../log/store.ts'
import { systemRandom } from '../../../system/random.ts'
import { callsOf, fillLog, recordWrite } from '../../../testing/filled-log.ts'
import { create, erase, fork, freshId, send } from '../../../testing/writes.ts'
import { openSqliteStore } from '../store.ts'
import { checkLog } from './check.ts'
import { exportSession } from './export.ts'
import { importSession } from './import.ts'
import { openReadOnly } from './open.ts'

const open = (folder: string) => openSqliteStore({ folder, random: systemRandom, worker: false })
const at = (folder: string) => ({ folder, outputs: 'outputs' })

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'convoke-import-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

async function emptyLog(): Promise<string> {
  const folder = newFolder()
  await (await open(folder)).close()
  return folder
}

function write(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
}

interface Filled {
  readonly folder: string
  /** A long session, one that waits, an empty one, a fork of the long one, one with an output file. */
  readonly ids: readonly [SessionId, SessionId, SessionId, SessionId, SessionId]
}

async function filled(): Promise<Filled> {
  const folder = newFolder()
  const store = await open(folder)
  const [long, waiting, empty] = await fillLog(store)
  const [forked, tooled] = [sessionId(freshId()), sessionId(freshId())]
  await store.commit([fork(forked, long, 213), create(tooled)])
  const run = freshId()
  await store.commit([send(forked, freshId()), send(tooled, run)])
  const outputFile = join(folder, 'outputs', tooled, 'whole.log')
  write(outputFile, 'line ü\n'.repeat(300_000))
  const done = { type: 'ToolCompleted', runId: runId(run), toolCallId: 'c1', toolName: 'bash', result: 'cut', isError: false, outputFile } as const
  await store.commit([recordWrite(tooled, run, [...callsOf(run), done])])
  await store.close()
  return { folder, ids: [long, waiting, empty, forked, tooled] }
}

function exported(folder: string, id: string, options = {}): readonly string[] {
  const db = openReadOnly(join(folder, 'convoke.db'))
  const lines = [...exportSession(db, at(folder), id, options)]
  db.close()
  return lines
}

const bring = (folder: string, lines: readonly string[] | string, as?: string) =>
  importSession(at(folder), Readable.from([Buffer.from(typeof lines === 'string' ? lines : lines.join(''))]), as)

function findings(folder: string): readonly string[] {
  const found: string[] = []
  checkLog(at(folder), ({ text }) => found.push(text))
  return found
}

async function seen(store: Store & SessionReads, id: SessionId) {
  const events = []
  for (;;) {
    const page = await store.read(id, events.length, READ_EVENTS_MAX)
    events.push(...(page?.events ?? []))
    if (page === undefined || events.length >= page.head) break
  }
  const messages = await store.messages(id, { limit: 1000, offset: 0 })
  return { events, messages, summary: await store.session(id), state: await store.state(id) }
}

/** Lines with a trailer that fits them. */
function sealed(lines: readonly string[], events = lines.length - 1): string {
  const text = lines.map((line) => (line.endsWith('\n') ? line : `${line}\n`)).join('')
  return `${text}${JSON.stringify({ events, sha256: createHash('sha256').update(text).digest('hex') })}\n`
}

test('a session is exported byte for byte the same after it was packed', async () => {
  const { folder, ids } = await filled()
  const before = [exported(folder, ids[0]), exported(folder, ids[3])]
  const store = await open(folder)
  const batches = () => checkLog(at(folder), () => undefined).batches
  const unpacked = batches()
  while (await store.pack(Infinity));
  await store.close()
  expect(batches()).toBeLessThan(unpacked / 2)
  expect([exported(folder, ids[0]), exported(folder, ids[3])]).toEqual(before)
})

describe('a session that is exported', () => {
  test('has a header, a line per event, and a trailer that vouches for them', async () => {
    const { folder, ids } = await filled()
    const lines = exported(folder, ids[2])
    const logId = await open(folder).then(async (store) => (await store.close(), store.logId))
    expect(lines).toEqual([
      `{"format":"convoke-session","version":1,"session":"${ids[2]}","owner":"alice","log":"${logId}","events":1,"createdAtMs":1000,"updatedAtMs":1000}\n`,
      '{"position":1,"atMs":1000,"event":{"type":"SessionCreated","owner":"alice","title":"a title","agent":"convoke"}}\n',
      `{"events":1,"sha256":"${createHash('sha256').update(lines.slice(0, 2).join('')).digest('hex')}"}\n`,
    ])
  })

  test('is the same in another log as in its own: events, messages, summary, state, lines', async () => {
    const { folder, ids } = await filled()
    const target = await emptyLog()
    const first = ids.map((id) => exported(folder, id))
    for (const lines of first) await bring(target, lines)
    expect(findings(target)).toEqual([])
    const [before, after] = [await open(folder), await open(target)]
    for (const id of ids) expect(await seen(after, id)).toEqual(await seen(before, id))
    expect((await after.sessions({ owner: 'alice' as never, limit: 10 })).total).toBe(5)
    await before.close()
    await after.close()
    const again = ids.map((id) => exported(target, id))
    const bare = (lines: readonly string[]) => lines.slice(1, -1)
    expect(again.map(bare)).toEqual(first.map(bare))
    for (const [index, lines] of again.entries()) {
      const header = JSON.parse(lines[0] ?? '') as object
      expect({ ...header, log: '' }).toEqual({ ...(JSON.parse(first[index]?.[0] ?? '') as object), log: '' })
    }
  })

  test('brings its output files along', async () => {
    const { folder, ids } = await filled()
    const target = await emptyLog()
    expect(await bring(target, exported(folder, ids[4]))).toEqual({ session: ids[4], events: 6, outputs: 1, unfinished: true })
    const file = join('outputs', ids[4], 'whole.log')
    expect(readFileSync(join(target, file)).equals(readFileSync(join(folder, file)))).toBe(true)
    rmSync(join(folder, 'outputs'), { recursive: true })
    const missing: string[] = []
    expect(exported(folder, ids[4], { missing: (path: string) => missing.push(path) })).toHaveLength(8)
    expect(missing).toEqual([join(folder, file)])
    expect(exported(target, ids[4]).length).toBeGreaterThan(8)
  })

  test('takes no file along that is not among the outputs', async () => {
    const { folder, ids } = await filled()
    write(join(folder, 'secret.txt'), 'secret')
    const lines = exported(folder, ids[4]).filter((line) => line.startsWith('{"position"') || line.startsWith('{"format"'))
    const target = await emptyLog()
    const foreign = lines.map((line) => line.replace(join(folder, 'outputs', ids[4], 'whole.log'), join(folder, 'secret.txt')))
    await bring(target, sealed(foreign))
    expect(exported(target, ids[4]).join('')).not.toContain('"output"')
  })

  test('keeps events that this version does not know', async () => {
    const { folder, ids } = await filled()
    const newer = '{"position":2,"atMs":5,"event":{"type":"Later","v":7,"z":[1,{"a":null}],"a":"ü 🦊"}}\n'
    const lines = [(exported(folder, ids[2])[0] ?? '').replace('"events":1', '"events":2'), exported(folder, ids[2])[1] ?? '', newer]
    const target = await emptyLog()
    await bring(target, sealed(lines))
    expect(exported(target, ids[2])[2]).toBe(newer)
  })

  test('is read page by page, up to the head of the beginning, while it grows', async () => {
    const { folder, ids } = await filled()
    const store = await open(folder)
    const db = openReadOnly(join(folder, 'convoke.db'))
    const lines = exportSession(db, at(folder), ids[0])
    const header = JSON.parse(lines.next().value ?? '') as { events: number }
    const run = freshId()
    await store.commit([send(ids[0], run)])
    const rest = [...lines]
    expect([header.events, rest.length, JSON.parse(rest.at(-1) ?? '')]).toEqual([214, 215, { events: 214, sha256: expect.any(String) }])
    db.close()
    await store.close()
  })

  test('of which events are lost is refused, unless marks in their places will do', async () => {
    const { folder, ids } = await filled()
    const db = new DatabaseSync(join(folder, 'convoke.db'))
    db.exec(
      `UPDATE batch SET body = 'x' WHERE segment = 1 AND first = 10; DELETE FROM batch WHERE segment = 1 AND first = 16; DELETE FROM batch WHERE segment = 1 AND last = 214`,
    )
    db.close()
    expect(() => exported(folder, ids[0])).toThrow('position 10 of session')
    const lines = exported(folder, ids[0], { damaged: true })
    const lost = lines.flatMap((line) => (line.includes('{"type":"damaged"}') ? [(JSON.parse(line) as { position: number }).position] : []))
    expect([lines.length, lost]).toEqual([216, [10, 11, 12, 16, 17, 18, 214]])
    const target = await emptyLog()
    expect(await bring(target, lines)).toMatchObject({ events: 214 })
    const store = await open(target)
    expect((await store.read(ids[0], 9, 2))?.events).toMatchObject([{ position: 10, event: { type: 'Unknown', originalType: 'damaged' } }, { position: 11 }])
    await store.close()
  })

  test('that is not there says so', async () => {
    const { folder } = await filled()
    expect(() => exported(folder, freshId())).toThrow('there is no session')
  })
})

describe('an import', () => {
  test('of a session that is there is refused, under another id it is a second one', async () => {
    const { folder, ids } = await filled()
    const lines = exported(folder, ids[0])
    await expect(bring(folder, lines)).rejects.toMatchObject({ code: 'session_exists' })
    const as = sessionId(freshId())
    expect(await bring(folder, lines, as.toUpperCase())).toMatchObject({ session: as, events: 214 })
    await expect(bring(folder, lines, 'mine')).rejects.toThrow('mine is no session id: a UUID')
    expect(findings(folder)).toEqual([])
    expect(exported(folder, as).slice(1, -1)).toEqual(lines.slice(1, -1))
  })

  test('of a run that has not ended makes it the next driver’s; it goes on in one session only', async () => {
    const { folder, ids } = await filled()
    const lines = exported(folder, ids[1]).map((line) => line.replaceAll('"driver":1', '"driver":41'))
    const target = await emptyLog()
    expect(await bring(target, sealed(lines.slice(0, -1)))).toMatchObject({ unfinished: true })
    const store = await open(target)
    expect(await store.unfinishedRuns(9)).toMatchObject([{ stream: ids[1], driver: 41, fence: 1 }])
    expect(store.driver).toBe(42)
    await store.close()
    await expect(bring(target, sealed(lines.slice(0, -1)), freshId())).rejects.toMatchObject({
      code: 'session_exists',
      message: expect.stringContaining('can go on only once'),
    })
  })

  test('into a folder that is in use, or has no log, or an older one, is refused', async () => {
    const { folder, ids } = await filled()
    const lines = exported(folder, ids[0])
    const target = newFolder()
    await expect(bring(target, lines)).rejects.toThrow(`there is no log in ${target}`)
    const store = await open(target)
    await expect(bring(target, lines)).rejects.toMatchObject({ code: 'store_locked' })
    await store.close()
    const db = new DatabaseSync(join(target, 'convoke.db'))
    db.exec('PRAGMA user_version = 1')
    db.close()
    await expect(bring(target, lines)).rejects.toThrow('has format 1 of an older version')
  })

  test('of a session that was erased is refused while forks still read it; a fork is exported whole without its origin', async () => {
    const { folder, ids } = await filled()
    const [lines, forked] = [exported(folder, ids[0]), exported(folder, ids[3])]
    const store = await open(folder)
    await store.commit([erase(ids[0])])
    while (await store.sweep());
    await store.close()
    await expect(bring(folder, lines)).rejects.toMatchObject({ code: 'session_exists', message: expect.stringContaining('was erased here') })
    expect(exported(folder, ids[3])).toEqual(forked)
    const as = freshId()
    await bring(folder, lines, as)
    expect(findings(folder)).toEqual([])
    expect(exported(folder, as).slice(1, -1)).toEqual(lines.slice(1, -1))
  })

  const change = (index: number, from: string | RegExp, to: string) => (lines: readonly string[]) =>
    lines.map((line, at) => (at === index ? line.replace(from, to) : line)).join('')
  test.each<[string, (lines: readonly string[]) => string, string]>([
    ['is empty', () => '', 'line 1: the end is missing'],
    ['is something else', () => '{"hello":"world"}\n', 'line 1: this is no exported session'],
    ['is no JSON', () => 'hello\n', 'line 1: it is no JSON object'],
    ['lacks its end', (lines) => lines.slice(0, -1).join(''), 'line 216: the end is missing'],
    ['is cut off', (lines) => lines.join('').slice(0, -200), 'line 215: it is no JSON object'],
    ['has a line that is damaged', change(100, '{', ''), 'line 101: it is no JSON object'],
    ['has a line of something else', change(100, '"event"', '"evnt"'), 'line 101: it is neither an event nor an output file nor the end'],
    ['has an event too few', (lines) => lines.toSpliced(100, 1).join(''), 'line 101: position 100 was expected, 101 is there'],
    ['has an event twice', (lines) => lines.toSpliced(100, 0, lines[100] ?? '').join(''), 'line 102: position 101 was expected, 100 is there'],
    ['has an event changed', change(100, 'word', 'w0rd'), 'line 216: the checksum is another one'],
    ['has its header changed', change(0, 'alice', 'mallory'), 'line 216: the checksum is another one'],
    ['has something behind its end', (lines) => `${lines.join('')}{}\n`, 'line 217: there is something behind the end'],
    ['has bytes that are no text', (lines) => lines.join('').replace('word', 'w\u{fffd}'), 'line 216: the checksum is another one'],
    [
      'promises more than it has',
      (lines) => sealed([(lines[0] ?? '').replace('"events":214', '"events":215'), ...lines.slice(1, -1)]),
      '215 events were promised, 214 are there',
    ],
    ['says another number at its end', (lines) => sealed(lines.slice(0, -1), 3), '214 events were promised, 214 are there'],
    [
      'says another owner',
      (lines) => sealed([(lines[0] ?? '').replace('alice', 'bob'), ...lines.slice(1, -1)]),
      'the events say another owner than the header',
    ],
    [
      'begins with another event',
      (lines) => sealed([lines[0] ?? '', (lines[2] ?? '').replace('"position":2', '"position":1')]),
      'line 2: the first event must create the session',
    ],
    ['has several events in one', (lines) => sealed([lines[0] ?? '', (lines[1] ?? '').replace('"type"', '"deltas":[1,2],"type"')]), 'line 2: it is neither'],
    [
      'has an output file that leads elsewhere',
      (lines) => sealed([...lines.slice(0, -1), '{"output":"../../x","part":0,"base64":""}']),
      'line 216: the name of an output file leads elsewhere',
    ],
    [
      'has an output file without its beginning',
      (lines) => sealed([...lines.slice(0, -1), '{"output":"x","part":1,"base64":""}']),
      'part 0 of output file x was expected, 1 is there',
    ],
    ['has a header without a session', (lines) => sealed([(lines[0] ?? '').replace(/"session":"[^"]*"/, '"session":"x"')]), 'line 1: the header lacks session'],
  ])('of a file that %s is refused whole', async (_what, spoil, message) => {
    const { folder, ids } = await filled()
    const target = await emptyLog()
    await expect(bring(target, spoil(exported(folder, ids[0])))).rejects.toMatchObject({ code: 'invalid_request', message: expect.stringContaining(message) })
    expect(checkLog(at(target), () => undefined)).toMatchObject({ sessions: 0, batches: 0, findings: 0 })
    expect(readdirSync(target).filter((name) => name === 'importing' || name === 'outputs')).toEqual([])
    // Nothing is in the way of the sound one.
    expect(await bring(target, exported(folder, ids[0]))).toMatchObject({ events: 214 })
  })

  test('of a file of a newer format is refused, naming both', async () => {
    const { folder, ids } = await filled()
    const newer = exported(folder, ids[0]).join('').replace('"version":1', '"version":2')
    await expect(bring(folder, newer)).rejects.toMatchObject({
      code: 'store_newer',
      message: 'the file has format 2, this version of convoke knows up to 1: use a newer convoke',
    })
  })

  test('that is refused leaves no output file', async () => {
    const { folder, ids } = await filled()
    const target = await emptyLog()
    await expect(bring(target, exported(folder, ids[4]).join('').replace('"cut"', '"cat"'))).rejects.toThrow('the checksum is another one')
    expect([existsSync(join(target, 'outputs')), existsSync(join(target, 'importing'))]).toEqual([false, false])
  })
})
