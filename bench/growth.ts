/** What is old must not make what is new slow. */
import type { Bench, Figure } from './support/bench.ts'
import type { Store } from '../src/log/store.ts'
import { messageId, type SessionId } from '../src/domain/ids.ts'
import { systemRandom } from '../src/system/random.ts'
import { ms, ratio } from './support/bench.ts'
import { json, open, say } from './support/http.ts'
import { creation, newFolder, newStream, remove, startDriven, tokens, withStore, type Driven } from './support/log.ts'
import { interleave, median, timeMs } from './support/measure.ts'
import { startConvoke } from './support/process.ts'

const ROUNDS = 9
/** Appends that one round times. */
const APPENDS = 200

export const growth: Bench = {
  name: 'growth',
  about: 'the same work beside little and beside much that was there before; the floor is the small one',
  run: async () => [await appendGrowth(), await listGrowth(), await turnGrowth()],
}

function compared(what: string, large: number, small: number, most: number): Figure {
  return { what, ours: `${ms(large)} (${ratio(large / small)})`, floor: ms(small), target: `at most ${most}x`, met: large / small <= most }
}

async function appendGrowth(): Promise<Figure> {
  const folder = newFolder()
  try {
    return await withStore(folder, async (store) => {
      const [small, large] = [await grown(store, 1000), await grown(store, 1_000_000)]
      const some = (driven: Driven) => () =>
        timeMs(async () => {
          for (let count = 0; count < APPENDS; count++) await store.commit([tokens(driven, 10)])
        })
      const found = await interleave(ROUNDS, { large: some(large), small: some(small) })
      return compared(`${APPENDS} appends at event 1,000,000 against at 1,000`, median(found.large), median(found.small), 1.2)
    })
  } finally {
    remove(folder)
  }
}

async function grown(store: Store, events: number): Promise<Driven> {
  const driven = await startDriven(store)
  for (let done = 0; done < events; done += 1000) await store.commit(Array.from({ length: 10 }, () => tokens(driven, 100)))
  return driven
}

async function listGrowth(): Promise<Figure> {
  const [small, large] = [await withSessions(100), await withSessions(100_000)]
  try {
    const list = (url: string) => () =>
      timeMs(async () => {
        for (let count = 0; count < 50; count++) await json(`${url}/v1/sessions?limit=50`)
      })
    const found = await interleave(ROUNDS, { large: list(large.url), small: list(small.url) })
    return compared('50 list pages of 100,000 sessions against of 100', median(found.large), median(found.small), 1.5)
  } finally {
    await Promise.all([small.stop(), large.stop()])
  }
}

async function withSessions(count: number) {
  const folder = newFolder()
  await withStore(folder, async (store) => {
    for (let done = 0; done < count; done += 1000) {
      await store.commit(Array.from({ length: Math.min(1000, count - done) }, (_, index) => creation(newStream(), `session ${done + index}`)))
    }
  })
  return startConvoke({ models: { discover: false } }, folder)
}

async function turnGrowth(): Promise<Figure> {
  const folder = newFolder()
  const [small, large] = await withStore(folder, async (store) => [await withMessages(store, 50), await withMessages(store, 5000)] as const)
  const ours = await startConvoke({ models: { demoPaceMs: 0, discover: false } }, folder)
  try {
    const turn = (session: SessionId) => () =>
      timeMs(async () => {
        const { position } = await say(ours.url, session, 'hi')
        const stream = await open(`${ours.url}/v1/sessions/${session}/events?after=${position - 1}&until=run_end`)
        for await (const _ of stream) continue
      })
    const found = await interleave(30, { large: turn(large), small: turn(small) })
    return compared('a turn in a session of 5,000 messages against of 50', median(found.large), median(found.small), 1.5)
  } finally {
    await ours.stop()
  }
}

/** A session whose transcript has `count` messages, its run over. */
async function withMessages(store: Store, count: number): Promise<SessionId> {
  const { stream, run, fence } = await startDriven(store)
  for (let done = 0; done < count; done += 50) {
    const events = Array.from({ length: 50 }, (_, index) => {
      const message = index % 2 === 0 ? ({ role: 'assistant', content: `answer ${done + index}` } as const) : ({ role: 'user', content: 'and then?' } as const)
      return { type: 'MessageAdded', messageId: messageId(systemRandom.uuid()), runId: run, message } as const
    })
    await store.commit([{ kind: 'record', stream, runId: run, fence, events, atMs: Date.now() }])
  }
  const totals = { totalTurns: 1, totalUsage: { inputTokens: 0, outputTokens: 0, totalTokens: 0 } }
  const command = { type: 'FinishRun', runId: run, fence, closing: [], outcome: { kind: 'completed', stopReason: 'completed' }, ...totals } as const
  await store.commit([{ kind: 'decide', stream, command, asker: 'driver', atMs: Date.now() }])
  return stream
}
