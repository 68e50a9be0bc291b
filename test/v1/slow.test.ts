/** A slow reader hurts nobody: it costs bounded memory, delays nobody, and loses nothing (P9). Over SSE, the feed and a socket alike. */
import { SLICES_BYTES_MAX } from '../../src/stream/slices.ts'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { openSocket } from '../support/socket.ts'
import { openStream } from '../support/stream.ts'
import { deltas, ending, openSurface, type DrivenRun, type Surface } from '../support/surface.ts'

/** Commits of ten events of 4 KB: 24 MB, more than the buffers of a connection on loopback hold. */
const COMMITS = 600
const PER_COMMIT = 10
const TEXT = 'x'.repeat(4000)
const LAST = 3 + COMMITS * PER_COMMIT
/** What one reader may hold here, in bytes: its limit, one slice, and what is on its way through Node. */
const HELD_MAX = 2_000_000

let surface: Surface
beforeAll(async () => void (surface = await openSurface()))
afterAll(() => surface.close())

/** A reader that can stop reading. */
interface SlowReader {
  pause(): void
  resume(): void
  /** Positions in the order in which they came. */
  positions(): readonly number[]
  /** Resolves when position `last` has come. */
  until(last: number): Promise<unknown>
  close(): void
}
const READERS: Readonly<Record<string, (session: string) => Promise<SlowReader>>> = {
  async 'the stream of a session'(session) {
    const one = await openStream(surface.url, `/v1/sessions/${session}/events?after=0&events=all`)
    return { ...one, positions: () => one.frames.map(({ data }) => data.id), until: (last) => one.until(({ data }) => data?.id === last) }
  },
  async 'the stream of all sessions'(session) {
    const one = await openStream(surface.url, '/v1/events?events=all')
    const mine = () => one.frames.filter(({ data }) => data.session_id === session)
    return {
      ...one,
      positions: () => mine().map(({ data }) => data.position),
      until: (last) => one.until(({ data }) => data?.session_id === session && data.position === last),
    }
  },
  async 'a socket'(session) {
    const one = await openSocket(surface.url, `/v1/sessions/${session}/ws?after=0&events=all`)
    return {
      pause: () => one.socket.pause(),
      resume: () => one.socket.resume(),
      positions: () => one.messages.map(({ id }) => id),
      until: (last) => one.until(({ id }) => id === last),
      close: () => one.socket.terminate(),
    }
  },
}

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** Bytes in buffers that something still holds: the least of some rounds, since what was collected is freed a moment later. */
async function bytesHeld(rounds = 8): Promise<number> {
  let least = Infinity
  for (let left = rounds; left > 0; left--) {
    collect()
    await new Promise((resolve) => setImmediate(resolve))
    least = Math.min(least, process.memoryUsage().arrayBuffers)
  }
  return least
}

const write = async (run: DrivenRun) => {
  for (let count = 0; count < COMMITS; count++) {
    await surface.record(run, deltas(run, PER_COMMIT, TEXT, count * PER_COMMIT))
    // The sockets of this process need the loop, too.
    if (count % 20 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
}

describe.each(Object.entries(READERS))('%s', (_name, openReader) => {
  test(
    'that is not read while thousands of events are written holds little, delays no other, and then gets all of them once, in order',
    { timeout: 60_000 },
    async () => {
      const session = await surface.session()
      const slow = await openReader(session)
      const quick = await openReader(session)
      onTestFinished(() => [slow, quick].forEach((reader) => reader.close()))
      const run = await surface.run(session)
      const expected = Array.from({ length: LAST }, (_, index) => index + 1)
      await Promise.all([slow.until(3), quick.until(3)])
      slow.pause()
      const before = await bytesHeld()
      await write(run)
      await quick.until(LAST)
      // The feed begins where the session stands when it is opened.
      const first = quick.positions()[0] ?? 1
      expect(quick.positions()).toEqual(expected.slice(first - 1))
      expect(slow.positions().length).toBeLessThan(LAST / 2)
      expect((await bytesHeld()) - before).toBeLessThan(HELD_MAX + SLICES_BYTES_MAX)
      slow.resume()
      await slow.until(LAST)
      expect(slow.positions()).toEqual(expected.slice(first - 1))
    },
  )

  test('that vanishes while it is not read is forgotten, and the run goes on to its end', async () => {
    const session = await surface.session()
    const slow = await openReader(session)
    const run = await surface.run(session)
    await slow.until(3)
    slow.pause()
    for (let count = 0; count < 100; count++) await surface.record(run, deltas(run, PER_COMMIT, TEXT))
    slow.close()
    while (surface.hub.listenerCount > 0 || surface.context.streams.size > 0) await new Promise((resolve) => setImmediate(resolve))
    await surface.record(run, [ending(run)])
    expect((await surface.context.reads.session(session))?.run.state).toBe('idle')
    expect(surface.errors).toEqual([])
  })
})
