/** What a plain request costs. */
import type { Bench, Figure } from './support/bench.ts'
import { perSecond, ratio } from './support/bench.ts'
import { json, newSession } from './support/http.ts'
import { inParallel, interleave, median } from './support/measure.ts'
import { startConvoke, startFloor, type Measured } from './support/process.ts'

const REQUESTS = 10_000
const WIDTH = 32
const ROUNDS = 5

export const requests: Bench = {
  name: 'requests',
  about: `CPU of the server for one of ${REQUESTS} requests over ${WIDTH} connections. Floor: a bare Hono route with the same answer`,
  async run() {
    const ours = await startConvoke({ models: { discover: false } })
    const session = await newSession(ours.url)
    const detail = await json<object>(`${ours.url}/v1/sessions/${session}`)
    const floor = await startFloor('hono', [JSON.stringify(detail)])
    try {
      const get = await compare('GET /v1/sessions/{id}', ours, floor, {
        ours: () => json(`${ours.url}/v1/sessions/${session}`),
        floor: () => json(`${floor.url}/session`),
      })
      const post = await compare('POST /v1/sessions', ours, floor, {
        ours: () => json(`${ours.url}/v1/sessions`, 'POST', { title: 'bench' }),
        floor: () => json(`${floor.url}/session`, 'POST', { title: 'bench' }),
      })
      const creates = {
        what: 'durable creates',
        ours: perSecond(post.perSecond),
        target: 'over 2,000/s',
        met: post.perSecond > 2000,
      }
      return [get.figure, post.figure, creates]
    } finally {
      await Promise.all([ours.stop(), floor.stop()])
    }
  },
}

async function compare(
  what: string,
  ours: Measured,
  floor: Measured,
  ask: { readonly ours: () => Promise<unknown>; readonly floor: () => Promise<unknown> },
): Promise<{ readonly figure: Figure; readonly perSecond: number }> {
  const rates: number[] = []
  const cpuOf = async (server: Measured, one: () => Promise<unknown>): Promise<number> => {
    const before = server.cpuMs()
    const start = performance.now()
    await inParallel(REQUESTS, WIDTH, async () => void (await one()))
    if (server === ours) rates.push((REQUESTS / (performance.now() - start)) * 1000)
    return ((server.cpuMs() - before) * 1000) / REQUESTS
  }
  const found = await interleave(ROUNDS, { ours: () => cpuOf(ours, ask.ours), floor: () => cpuOf(floor, ask.floor) })
  const [us, bare] = [median(found.ours), median(found.floor)]
  const figure = { what, ours: `${us.toFixed(0)} us (${ratio(us / bare)})`, floor: `${bare.toFixed(0)} us`, target: 'at most 2.5x', met: us / bare <= 2.5 }
  return { figure, perSecond: median(rates) }
}
