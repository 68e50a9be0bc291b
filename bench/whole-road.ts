/** Client, server and a scripted HTTP model on the same cores: what somebody who runs an agent gets. */
import { finished } from 'node:stream/promises'
import type { Bench, Figure } from './support/bench.ts'
import { ms, perSecond, ratio } from './support/bench.ts'
import { newSession, open, say } from './support/http.ts'
import { inParallel, interleave, median } from './support/measure.ts'
import { startConvoke, startFloor, startProvider, type Measured } from './support/process.ts'

const TOKENS = 100
const ROUNDS = 5
const WIDTHS = [1, 8, 64] as const
const RUNS = { 1: 150, 8: 600, 64: 1200 } as const

/** One run: when the first event came and how long all took, both in ms. */
interface RunTimes {
  readonly firstMs: number
}

async function read(url: string, method: string, body: string | undefined, start: number, firstEvent: string): Promise<RunTimes> {
  const response = await open(url, method, body)
  if (response.statusCode !== 200) throw new Error(`${url} answered ${response.statusCode}`)
  let firstMs = 0
  let tail = ''
  response.on('data', (chunk: Buffer) => {
    if (firstMs === 0 && chunk.includes(firstEvent)) firstMs = performance.now() - start
    tail = chunk.toString('latin1', Math.max(0, chunk.length - 400))
  })
  await finished(response)
  if (!tail.includes('run_completed')) throw new Error(`a run ended with ${tail}`)
  return { firstMs }
}

async function convokeRun(server: Measured, session: string): Promise<RunTimes> {
  const start = performance.now()
  const { position } = await say(server.url, session, 'go')
  return read(`${server.url}/v1/sessions/${session}/events?after=${position - 1}&until=run_end`, 'GET', undefined, start, 'event: text_delta')
}

function floorRun(floor: Measured): Promise<RunTimes> {
  return read(floor.url, 'POST', JSON.stringify({ content: 'go' }), performance.now(), 'event: text_delta')
}

export const wholeRoad: Bench = {
  name: 'whole-road',
  about: `runs of ${TOKENS} tokens from a scripted HTTP model; model, client and server share the cores. Floor: a bare http server that forwards doStream, without a log`,
  async run() {
    const provider = await startProvider(TOKENS)
    const floor = await startFloor('road', [provider.url])
    const ours = await startConvoke({
      providers: { scripted: { kind: 'openai-compatible', baseURL: `${provider.url}/v1` } },
      models: { default: 'scripted/m', discover: false },
    })
    try {
      const figures: Figure[] = []
      for (const width of WIDTHS) figures.push(...(await atWidth(width, ours, floor)))
      return figures
    } finally {
      await Promise.all([ours.stop(), floor.stop(), provider.stop()])
    }
  },
}

async function atWidth(width: (typeof WIDTHS)[number], ours: Measured, floor: Measured): Promise<readonly Figure[]> {
  const runs = RUNS[width]
  const first = { ours: [] as number[], floor: [] as number[] }
  const timed = async (side: 'ours' | 'floor', run: (index: number) => Promise<RunTimes>): Promise<number> => {
    const start = performance.now()
    await inParallel(runs, width, async (index) => void first[side].push((await run(index)).firstMs))
    return (runs / (performance.now() - start)) * 1000
  }
  const found = await interleave(ROUNDS, {
    // The sessions are there before the clock runs: what is measured is the message and its answer.
    ours: async () => {
      const sessions: string[] = []
      await inParallel(runs, 32, async () => void sessions.push(await newSession(ours.url)))
      return timed('ours', (index) => convokeRun(ours, sessions[index] as string))
    },
    floor: () => timed('floor', () => floorRun(floor)),
  })
  const [us, bare] = [median(found.ours), median(found.floor)]
  const [firstOurs, firstFloor] = [median(first.ours), median(first.floor)]
  const many = width === 64
  return [
    {
      what: `${width} clients: runs`,
      ours: `${perSecond(us)} (${perSecond(us * TOKENS)} tokens)`,
      floor: perSecond(bare),
      target: many ? 'at least 0.6x, 400/s' : 'reported',
      ...(many ? { met: us / bare >= 0.6 && us >= 400 } : {}),
    },
    {
      what: `${width} clients: first event, p50`,
      ours: `${ms(firstOurs)} (${ratio(firstOurs / firstFloor)})`,
      floor: ms(firstFloor),
      target: width === 1 ? 'under 10 ms' : many ? 'at most 1.6x' : 'reported',
      ...(width === 1 ? { met: firstOurs < 10 } : many ? { met: firstOurs <= 1.6 * firstFloor } : {}),
    },
  ]
}
