/** Latency of everybody else while one reader does not read. */
import type { IncomingMessage } from 'node:http'
import { Agent } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import type { Bench } from './support/bench.ts'
import { ms, ratio } from './support/bench.ts'
import { newSession, open, say } from './support/http.ts'
import { inParallel, interleave, median, quantile } from './support/measure.ts'
import { startConvoke } from './support/process.ts'

const SESSIONS = 50
const PACE_MS = 10
const ROUNDS = 5
const ROUND_MS = 2500
/** How long it takes until nothing more goes into the sockets of a reader that does not read, in ms. */
const FILL_MS = 4000

export const stalled: Bench = {
  name: 'stalled',
  about: `delay of a token for readers of ${SESSIONS} sessions at ${1000 / PACE_MS} tokens/s while another reader of everything has stopped reading; floor: the same without that reader`,
  async run() {
    const ours = await startConvoke({ models: { demoPaceMs: PACE_MS, discover: false } })
    const streams: IncomingMessage[] = []
    try {
      const sessions: string[] = []
      await inParallel(SESSIONS, 16, async () => void sessions.push(await newSession(ours.url)))
      let delays: number[] = []
      for (const session of sessions) {
        const stream = await open(`${ours.url}/v1/sessions/${session}/events`)
        stream.on('data', (chunk: Buffer) => {
          const stamp = /"timestamp":"([^"]+)"/.exec(chunk.toString('latin1'))?.[1]
          if (stamp !== undefined) delays.push(Date.now() - Date.parse(stamp))
        })
        streams.push(stream)
      }
      const talking = Promise.all(
        sessions.map((session) => say(ours.url, session, `count to ${Math.ceil(((ROUNDS + 1) * (2 * ROUND_MS + FILL_MS)) / PACE_MS) + 2000}`)),
      )
      await talking
      const p99 = async () => {
        delays = []
        await pause(ROUND_MS)
        return quantile(delays, 0.99)
      }
      const agent = new Agent({ keepAlive: false })
      const found = await interleave(ROUNDS, {
        without: p99,
        with: async () => {
          const deaf = await open(`${ours.url}/v1/events?events=all`, 'GET', undefined, agent)
          deaf.on('error', () => undefined)
          deaf.pause()
          // Until the sockets are full it is a reader like any other.
          await pause(FILL_MS)
          const figure = await p99()
          deaf.destroy()
          return figure
        },
      })
      const [beside, alone] = [median(found.with), median(found.without)]
      return [
        {
          what: 'delay of a token, p99',
          ours: `${ms(beside)} (${ratio(beside / alone)})`,
          floor: ms(alone),
          target: 'at most 1.2x',
          met: beside <= alone * 1.2,
        },
      ]
    } finally {
      for (const stream of streams) stream.destroy()
      await ours.stop()
    }
  },
}
