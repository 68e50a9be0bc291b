/** Readers that stop reading while tokens flow: what each costs, whom they delay, and that they get everything in the end. */
import { json, newSession, say } from '../../bench/support/http.ts'
import { quantile } from '../../bench/support/measure.ts'
import { memoryOf, type Child } from '../faults/child.ts'
import { elapsed, within } from '../support/wait.ts'
import { runsEnded } from '../faults/wire.ts'
import { openReader, openSocketReader, type Reader } from './reader.ts'

/** Words of one answer, and characters of each: more than the buffers of a connection hold. */
const WORDS = 2500
const CHARS = 8000
/** Readers that read. */
const QUICK = 5
const RUN_MS = 120_000
/** What a reader that stalls may cost the server, in bytes: its buffer, a page on its way, and what the collector has not looked at. */
const COST_MAX = 3 * 1024 * 1024
/** What memory may differ by from one answer to the next by itself, in bytes: a heap grows and shrinks when its collector likes. */
const NOISE = 256 * 1024 * 1024
/** How long the memory is looked at for its least, in ms. */
const LOOK_MS = 1500

/** What was seen. */
export interface StalledResult {
  readonly lost: readonly string[]
  /** Bytes of memory for each stalled reader. */
  readonly costBytes: number
  /** Latency of the readers that read, in ms: without and with stalled ones. */
  readonly alone: Latency
  readonly beside: Latency
}
interface Latency {
  readonly p50: number
  readonly p99: number
}

/** One answer without stalled readers, one with `count` of them. */
export async function stallReaders(child: Child, count: number): Promise<StalledResult> {
  const lost: string[] = []
  // The first answer pays for code and pools.
  await answer(child, 0, lost)
  const alone = await answer(child, 0, lost)
  const beside = await answer(child, count, lost)
  const costBytes = Math.max(0, (beside.memory - alone.memory) / count)
  if (beside.memory - alone.memory > count * COST_MAX + NOISE) lost.push(`${count} stalled readers cost ${Math.round(costBytes / 1024)} KiB each`)
  return { lost, costBytes, alone: latencyOf(alone.latencies), beside: latencyOf(beside.latencies) }
}

function latencyOf(values: readonly number[]): Latency {
  return { p50: quantile(values, 0.5), p99: quantile(values, 0.99) }
}

async function answer(child: Child, stalling: number, lost: string[]): Promise<{ readonly memory: number; readonly latencies: readonly number[] }> {
  const { url } = child
  const session = await newSession(url)
  const stalled: Reader[] = []
  const quick: Reader[] = []
  const latencies: number[] = []
  try {
    for (let index = 0; index < stalling; index++) {
      const reader = await (index % 2 === 0 ? openReader(url, session, 0) : openSocketReader(url, session, 0))
      reader.pause()
      stalled.push(reader)
    }
    for (let index = 0; index < QUICK; index++) quick.push(await openReader(url, session, 0, (_position, atMs) => void latencies.push(Date.now() - atMs)))
    await say(url, session, `drip ${WORDS} 0 ${CHARS}`)
    await runsEndedQuietly(url, session)
    const { position: head } = await json<{ position: number }>(`${url}/v1/sessions/${session}`)
    const what = stalling === 0 ? 'a reader' : `a reader beside ${stalling} stalled ones`
    await within(RUN_MS, what, Promise.all(quick.map((reader) => reader.until(head))))
    for (const { wrong } of quick) lost.push(...wrong.map((sentence) => `${what}: ${sentence}`))
    const memory = await leastMemory(child)
    if (stalled.some(({ position }) => position >= head)) lost.push('a stalled reader had everything: it did not stall')
    for (const reader of stalled) reader.resume()
    await within(RUN_MS, 'stalled readers that read on', Promise.all(stalled.map((reader) => reader.until(head))))
    for (const { wrong } of stalled) lost.push(...wrong.map((sentence) => `a reader that was stalled: ${sentence}`))
    return { memory, latencies }
  } finally {
    for (const reader of [...stalled, ...quick]) reader.close()
    await elapsed(100)
  }
}

async function leastMemory({ pid }: Child): Promise<number> {
  let least = Infinity
  for (const until = Date.now() + LOOK_MS; Date.now() < until; await elapsed(100)) least = Math.min(least, memoryOf(pid))
  return least
}

/** Waits by asking for the state alone: reading the log would be a reader more. */
async function runsEndedQuietly(url: string, session: string): Promise<void> {
  for (;;) {
    const { session: found } = await json<{ session: { run_status: { state: string } } }>(`${url}/v1/sessions/${session}`)
    if (found.run_status.state === 'idle' || found.run_status.state === 'failed') return
    await elapsed(100)
  }
}

/** A long log for others to replay. Answers its session and head. */
export async function longLog(url: string, words: number): Promise<{ readonly session: string; readonly head: number }> {
  const session = await newSession(url)
  await say(url, session, `drip ${words} 0 60`)
  await runsEnded(url, session, 1, RUN_MS)
  const { position: head } = await json<{ position: number }>(`${url}/v1/sessions/${session}`)
  return { session, head }
}
