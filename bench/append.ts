/** Durable append, and what it does to the event loop. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { DatabaseSync } from 'node:sqlite'
import { join } from 'node:path'
import type { StreamEvent } from '../src/domain/event.ts'
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
  about: `${SESSIONS} sessions write ${EVENTS_PER_WRITE} tokens at a time, each waiting for its fsync. Floor: bare node:sqlite under FULL inserting the same events as they are, a row each, in transactions of the same size; beside it our packed rows, inserted and nothing else`,
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
        const one = driven[0] as Driven
        const plain = bareWriter(join(bareFolder, 'plain.db'), rowsOf(one))
        const packed = bareWriter(join(bareFolder, 'packed.db'), [encodeEvents(eventsOf(one))])
        const found = await interleave(ROUNDS, {
          ours: () => {
            delay.enable()
            return rate(() => Promise.all(driven.map(write))).finally(() => delay.disable())
          },
          plain: () => rate(async () => plain()),
          packed: () => rate(async () => packed()),
        })
        const [us, floor] = [median(found.ours), median(found.plain)]
        return [
          {
            what: 'events appended',
            ours: `${perSecond(us)} (${ratio(us / floor)})`,
            floor: perSecond(floor),
            target: 'at least 0.5x, 60,000/s',
            met: us / floor >= 0.5 && us >= 60_000,
          },
          { what: 'the same against bare packed rows', ours: ratio(us / median(found.packed)), floor: perSecond(median(found.packed)), target: 'reported' },
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

function eventsOf(one: Driven): readonly StreamEvent[] {
  const write = tokens(one, EVENTS_PER_WRITE)
  return write.kind === 'record' ? write.events : []
}

function rowsOf(one: Driven): readonly string[] {
  return eventsOf(one).map((event) => JSON.stringify(event))
}

/** Inserts `bodies` for each session in each transaction, and nothing else. */
function bareWriter(file: string, bodies: readonly string[]): () => void {
  const db = new DatabaseSync(file)
  db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE batch (feed INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT')
  const insert = db.prepare('INSERT INTO batch (body) VALUES (?)')
  return () => {
    for (let round = 0; round < WRITES_PER_SESSION; round++) {
      db.exec('BEGIN IMMEDIATE')
      for (let session = 0; session < SESSIONS; session++) for (const body of bodies) insert.run(body)
      db.exec('COMMIT')
    }
  }
}
