/** How fast a server is there, and what it costs while nothing happens. */
import { setTimeout as pause } from 'node:timers/promises'
import type { Bench } from './support/bench.ts'
import { ms } from './support/bench.ts'
import { interleave, median } from './support/measure.ts'
import { startConvoke, startFloor, type Measured } from './support/process.ts'

const ROUNDS = 10
const SETTLE_MS = 2000

export const start: Bench = {
  name: 'start',
  about: 'from the start of the process to the line that says where it listens, on an empty data folder. Floor: a bare http server',
  async run() {
    const startMs = async (server: Promise<Measured>) => {
      const running = await server
      await running.stop()
      return running.startMs
    }
    const found = await interleave(ROUNDS, { ours: () => startMs(startConvoke()), floor: () => startMs(startFloor('echo')) })
    const idle = await startConvoke()
    await pause(SETTLE_MS)
    const mb = idle.rss() / 1024 / 1024
    await idle.stop()
    const us = median(found.ours)
    return [
      { what: 'start to listening', ours: ms(us), floor: ms(median(found.floor)), target: 'under 400 ms', met: us < 400 },
      { what: 'idle memory', ours: `${mb.toFixed(0)} MB`, target: 'under 90 MB', met: mb < 90 },
    ]
  },
}
