/** Slow and hostile readers: they cost little, delay nobody, and lose nothing; when they are gone the server is as it was. */
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Part, PartOptions, PartResult } from '../part.ts'
import { newSession, say as send } from '../../bench/support/http.ts'
import { ask } from '../../test/support/http.ts'
import { handlesOf, memoryOf, startedChild, type Child } from '../faults/child.ts'
import { startDripModel } from '../faults/drip.ts'
import { numbersOf } from '../support/chance.ts'
import { eventually, elapsed, within } from '../support/wait.ts'
import { said, Undo } from '../support/undo.ts'
import { openReader } from './reader.ts'
import { longLog, stallReaders } from './stalled.ts'
import { besideCommands, p50p99, replayStorm, storm, type Target } from './storm.ts'

const SIZES = {
  short: { stalled: 40, stormMs: 5000, replayers: 1000, replayMs: 4000, drips: 10 },
  long: { stalled: 200, stormMs: 60_000, replayers: 1000, replayMs: 60_000, drips: 50 },
} as const
/** Connections a second. */
const PER_SECOND = 1000
/** How long what is gone may take to be gone in the server, in ms: the time for a head, and a poll. */
const SETTLED_MS = 25_000
/** Handles that may be left: connections of this very client. */
const HANDLES_MORE = 20
/** Memory that may be left, in bytes: pools that grew, and what the collector keeps for later. */
const MEMORY_MORE = 200 * 1024 * 1024
/** Readers at a time that join a session in the middle of its work, the events that each follows, and for how long at most. */
const JOINERS = 10
const JOINED_EVENTS = 20
const JOINED_MS = 500
/** Words of the log that is replayed. */
const LONG_LOG_WORDS = 3000

export const readers: Part = {
  name: 'readers',
  breaks: 'readers: stalled, a byte a second, 1,000 connections a second, dropped in every place, hostile',
  promises: 'P3 P9 P13',
  async run(options) {
    const undo = new Undo()
    try {
      return await torture(options, undo)
    } finally {
      await undo.run()
    }
  },
}

async function torture({ seed, form, say }: PartOptions, undo: Undo): Promise<PartResult> {
  const sizes = SIZES[form]
  const lost: string[] = []
  const data = mkdtempSync(join(tmpdir(), 'convoke-torture-readers-'))
  undo.add(() => rmSync(data, { recursive: true, force: true }))
  const model = await startDripModel()
  undo.add(() => model.close())
  const child = await startedChild({ data, config: { ...model.config, limits: { requestMs: 5000 } } })
  undo.add(() => child.kill('SIGKILL'))
  const { session, head } = await longLog(child.url, LONG_LOG_WORDS)
  const target: Target = { url: child.url, session, head, random: numbersOf(seed) }
  const drips = await dripReaders(target, sizes.drips, undo)

  const stalled = await stallReaders(child, sizes.stalled)
  lost.push(...stalled.lost)
  const ms = ({ p50, p99 }: { p50: number; p99: number }) => `p50 ${p50} ms, p99 ${p99} ms`
  say(
    `${sizes.stalled} stalled readers: ${Math.round(stalled.costBytes / 1024)} KiB each; others ${ms(stalled.alone)} without them, ${ms(stalled.beside)} with them`,
  )

  const before = { handles: handlesOf(child.pid), memory: memoryOf(child.pid) }
  const witness = await liveWitness(child, undo)
  const joining = joiners(child.url, witness, target, lost)
  joining.catch(() => undefined)
  const calm = p50p99(await besideCommands(target, lost, () => elapsed(2000)))
  const counts = { kinds: new Map<string, number>() as ReadonlyMap<string, number>, replays: 0 }
  const stormy = p50p99(await besideCommands(target, lost, async () => (counts.kinds = await storm(target, PER_SECOND, sizes.stormMs))))
  const connections = [...counts.kinds.values()].reduce((sum, count) => sum + count, 0)
  say(`${connections} connections in ${sizes.stormMs / 1000} s; commands ${figures(calm, stormy)}`)
  const replaying = p50p99(await besideCommands(target, lost, async () => (counts.replays = await replayStorm(target, sizes.replayers, sizes.replayMs, lost))))
  say(`${sizes.replayers} readers replayed ${counts.replays} times; commands ${figures(calm, replaying)}`)
  lost.push(...(await witness.end()))
  const joined = await within(SETTLED_MS, 'readers that join', joining)
  lost.push(...(await drips()))
  await settled(child, before, lost, say)
  if (child.said !== '') lost.push(`the server said ${JSON.stringify(child.said.slice(0, 500))}`)
  const end = await child.kill('SIGTERM')
  if (end.code !== 0) lost.push(`the server ended with ${JSON.stringify(end)}`)
  const tried = [
    `${sizes.stalled} stalled readers`,
    `${sizes.drips} of a byte a second`,
    `${connections} rude connections`,
    `${counts.replays} replays by ${sizes.replayers} readers`,
    `${joined} readers that joined live work`,
  ]
  return { tried, lost }
}

function figures(calm: readonly [number, number], other: readonly [number, number]): string {
  const [p50, p99] = other.map((value, index) => `${value.toFixed(1)} ms (${(value / (calm[index] as number)).toFixed(1)} times)`)
  return `p50 ${p50}, p99 ${p99}`
}

/** Readers that take one byte a second. They end by reading the rest, which must be whole. */
async function dripReaders(target: Target, count: number, undo: Undo): Promise<() => Promise<readonly string[]>> {
  const { hostname, port } = new URL(target.url)
  const sockets = await Promise.all(
    Array.from({ length: count }, async () => {
      const socket = connect({ host: hostname, port: Number(port) })
      socket.on('error', () => undefined)
      undo.add(() => socket.destroy())
      await new Promise<void>((resolve, reject) => socket.once('connect', resolve).once('error', reject))
      socket.write(`GET /v1/sessions/${target.session}/events?after=0&events=all HTTP/1.1\r\nhost: localhost\r\n\r\n`)
      return { socket, text: '' }
    }),
  )
  const timer = setInterval(() => {
    for (const one of sockets) one.text += ((one.socket.read(1) as Buffer | null) ?? '').toString('latin1')
  }, 1000)
  undo.add(() => clearInterval(timer))
  return async () => {
    clearInterval(timer)
    const lost: string[] = []
    for (const one of sockets) {
      one.socket.on('readable', () => {
        for (let bytes = one.socket.read() as Buffer | null; bytes !== null; bytes = one.socket.read() as Buffer | null) one.text += bytes.toString('latin1')
      })
      one.text += ((one.socket.read() as Buffer | null) ?? '').toString('latin1')
      const last = `\nid: ${target.head}\n`
      await eventually(SETTLED_MS, 'the rest of a reader of a byte a second', () => (one.text.includes(last) ? true : undefined)).catch((error: unknown) =>
        lost.push(`a reader of a byte a second: ${said(error)}`),
      )
      // Frames may be cut by the heads of chunks, which stand on lines of their own.
      const ids = [...one.text.matchAll(/\nid: (\d+)\n/g)].map(([, id]) => Number(id))
      if (ids.some((id, index) => id !== index + 1)) lost.push('a reader of a byte a second missed an event')
      one.socket.destroy()
    }
    return lost
  }
}

/** A reader in good order, and the session that it follows. */
interface Witness {
  readonly session: string
  readonly position: number
  readonly over: boolean
  /** Lets the work end. Answers what the reader missed. */
  end(): Promise<readonly string[]>
}

/** A reader in good order of a session that works all the time: it must see all of it, as it comes. */
async function liveWitness({ url }: Child, undo: Undo): Promise<Witness> {
  const session = await newSession(url)
  const reader = await openReader(url, session, 0)
  undo.add(() => reader.close())
  let over = false
  const work = (async () => {
    while (!over) {
      await send(url, session, 'drip 200 2')
      while ((await ask(url, 'GET', `/v1/sessions/${session}`)).json.session.run_status.state !== 'idle') await elapsed(50)
    }
  })()
  work.catch(() => undefined)
  const end = async () => {
    over = true
    await within(SETTLED_MS, 'the work beside the readers', work)
    const { json } = await ask(url, 'GET', `/v1/sessions/${session}`)
    const lost = reader.wrong.map((sentence) => `the reader in good order: ${sentence}`)
    await within(SETTLED_MS, 'the reader in good order', reader.until(json.position as number)).catch((error: unknown) => lost.push(said(error)))
    reader.close()
    return lost
  }
  return {
    session,
    get position() {
      return reader.position
    },
    get over() {
      return over
    },
    end,
  }
}

/** Readers that join a session in the middle of its work, from cursors of their own, follow it for a while and go. Answers how many there were. */
async function joiners(url: string, witness: Witness, target: Target, lost: string[]): Promise<number> {
  let joined = 0
  const one = async () => {
    while (!witness.over) {
      const reader = await openReader(url, witness.session, Math.floor(target.random() * (witness.position + 1)))
      try {
        await Promise.race([reader.until(witness.position + JOINED_EVENTS), elapsed(JOINED_MS)])
        lost.push(...reader.wrong.map((sentence) => `a reader that joined: ${sentence}`))
        joined++
      } finally {
        reader.close()
      }
    }
  }
  await Promise.all(Array.from({ length: JOINERS }, one))
  return joined
}

/** The server answers, and what the readers held is given back. */
async function settled(child: Child, before: { handles: number; memory: number }, lost: string[], say: (line: string) => void): Promise<void> {
  const { pid, url } = child
  const back = () => handlesOf(pid) <= before.handles + HANDLES_MORE && memoryOf(pid) <= before.memory + MEMORY_MORE
  await eventually(SETTLED_MS, 'the state of before', () => (back() ? true : undefined)).catch(() => undefined)
  const mb = (bytes: number) => Math.round(bytes / 1024 / 1024)
  const now = { handles: handlesOf(pid), memory: memoryOf(pid) }
  say(`handles ${before.handles} before, ${now.handles} after; memory ${mb(before.memory)} MB before, ${mb(now.memory)} MB after`)
  if (now.handles > before.handles + HANDLES_MORE) lost.push(`${now.handles - before.handles} handles were not given back`)
  if (now.memory > before.memory + MEMORY_MORE) lost.push(`${mb(now.memory - before.memory)} MB were not given back`)
  if ((await ask(url, 'GET', '/v1/health')).status !== 200) lost.push('the server does not answer')
}
