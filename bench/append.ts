/** Durable append, and what it does to the event loop. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { DatabaseSync } from 'node:sqlite'
import { join } from 'node:path'
import type { Bench } from './support/bench.ts'
import { encodeEvents } from '../src/storage/sqlite/rows.ts'
import { ms, perSecond, ratio } from './support/bench.ts'
import { newFolder, remove, startDriven, tokens, withStore, type Driven } from './support/log.ts'
import { interleave, median } from './support/measure.ts'

const SESSIONS = 100
const EVENTS_PER_WRITE = 10
const WRITES_PER_SESSION = 100
const EVENTS = SESSIONS * EVENTS_PER_WRITE * WRITES_PER_SESSION
const ROUNDS = 5

export const append: Bench = {
  name: 'append',
  about: `${SESSIONS} sessions write ${EVENTS_PER_WRITE} tokens at a time, each waiting for its fsync. Floor: bare node:sqlite under FULL inserting the same bytes, ${SESSIONS} rows per transaction`,
  async run() {
    const folder = newFolder()
    const bareFolder = newFolder()
    try {
      return await withStore(folder, async (store) => {
        const driven = await Promise.all(Array.from({ length: SESSIONS }, () => startDriven(store)))
        const delay = monitorEventLoopDelay({ resolution: 1 })
        const write = async (one: Driven) => {
          for (let count = 0; count < WRITES_PER_SESSION; count++) await store.commit([tokens(one, EVENTS_PER_WRITE)])
        }
        const bare = bareWriter(join(bareFolder, 'bare.db'), driven[0] as Driven)
        const found = await interleave(ROUNDS, {
          ours: () => {
            delay.enable()
            return rate(() => Promise.all(driven.map(write))).finally(() => delay.disable())
          },
          floor: () => rate(async () => bare()),
        })
        const [us, floor] = [median(found.ours), median(found.floor)]
        return [
          {
            what: 'events appended',
            ours: `${perSecond(us)} (${ratio(us / floor)})`,
            floor: perSecond(floor),
            target: 'at least 0.5x, 60,000/s',
            met: us / floor >= 0.5 && us >= 60_000,
          },
          { what: 'event-loop delay meanwhile, p50 / p99', ours: `${ms(delay.percentile(50) / 1e6)} / ${ms(delay.percentile(99) / 1e6)}`, target: 'reported' },
        ]
      })
    } finally {
      remove(folder)
      remove(bareFolder)
    }
  },
}

async function rate(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await work()
  return (EVENTS / (performance.now() - start)) * 1000
}

/** Inserts as many rows with the same bodies, and nothing else. */
function bareWriter(file: string, one: Driven): () => void {
  const db = new DatabaseSync(file)
  db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE batch (feed INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT')
  const insert = db.prepare('INSERT INTO batch (body) VALUES (?)')
  const write = tokens(one, EVENTS_PER_WRITE)
  const body = encodeEvents(write.kind === 'record' ? write.events : [])
  return () => {
    for (let round = 0; round < WRITES_PER_SESSION; round++) {
      db.exec('BEGIN IMMEDIATE')
      for (let row = 0; row < SESSIONS; row++) insert.run(body)
      db.exec('COMMIT')
    }
  }
}
