/** A server that was killed with a thousand runs under way: how soon all of them go on. */
import { DatabaseSync } from 'node:sqlite'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { Bench } from './support/bench.ts'
import { ms } from './support/bench.ts'
import { newSession, say } from './support/http.ts'
import { newFolder, remove } from './support/log.ts'
import { inParallel, median } from './support/measure.ts'
import { startConvoke } from './support/process.ts'

const RUNS = 1000
const ROUNDS = 3
/** Slow enough that no run ends before the kill. */
const CONFIG = { models: { demoPaceMs: 200, discover: false } }
const PATIENCE_MS = 30_000

export const recovery: Bench = {
  name: 'recovery',
  about: `a server is killed with ${RUNS} runs in the middle of a model call and started again`,
  async run() {
    const resumed: number[] = []
    const started: number[] = []
    for (let round = 0; round < ROUNDS; round++) {
      const { resumedMs, startMs } = await once1000()
      resumed.push(resumedMs)
      started.push(startMs)
    }
    return [
      { what: 'from listening to the last run that goes on', ours: ms(Math.max(0, median(resumed))), target: 'within 2,000 ms', met: median(resumed) <= 2000 },
      { what: 'from the start of the process to listening', ours: ms(median(started)), target: 'reported' },
    ]
  },
}

async function once1000(): Promise<{ readonly resumedMs: number; readonly startMs: number }> {
  const folder = newFolder()
  try {
    const first = await startConvoke(CONFIG, folder)
    await inParallel(RUNS, 32, async () => void (await say(first.url, await newSession(first.url), 'count to 5000')))
    await until(folder, 'TurnStarted')
    process.kill(first.pid, 'SIGKILL')
    const second = await startConvoke(CONFIG, folder)
    const listeningAt = Date.now()
    const lastAt = await until(folder, 'AttemptStarted')
    process.kill(second.pid, 'SIGKILL')
    return { resumedMs: lastAt - listeningAt, startMs: second.startMs }
  } finally {
    remove(folder)
  }
}

/** Resolves when the log holds an event of `type` for each run, with the time of the last one, in ms since the epoch. */
async function until(folder: string, type: string): Promise<number> {
  const db = new DatabaseSync(join(folder, 'convoke.db'), { readOnly: true, timeout: 5000 })
  const found = db.prepare(`SELECT count(*) AS n, max(at_ms) AS at FROM batch WHERE body LIKE ?`)
  try {
    for (let waited = 0; waited < PATIENCE_MS; waited += 100) {
      const { n, at } = found.get(`%"${type}"%`) as { n: number; at: number }
      if (n >= RUNS) return at
      await pause(100)
    }
    throw new Error(`not all runs had ${type} within ${PATIENCE_MS} ms`)
  } finally {
    db.close()
  }
}
