/** How soon a message shows its first token, and how soon a small run is over. */
import type { IncomingMessage } from 'node:http'
import type { Bench } from './support/bench.ts'
import { ms, ratio } from './support/bench.ts'
import { json, newSession, open, say } from './support/http.ts'
import { interleave, median } from './support/measure.ts'
import { startConvoke, startFloor, type Measured } from './support/process.ts'

const ROUNDS = 200

/** Resolves when `text` has come on the stream. */
function until(stream: IncomingMessage, text: string): Promise<void> {
  return new Promise((resolve) => {
    const take = (chunk: Buffer) => {
      if (!chunk.includes(text)) return
      stream.off('data', take)
      resolve()
    }
    stream.on('data', take)
  })
}

export const firstToken: Bench = {
  name: 'first-token',
  about:
    'from sending a message to its first token on an open stream, model in the process and instant. Floor: a bare http server that echoes into an event stream',
  async run() {
    const ours = await startConvoke({ models: { demoPaceMs: 0, discover: false } })
    const floor = await startFloor('echo')
    try {
      const echo = await open(floor.url)
      const session = await newSession(ours.url)
      const stream = await open(`${ours.url}/v1/sessions/${session}/events`)
      stream.resume()
      echo.resume()
      const first = await interleave(ROUNDS, {
        ours: () => timeRun(ours, session, stream, 'event: thinking_delta'),
        floor: async () => {
          const start = performance.now()
          const seen = until(echo, 'text_delta')
          await json(floor.url, 'POST', { content: 'hi' })
          await seen
          return performance.now() - start
        },
      })
      const whole = await interleave(ROUNDS, { ours: () => timeRun(ours, session, stream, 'event: run_completed') })
      const [us, bare, run] = [median(first.ours), median(first.floor), median(whole.ours)]
      return [
        { what: 'first token, p50', ours: `${ms(us)} (${ratio(us / bare)})`, floor: ms(bare), target: 'at most 3x', met: us / bare <= 3 },
        { what: 'warm run of 20 tokens, p50', ours: ms(run), target: 'under 10 ms', met: run < 10 },
      ]
    } finally {
      await Promise.all([ours.stop(), floor.stop()])
    }
  },
}

/** Sends a message that the demo answers in about twenty tokens; ms until `text` comes. Waits for the run's end in any case. */
async function timeRun(ours: Measured, session: string, stream: IncomingMessage, text: string): Promise<number> {
  const start = performance.now()
  const ended = until(stream, 'event: run_completed')
  let seenMs = 0
  const seen = until(stream, text).then(() => (seenMs = performance.now() - start))
  await say(ours.url, session, 'count to 17')
  await seen
  await ended
  return seenMs
}
