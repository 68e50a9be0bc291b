/** The engines that a simulation runs over, each with a way to lose its process and be opened again. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { Random } from '../../src/domain/ports.ts'
import type { Engine } from '../../src/testing/simulation/disk.ts'
import type { Held } from './remains.ts'
import { memoryStore } from '../../src/storage/memory/store.ts'
import { openSqliteStore } from '../../src/storage/sqlite/store.ts'

/** An engine and its data. */
export interface EngineData {
  /** Opens the data, again where it was open. For whoever had it, it is closed, unless it is shared. */
  open(): Promise<Engine>
  /** What lies in its rows. */
  held(): Held
  /** Closes everything and removes the data. */
  destroy(): Promise<void>
}

/** New, empty data. */
export function engineData(kind: 'memory' | 'sqlite', random: Random, shared = false): EngineData {
  return kind === 'memory' ? inMemory(random, shared) : inFolder(random, shared)
}

function inMemory(random: Random, shared: boolean): EngineData {
  let store: ReturnType<typeof memoryStore> | undefined
  return {
    async open() {
      if (!shared) await store?.close()
      store = store === undefined ? memoryStore(random, { shared }) : store.reopen()
      return store
    },
    held() {
      const { events, messages, ...rest } = store?.held() ?? { events: [], messages: [] }
      return { text: JSON.stringify({ events, messages, ...rest }), events: events.length, messages: messages.length, stray: [] }
    },
    destroy: async () => store?.close(),
  }
}

function inFolder(random: Random, shared: boolean): EngineData {
  const folder = mkdtempSync(join(placeForFolders(), 'convoke-torture-'))
  const stores: Engine[] = []
  return {
    async open() {
      if (!shared) await stores.at(-1)?.close()
      const store = await openSqliteStore({ folder, random, worker: false, shared })
      stores.push(store)
      return store
    },
    held: () => inRows(join(folder, 'convoke.db')),
    async destroy() {
      for (const store of stores) await store.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** Rows that must lead to a session that is there, or to a segment that forks still read. */
const STRAY: readonly (readonly [string, string])[] = [
  ['rows of lists', 'SELECT count(*) AS n FROM session WHERE key NOT IN (SELECT key FROM stream)'],
  ['items', 'SELECT count(*) AS n FROM stream_item WHERE stream NOT IN (SELECT key FROM stream)'],
  ['heirs', 'SELECT count(*) AS n FROM inherit WHERE stream NOT IN (SELECT key FROM stream)'],
  ['orphans that nobody reads', 'SELECT count(*) AS n FROM orphan WHERE segment NOT IN (SELECT segment FROM inherit)'],
  ['orphans that are not swept', 'SELECT count(*) AS n FROM orphan WHERE swept = 0'],
  ['leftovers', 'SELECT count(*) AS n FROM leftover'],
  ['packed rows that are gone', 'SELECT count(*) AS n FROM pack WHERE last NOT IN (SELECT feed FROM batch)'],
  ...['block', 'batch'].map((table) => {
    return [`${table} rows`, `SELECT count(*) AS n FROM ${table} WHERE segment NOT IN (SELECT key FROM stream UNION SELECT segment FROM orphan)`] as const
  }),
]

function inRows(file: string): Held {
  const db = new DatabaseSync(file, { readOnly: true })
  try {
    const number = (sql: string) => Number(db.prepare(sql).get()?.['n'] ?? 0)
    const tables = db.prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'idempotency'").all()
    const text = tables.map(({ name }) => JSON.stringify(db.prepare(`SELECT * FROM "${String(name)}"`).all())).join('')
    const stray = STRAY.flatMap(([what, sql]) => (number(sql) === 0 ? [] : [`${number(sql)} ${what} are left`]))
    return { text, events: number('SELECT coalesce(sum(last - first + 1), 0) AS n FROM batch'), messages: number('SELECT count(*) AS n FROM message'), stray }
  } finally {
    db.close()
  }
}

/** In memory where that can be had: here processes die and the machine does not, so nothing is learned from a slow disk. */
function placeForFolders(): string {
  return existsSync('/dev/shm') ? '/dev/shm' : tmpdir()
}
