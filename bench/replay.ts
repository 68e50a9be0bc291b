/** A long session, read from its beginning. */
import type { Bench } from './support/bench.ts'
import { ms, perSecond } from './support/bench.ts'
import { open } from './support/http.ts'
import { newFolder, startDriven, tokens, withStore } from './support/log.ts'
import { median } from './support/measure.ts'
import { startConvoke } from './support/process.ts'

const EVENTS = 100_000
const EVENTS_PER_WRITE = 20
const ROUNDS = 5

export const replay: Bench = {
  name: 'replay',
  about: `a client reads a session of ${EVENTS} events from position 0`,
  async run() {
    const folder = newFolder()
    const stream = await withStore(folder, async (store) => {
      const driven = await startDriven(store)
      for (let done = 0; done < EVENTS; done += EVENTS_PER_WRITE) await store.commit([tokens(driven, EVENTS_PER_WRITE)])
      const cancel = { type: 'ForceCancel', runId: driven.run } as const
      await store.commit([{ kind: 'decide', stream: driven.stream, command: { ...cancel, type: 'CancelRun' }, asker: 'driver', atMs: Date.now() }])
      return driven.stream
    })
    const ours = await startConvoke({ models: { discover: false } }, folder)
    try {
      const rates: number[] = []
      const firsts: number[] = []
      for (let round = 0; round <= ROUNDS; round++) {
        const { firstMs, wholeMs } = await readAll(`${ours.url}/v1/sessions/${stream}/events?after=0&events=all`)
        if (round === 0) continue
        rates.push((EVENTS / wholeMs) * 1000)
        firsts.push(firstMs)
      }
      const [rate, first] = [median(rates), median(firsts)]
      return [
        { what: 'events read', ours: perSecond(rate), target: 'over 200,000/s', met: rate > 200_000 },
        { what: 'first byte of the first event', ours: ms(first), target: 'under 20 ms', met: first < 20 },
      ]
    } finally {
      await ours.stop()
    }
  },
}

/** Counts frames until all have come. */
async function readAll(url: string): Promise<{ readonly firstMs: number; readonly wholeMs: number }> {
  const start = performance.now()
  const response = await open(url)
  let firstMs = 0
  let seen = 0
  for await (const chunk of response) {
    const bytes = chunk as Buffer
    for (let at = bytes.indexOf('event: text_delta'); at !== -1; at = bytes.indexOf('event: text_delta', at + 1)) seen++
    if (firstMs === 0 && seen > 0) firstMs = performance.now() - start
    // A name that is cut by a chunk's edge is not counted: a few are missing at most.
    if (seen >= EVENTS * 0.99 && bytes.includes(`id: ${EVENTS}\n`)) break
  }
  response.destroy()
  return { firstMs, wholeMs: performance.now() - start }
}
