/** One run, many readers. */
import { execFile } from 'node:child_process'
import { Agent, type IncomingMessage } from 'node:http'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import type { Bench, Figure } from './support/bench.ts'
import { ms, ratio } from './support/bench.ts'
import { json, newSession, open, say } from './support/http.ts'
import { inParallel, interleave, median, quantile } from './support/measure.ts'
import { startConvoke, startFloor } from './support/process.ts'

const TOKENS = { 1: 20_000, 100: 4000, 1000: 800 } as const
const ROUNDS = 5
const PACED_TOKENS = 100
const PACE_MS = 20

export const fanOut: Bench = {
  name: 'fan-out',
  about: 'one run read by many clients, to the last byte at the last reader. Floor: bare http writing the same bytes in the same pieces',
  async run() {
    const figures: Figure[] = []
    for (const readers of [1, 100, 1000] as const) figures.push(await throughput(readers))
    return [...figures, await delay(1000), await idleMemory(2000)]
  },
}

async function openReaders(url: string, count: number): Promise<{ readonly streams: readonly IncomingMessage[]; close(): void }> {
  const agent = new Agent({ keepAlive: false, maxSockets: Infinity })
  const streams: IncomingMessage[] = []
  await inParallel(count, 50, async () => void streams.push(await open(url, 'GET', undefined, agent)))
  for (const stream of streams) stream.on('error', () => undefined).resume()
  return { streams, close: () => agent.destroy() }
}

/** Resolves when each stream has shown the run's end. */
function allEnded(streams: readonly IncomingMessage[]): Promise<unknown> {
  return Promise.all(
    streams.map(
      (stream) =>
        new Promise<void>((resolve) => {
          const take = (chunk: Buffer) => {
            if (!chunk.includes('run_completed')) return
            stream.off('data', take)
            resolve()
          }
          stream.on('data', take)
        }),
    ),
  )
}

async function throughput(count: keyof typeof TOKENS): Promise<Figure> {
  const ours = await startConvoke({ models: { demoPaceMs: 0, discover: false } })
  const floor = await startFloor('fan-out')
  try {
    const session = await newSession(ours.url)
    const us = await openReaders(`${ours.url}/v1/sessions/${session}/events`, count)
    const bare = await openReaders(floor.url, count)
    // The pieces that the server wrote, as the first reader saw them: the floor writes the same.
    let sizes: number[] = []
    us.streams[0]?.on('data', (chunk: Buffer) => sizes.push(chunk.length))
    const found = await interleave(ROUNDS, {
      ours: async () => {
        sizes = []
        return timed(allEnded(us.streams), () => say(ours.url, session, `count to ${TOKENS[count]}`))
      },
      floor: () => timed(allEnded(bare.streams), () => json(floor.url, 'POST', sizes)),
    })
    us.close()
    bare.close()
    const [mine, theirs] = [median(found.ours), median(found.floor)]
    const bytes = sizes.reduce((sum, size) => sum + size, 0)
    const perMs = (bytes * count) / mine / 1000
    return {
      what: `${count} readers, ${TOKENS[count]} tokens`,
      ours: `${ms(mine)} (${perMs.toFixed(0)} MB/s, ${ratio(theirs / mine)})`,
      floor: ms(theirs),
      target: 'at least 0.6x',
      met: theirs / mine >= 0.6,
    }
  } finally {
    await Promise.all([ours.stop(), floor.stop()])
  }
}

async function timed(done: Promise<unknown>, begin: () => Promise<unknown>): Promise<number> {
  const start = performance.now()
  await begin()
  await done
  return performance.now() - start
}

/** How old an event is when a reader has it: the event's own time against the clock, both of this machine. */
async function delay(count: number): Promise<Figure> {
  const ours = await startConvoke({ models: { demoPaceMs: PACE_MS, discover: false } })
  try {
    const session = await newSession(ours.url)
    const readers = await openReaders(`${ours.url}/v1/sessions/${session}/events`, count)
    const delays: number[] = []
    for (const stream of readers.streams) {
      stream.on('data', (chunk: Buffer) => {
        const stamp = /"timestamp":"([^"]+)"/.exec(chunk.toString('latin1'))?.[1]
        if (stamp !== undefined) delays.push(Date.now() - Date.parse(stamp))
      })
    }
    const ended = allEnded(readers.streams)
    await say(ours.url, session, `count to ${PACED_TOKENS}`)
    await ended
    readers.close()
    return { what: `delay of a token at ${count} readers, p50 / p99`, ours: `${ms(quantile(delays, 0.5))} / ${ms(quantile(delays, 0.99))}`, target: 'reported' }
  } finally {
    await ours.stop()
  }
}

/** Measured in processes of their own, which can collect their garbage first. */
async function idleMemory(count: number): Promise<Figure> {
  const file = fileURLToPath(new URL('./support/idle-readers.ts', import.meta.url))
  const kbOf = (side: string) => async () => {
    const { stdout } = await promisify(execFile)(process.execPath, ['--expose-gc', file, side, String(count)])
    return Number(stdout) / 1024
  }
  const found = await interleave(3, { ours: kbOf('ours'), floor: kbOf('floor') })
  const [us, bare] = [median(found.ours), median(found.floor)]
  return { what: `memory of an idle reader, of ${count}`, ours: `${us.toFixed(1)} KB`, floor: `${bare.toFixed(1)} KB`, target: 'at most 20 KB', met: us <= 20 }
}
