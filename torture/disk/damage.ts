/** A log is damaged byte by byte; then it is opened by the engine, and a part of the times by a real server. */
import { cpSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { checkLog } from '../../src/storage/sqlite/maintenance/check.ts'
import { json } from '../../bench/support/http.ts'
import { startChild, wrongInRefusal } from '../faults/child.ts'
import { said } from '../support/undo.ts'
import { within } from '../support/wait.ts'
import { logOf } from '../faults/wire.ts'
import { feedOf, transactionEnds, type Base } from './base.ts'

const WAL = 'convoke.db-wal'
const SHM = 'convoke.db-shm'
const DB = 'convoke.db'
const PAGE = 4096
/** A server's answer to a damaged log, in ms. */
const ANSWER_MS = 20_000

/** What is counted. */
export interface Tally {
  readonly base: Base
  readonly random: () => number
  readonly lost: string[]
  /** How often each outcome came, by kind of damage. */
  readonly counts: Map<string, Map<string, number>>
}

function count({ counts }: Tally, kind: string, outcome: string): void {
  const of = counts.get(kind) ?? new Map<string, number>()
  counts.set(kind, of.set(outcome, (of.get(outcome) ?? 0) + 1))
}

const CLEAR = new Set(['store_damaged', 'store_failed', 'store_newer', 'store_locked'])

/** Opens a damaged copy of the base with the engine. `mayLose` says that the end of the log may be gone: what a power cut tears. */
async function openDamaged(tally: Tally, kind: string, damage: (folder: string) => void, mayLose = false): Promise<void> {
  const { base, lost } = tally
  const folder = `${base.folder}-case`
  rmSync(folder, { recursive: true, force: true })
  cpSync(base.folder, folder, { recursive: true, filter: (path) => !/workspaces|outputs/.test(path) })
  try {
    damage(folder)
    const found = await feedOf(folder)
    const wrong = found.findIndex((batch, index) => batch !== base.feed[index])
    if (wrong !== -1) lost.push(`${kind}: batch ${wrong + 1} is not what was acknowledged: ${found[wrong]?.slice(0, 200)}`)
    else if (found.length < base.feed.length && !mayLose) lost.push(`${kind}: ${base.feed.length - found.length} acknowledged batches are gone without a word`)
    count(tally, kind, found.length === base.feed.length ? 'whole' : 'without its end')
  } catch (error) {
    const { code } = error as { code?: string }
    if (!CLEAR.has(code ?? '')) lost.push(`${kind}: the refusal was ${code ?? ''} ${said(error)}`)
    count(tally, kind, 'refused')
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Tears the write-ahead log in every way, `times` of each. */
export async function tearWal(tally: Tally, times: number): Promise<void> {
  const { base, random } = tally
  const size = statSync(join(base.folder, WAL)).size
  const ends = transactionEnds(base.folder)
  // What stands behind it was under way when the power went, as far as anybody can see.
  const lastSure = ends.at(-3) ?? 0
  const at = (below: number) => Math.floor(random() * below)
  const withoutIndex = (folder: string) => rmSync(join(folder, SHM), { force: true })
  for (let index = 0; index < times; index++) {
    const [cut, offset, early, within_] = [at(size), at(size), at(lastSure), lastSure + at(size - lastSure)]
    const bit = 1 << at(8)
    await openDamaged(tally, 'write-ahead log cut off', (folder) => truncateSync(join(folder, WAL), cut))
    await openDamaged(tally, 'one bit of the write-ahead log', (folder) => flip(join(folder, WAL), offset, bit))
    await openDamaged(tally, 'zeros at the end of the write-ahead log', (folder) => blank(join(folder, WAL), offset, size - offset))
    await openDamaged(tally, 'a blank sector in the write-ahead log', (folder) => blank(join(folder, WAL), offset - (offset % 512), 512))
    // After a power cut the index is not to be trusted, and often not there.
    await openDamaged(tally, 'one bit, without the index', (folder) => (flip(join(folder, WAL), early, bit), withoutIndex(folder)))
    await openDamaged(tally, 'a torn last transaction', (folder) => (truncateSync(join(folder, WAL), within_), withoutIndex(folder)), true)
    await openDamaged(tally, 'cut off, without the index', (folder) => (truncateSync(join(folder, WAL), cut), withoutIndex(folder)), true)
  }
}

function flip(file: string, offset: number, bits: number): void {
  const bytes = readFileSync(file)
  bytes[offset] = (bytes[offset] ?? 0) ^ bits
  writeFileSync(file, bytes)
}

function blank(file: string, from: number, length: number): void {
  const bytes = readFileSync(file)
  bytes.fill(0, from, Math.min(bytes.length, from + length))
  writeFileSync(file, bytes)
}

/** Pages of the database by the table or index that they belong to. */
function pagesOf(folder: string): ReadonlyMap<string, readonly number[]> {
  const db = new DatabaseSync(join(folder, DB), { readOnly: true })
  try {
    const rows = db.prepare('SELECT name, pageno FROM dbstat').all() as unknown as readonly { name: string; pageno: number }[]
    return new Map([...new Set(rows.map(({ name }) => name))].map((name) => [name, rows.filter((row) => row.name === name).map(({ pageno }) => pageno)]))
  } finally {
    db.close()
  }
}

/**
 * Damages the database itself: its pages have no checksums, so that a start may pass over it. Whatever a server then does, it crashes in no other way than
 * by one clear line, and answers no request without a code. What it passes over, `convoke db check` must find, or readers see it.
 */
export async function damagePages(tally: Tally, perTable: number, share: number): Promise<void> {
  const { base, random } = tally
  const whole = `${base.folder}-closed`
  cpSync(base.folder, whole, { recursive: true, filter: (path) => !/workspaces|outputs/.test(path) })
  await feedOf(whole)
  const pages = pagesOf(whole)
  for (const [name, numbers] of pages) {
    if (random() >= share) continue
    for (let index = 0; index < perTable; index++) {
      const page = numbers[Math.floor(random() * numbers.length)] ?? 1
      const at = (page - 1) * PAGE
      const offset = at + Math.floor(random() * PAGE)
      const sector = at + Math.floor(random() * 8) * 512
      if (random() < 0.5) await serveDamaged(tally, `one byte of ${name}`, whole, (folder) => flip(join(folder, DB), offset, 0xff))
      else await serveDamaged(tally, `a blank sector of ${name}`, whole, (folder) => blank(join(folder, DB), sector, 512))
    }
  }
  const size = statSync(join(whole, DB)).size
  for (let index = 0; index < perTable * 4; index++) {
    const cut = Math.floor(random() * size)
    await serveDamaged(tally, 'database cut off', whole, (folder) => truncateSync(join(folder, DB), cut))
  }
  rmSync(whole, { recursive: true, force: true })
}

async function serveDamaged(tally: Tally, kind: string, whole: string, damage: (folder: string) => void): Promise<void> {
  const folder = `${tally.base.folder}-case`
  rmSync(folder, { recursive: true, force: true })
  cpSync(whole, folder, { recursive: true })
  const group = kind.replace(/ of \w+$/, ' of a table')
  try {
    damage(folder)
    const check = checked(folder)
    const start = await startChild({ data: folder })
    if (start.kind === 'refused') {
      const wrong = wrongInRefusal(start)
      if (wrong !== undefined) tally.lost.push(`${kind}: ${wrong}`)
      return count(tally, group, 'refused')
    }
    const { child } = start
    try {
      const outcome = await within(ANSWER_MS, kind, answers(tally.base, child.url))
      const died = !child.alive
      // Where the page breaks a request, or a reader is told: it is seen.
      count(
        tally,
        group,
        died || outcome === 'visible' ? 'seen by readers' : outcome === 'whole' ? 'no harm' : check ? 'passed over, found by db check' : 'passed over',
      )
    } finally {
      const end = await child.kill('SIGTERM')
      const clear = end.code === 0 || (end.code === 1 && /^convoke: [^\n]+ \[store_\w+\]$/m.test(child.said))
      if (!clear || /^\s+at .*\(?(file|node):/m.test(child.said.replaceAll(/^\{.*\}$/gm, ''))) {
        tally.lost.push(`${kind}: the server ended with ${JSON.stringify(end)} and said ${JSON.stringify(child.said.slice(-500))}`)
      }
    }
  } catch (error) {
    tally.lost.push(`${kind}: ${said(error)}`)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** Whether `convoke db check` finds something. */
function checked(folder: string): boolean {
  try {
    return checkLog({ folder, outputs: 'outputs' }, () => undefined).findings > 0
  } catch {
    // What cannot even be opened or read is found, too.
    return true
  }
}

/** Reads everything, and writes. `visible`: something was refused, or shown as damaged. */
async function answers(base: Base, url: string): Promise<'whole' | 'visible' | 'other'> {
  const seen = new Set<string>()
  for (const [id, events] of base.shown) seen.add(await session(url, id, events))
  for (const request of [() => json(`${url}/v1/sessions?limit=1000`), () => json(`${url}/v1/sessions`, 'POST', { title: 'after' })]) {
    seen.add(await request().then(() => 'whole', refusal))
  }
  return seen.has('visible') ? 'visible' : seen.has('other') ? 'other' : 'whole'
}

async function session(url: string, id: string, events: readonly string[]): Promise<string> {
  try {
    const log = (await logOf(url, id, AbortSignal.timeout(3000))).map((event) => JSON.stringify(event))
    if (log.some((event) => event.includes('"Unknown"'))) return 'visible'
    return events.every((event, index) => event === log[index]) ? 'whole' : 'other'
  } catch (error) {
    return refusal(error)
  }
}

/** A refusal must have a code. A session that is not found where there was one is a loss that nobody is told of. */
function refusal(error: unknown): string {
  const text = said(error)
  if (/answered 404/.test(text)) return 'other'
  return 'visible'
}

/** Parts of the folder that are gone, or something else, before a real server. */
export async function missingFiles(tally: Tally): Promise<number> {
  const { base, lost } = tally
  const expected: readonly (readonly [string, 'whole' | 'refused', (folder: string) => void])[] = [
    ['nothing', 'whole', () => undefined],
    ['the index', 'whole', without(SHM)],
    ['the lock', 'whole', without('convoke.lock')],
    ['the pid file', 'whole', without('convoke.pid')],
    ['the mark', 'whole', without('convoke.driver')],
    ['the write-ahead log', 'refused', without(WAL)],
    ['the database', 'refused', without(DB)],
    ['the database and the lock', 'refused', without(DB, 'convoke.lock')],
    ['a good database: garbage', 'refused', instead(DB, Buffer.from('garbage '.repeat(2000)))],
    ['a good database: nothing', 'refused', instead(DB, Buffer.alloc(0))],
    ['a good write-ahead log: garbage', 'refused', instead(WAL, Buffer.from('garbage '.repeat(2000)))],
    ['a good lock: garbage', 'refused', instead('convoke.lock', Buffer.from('garbage '.repeat(2000)))],
  ]
  for (const [what, how, spoil] of expected) {
    const kind = `a folder without ${what}`
    const folder = `${base.folder}-case`
    cpSync(base.folder, folder, { recursive: true })
    spoil(folder)
    try {
      const start = await startChild({ data: folder })
      if (start.kind === 'refused') {
        const wrong = how === 'whole' ? `it was refused: ${start.said}` : wrongInRefusal(start)
        if (wrong !== undefined) lost.push(`${kind}: ${wrong}`)
      } else {
        if (how === 'refused') lost.push(`${kind}: the server started`)
        else if ((await answers(base, start.child.url)) !== 'whole') lost.push(`${kind}: something is gone`)
        await start.child.kill('SIGKILL')
      }
    } catch (error) {
      lost.push(`${kind}: ${said(error)}`)
    } finally {
      rmSync(folder, { recursive: true, force: true })
    }
  }
  return expected.length
}

function without(...names: readonly string[]): (folder: string) => void {
  return (folder) => names.forEach((name) => rmSync(join(folder, name), { force: true }))
}

function instead(name: string, bytes: Buffer): (folder: string) => void {
  return (folder) => writeFileSync(join(folder, name), bytes)
}
