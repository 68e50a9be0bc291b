/**
 * The server is killed while a command writes to an outside file: nothing of the command's process group may write, or live, once the
 * run goes on.
 */
import { existsSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Part, PartOptions, PartResult } from '../part.ts'
import { judgeWritten, parseWritten, writerCommand, WRITERS, type Continuation, type WriterVariant, type WrittenLine } from './writers.ts'
import { chanceOf } from '../support/chance.ts'
import { createCommander } from '../support/commander.ts'
import { judgeLog, type Seen } from '../support/log.ts'
import { readLog } from '../support/read-log.ts'
import { startReader } from '../support/readers.ts'
import { SCRIPTED_MODEL, startScriptedProvider } from '../support/scripted-provider.ts'
import { elapsed, untilTrue } from '../support/wait.ts'
import { createWorld, endServer, type ServerChild, type World } from '../support/world.ts'

const ROUNDS = { short: 20, long: 300 } as const
/** Writes of each writer before the server is killed. */
const WRITES = 3
/** How long a writer may take to begin, and a run to end, in ms. */
const PATIENCE_MS = 30_000
/** How long a dead process may wait for whoever reaps it, in ms. */
const REAPED_MS = 5_000
/** How long after the run went on its writers are looked at again, in ms: ten writes would fit. */
const SILENCE_MS = 120

export const orphans: Part = {
  name: 'orphans',
  breaks: 'the server is killed (SIGKILL) while a command writes, in ten ways to outlive it',
  promises: 'P5 P8',
  async run(options) {
    const provider = await startScriptedProvider(0)
    const world = createWorld('orphans', () => ({
      models: { default: SCRIPTED_MODEL, discover: false },
      providers: { scripted: { kind: 'openai-compatible', baseURL: provider.url, apiKey: 'none' } },
      approvals: { mode: 'all' },
    }))
    try {
      return await torture(world, options)
    } finally {
      await world.close()
      await provider.close()
    }
  },
}

async function torture(world: World, { seed, form, say, seeds = ROUNDS[form], brokenMax = Infinity }: PartOptions): Promise<PartResult> {
  const chance = chanceOf(seed, 'orphans')
  const lost: string[] = []
  const gaps: number[] = []
  let away = 0
  let server = await world.start()
  let broken = 0
  let round = 0
  for (; round < seeds && broken < brokenMax; round++) {
    const variant = WRITERS[round % WRITERS.length] as WriterVariant
    const seen = await oneRound(world, server, variant, { round, delayMs: chance.between(0, 150) })
    server = seen.server
    if (seen.found.length > 0) broken++
    lost.push(...seen.found.map((what) => `${what} (${variant.name}, round ${round + 1})`))
    gaps.push(seen.gapMs)
    away += seen.away
  }
  lost.push(...(await endServer(world, server)))
  say(`from the last write to the event with which the run went on: at least ${Math.min(...gaps).toFixed(1)} ms`)
  return { tried: [`${round} kills`, `${WRITERS.length} ways`, `${away} processes that had left their group, as is not promised`], lost }
}

interface Round {
  readonly server: ServerChild
  readonly found: readonly string[]
  /** Between the last write and the event with which the run went on, in ms. */
  readonly gapMs: number
  /** Processes out of reach that were there. */
  readonly away: number
}

async function oneRound(
  world: World,
  server: ServerChild,
  variant: WriterVariant,
  { round, delayMs }: { readonly round: number; readonly delayMs: number },
): Promise<Round> {
  const commander = createCommander(world)
  const { id } = await commander.client.createSession({ title: `round ${round}` })
  const file = join(world.workspace, `written-${round}`)
  const turn = { words: 1, calls: [{ tool: 'bash', args: { command: writerCommand(variant, file) } }] }
  await commander.message(id, { key: `r${round}`, turns: [turn] }, 'client', undefined)
  if (!(await untilTrue(PATIENCE_MS, () => writersAtWork(linesIn(file))))) throw new Error(`${variant.name}: nothing was written: ${server.said}`)
  await elapsed(delayMs)
  const group = guardianOf(world, server)
  if (variant.guardian === 'kill') {
    // While the server cannot see it: as when memory runs out and the machine kills what it likes.
    server.signal('SIGSTOP')
    process.kill(group, 'SIGKILL')
  }
  await server.kill('SIGKILL')
  // A dead process keeps its number until it is reaped, and so would name its group.
  if (variant.guardian === 'kill') await untilTrue(REAPED_MS, () => !existsSync(`/proc/${group}`))
  const next = await world.start()
  const went = await whenItWentOn(world, id)
  const left = world.living(next.pid)
  const bytes = statSync(file).size
  await elapsed(SILENCE_MS)
  const found = judgeRound(variant, linesIn(file), went, variant.outOfReach.length === 0 ? left : left.filter((one) => one.group === group))
  if (variant.outOfReach.length === 0 && statSync(file).size !== bytes)
    found.push(`P5: session ${id}: ${statSync(file).size - bytes} bytes were written after the run went on`)
  // What is out of reach is nobody's promise, and not to be left behind.
  killThem(left.map(({ pid }) => pid))
  const ended = await untilEnd(world, id)
  found.push(...judgeLog(id, ended).found)
  const lastMs = Math.max(...linesIn(file).flatMap(({ writer, atMs }) => (variant.outOfReach.includes(writer) ? [] : [atMs])))
  return { server: next, found, gapMs: went.atMs - lastMs, away: left.filter((one) => one.group !== group).length }
}

function linesIn(file: string): readonly WrittenLine[] {
  return existsSync(file) ? parseWritten(readFileSync(file, 'utf8')) : []
}

/** Whether all writers of the file have begun. */
function writersAtWork(lines: readonly WrittenLine[]): boolean {
  const writers = new Set(lines.map(({ writer }) => writer))
  return lines.length > 0 && [...writers].every((name) => lines.filter(({ writer }) => writer === name).length >= WRITES)
}

/** The guardian's process, which names its group. */
function guardianOf(world: World, server: ServerChild): number {
  const guardian = world.living(server.pid).find(({ parent }) => parent === server.pid)
  if (guardian === undefined) throw new Error('there is no guardian')
  return guardian.pid
}

function killThem(pids: readonly number[]): void {
  for (const pid of pids) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It went by itself.
    }
  }
}

/** Waits for the first event behind the takeover. */
async function whenItWentOn(world: World, session: string): Promise<Continuation> {
  let claimed = false
  let first: Seen | undefined
  const reader = startReader(world, 'raw stream', session, 0, (event) => {
    if (claimed) first ??= event
    claimed ||= event.name === 'run_claimed'
  })
  const came = await untilTrue(PATIENCE_MS, () => first !== undefined)
  await reader.stop()
  if (!came || first === undefined) throw new Error(`session ${session}: the run did not go on`)
  const { position, name, atMs } = first
  return { session, position, name, atMs }
}

function judgeRound(variant: WriterVariant, lines: readonly WrittenLine[], went: Continuation, left: ReturnType<World['living']>): string[] {
  const found = [...judgeWritten(lines, variant.outOfReach, went)]
  if (went.name !== 'tool_execution_completed') found.push(`P5: session ${went.session}, position ${went.position}: the run went on with ${went.name}`)
  return [
    ...found,
    ...left.map(
      ({ pid, group, command }) => `P5: session ${went.session}: process ${pid} of group ${group} lived when the run went on: ${command.slice(0, 80)}`,
    ),
  ]
}

/** Waits for the run's end, and reads the log. */
async function untilEnd(world: World, session: string): Promise<readonly Seen[]> {
  let over = false
  const reader = startReader(world, 'client', session, 0, ({ name }) => void (over ||= name === 'run_completed' || name === 'run_error'))
  await untilTrue(PATIENCE_MS, () => over)
  await reader.stop()
  return readLog(world, session)
}
