/** A thousand runs at once at the pace of a fast provider. */
import type { IncomingMessage } from 'node:http'
import type { Bench } from './support/bench.ts'
import { ms } from './support/bench.ts'
import { newSession, open, say } from './support/http.ts'
import { inParallel, quantile } from './support/measure.ts'
import { startConvoke } from './support/process.ts'

const RUNS = 1000
const TOKENS = 250
const PACE_MS = 20

export const manyRuns: Bench = {
  name: 'many-runs',
  about: `${RUNS} runs at once, each ${TOKENS} tokens at ${1000 / PACE_MS} tokens/s, each with a reader of its own that follows all events`,
  async run() {
    const ours = await startConvoke({ models: { demoPaceMs: PACE_MS, discover: false } })
    try {
      const sessions: string[] = []
      await inParallel(RUNS, 32, async () => void sessions.push(await newSession(ours.url)))
      const delays: number[] = []
      const streams: IncomingMessage[] = []
      await inParallel(RUNS, 32, async (index) => void streams.push(await open(`${ours.url}/v1/sessions/${sessions[index]}/events?after=1&events=all`)))
      const followed = Promise.all(streams.map((stream) => follow(stream, delays)))
      const cpuBefore = ours.cpuMs()
      const begun = performance.now()
      await inParallel(RUNS, 64, async (index) => void (await say(ours.url, sessions[index] as string, `count to ${TOKENS}`)))
      const seen = await followed
      const seconds = (performance.now() - begun) / 1000
      const lost = seen.filter((count) => count === undefined).length
      const cpu = (ours.cpuMs() - cpuBefore) / 10 / seconds
      const events = seen.reduce<number>((sum, count) => sum + (count ?? 0), 0)
      return [
        { what: 'readers that missed an event or the end', ours: `${lost} of ${RUNS}`, target: '0', met: lost === 0 },
        { what: 'events delivered', ours: `${events.toLocaleString('en')} in ${seconds.toFixed(1)} s`, target: 'reported' },
        { what: 'CPU of the server', ours: `${cpu.toFixed(0)} % of a core`, target: 'reported' },
        { what: 'delay of a token, p50 / p99', ours: `${ms(quantile(delays, 0.5))} / ${ms(quantile(delays, 0.99))}`, target: 'reported' },
      ]
    } finally {
      await ours.stop()
    }
  },
}

/** Reads to the run's end; answers how many events came, or `undefined` if one was missing. */
async function follow(stream: IncomingMessage, delays: number[]): Promise<number | undefined> {
  let position = 1
  let rest = ''
  for await (const chunk of stream) {
    const text = rest + String(chunk)
    const end = text.lastIndexOf('\n\n') + 2
    rest = text.slice(end)
    for (let at = text.indexOf('id: '); at !== -1 && at < end; at = text.indexOf('\nid: ', at + 1)) {
      if (Number.parseInt(text.slice(text[at] === '\n' ? at + 5 : at + 4), 10) !== ++position) return undefined
    }
    const stamp = text.lastIndexOf('"timestamp":"', end)
    if (stamp !== -1) delays.push(Date.now() - Date.parse(text.slice(stamp + 13, stamp + 37)))
    if (text.includes('event: run_completed')) break
  }
  return position - 1
}
