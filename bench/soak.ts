/** Memory over a hundred thousand runs. */
import { finished } from 'node:stream/promises'
import type { Bench } from './support/bench.ts'
import { ratio } from './support/bench.ts'
import { newSession, open, say } from './support/http.ts'
import { inParallel, median } from './support/measure.ts'
import { startConvoke } from './support/process.ts'

const RUNS = 100_000
const SESSIONS = 2000
const AT_ONCE = 32
/** Runs between two looks at the memory. */
const SAMPLE = 500

export const soak: Bench = {
  name: 'soak',
  about: `resident memory of a server over ${RUNS.toLocaleString('en')} short runs in ${SESSIONS} sessions, each followed by a reader; the floor is what it held at half of them`,
  async run() {
    const ours = await startConvoke({ models: { demoPaceMs: 0, discover: false } })
    try {
      const sessions: string[] = []
      await inParallel(SESSIONS, 32, async () => void sessions.push(await newSession(ours.url)))
      const samples: number[] = []
      let done = 0
      // A session has one run at a time: each worker has sessions of its own.
      await inParallel(AT_ONCE, AT_ONCE, async (worker) => {
        const own = sessions.filter((_, index) => index % AT_ONCE === worker)
        for (let turn = 0; done < RUNS; turn++) {
          await oneRun(ours.url, own[turn % own.length] as string)
          if (++done % SAMPLE === 0) samples.push(ours.rss())
        }
      })
      const at = (from: number, to: number) => median(samples.slice(Math.floor(samples.length * from), Math.floor(samples.length * to)))
      const [half, end] = [at(0.4, 0.5), at(0.9, 1)]
      const mb = (bytes: number) => `${Math.round(bytes / 1e6)} MB`
      return [{ what: 'resident memory', ours: `${mb(end)} (${ratio(end / half)})`, floor: mb(half), target: 'at most 1.05x', met: end <= half * 1.05 }]
    } finally {
      await ours.stop()
    }
  },
}

async function oneRun(url: string, session: string): Promise<void> {
  const { position } = await say(url, session, 'count to 5')
  const stream = await open(`${url}/v1/sessions/${session}/events?after=${position - 1}&until=run_end`)
  await finished(stream.resume())
}
