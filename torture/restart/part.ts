/** The server is stopped by signals under load and started again, with clients attached: nobody may see more than a reconnection. */
import type { Part, PartOptions, PartResult } from '../part.ts'
import { startClients } from '../kill/clients.ts'
import { reckon } from '../kill/reckoning.ts'
import { chanceOf } from '../support/chance.ts'
import { createCommander, type Commander } from '../support/commander.ts'
import { readLedger, type LedgerLine } from '../support/ledger.ts'
import { ledgerConfig, LEDGER_TOOL_RULES } from '../support/ledger-config.ts'
import { readLog } from '../support/read-log.ts'
import { startScriptedProvider, type ScriptedProvider } from '../support/scripted-provider.ts'
import { elapsed, settlesWithin, untilTrue } from '../support/wait.ts'
import { createWorld, endServer, type ServerChild, type World } from '../support/world.ts'
import { watchGoodbyes, type Goodbyes } from './goodbyes.ts'
import { sendHalf } from './half-sent.ts'
import { planSession } from './plan.ts'

const ROUNDS = { short: 10, long: 100 } as const
/** Stops with a step that does not end: half of them with a second signal, half of them up to the deadline. */
const STUBBORN_ROUNDS = { short: 4, long: 20 } as const
const SESSIONS_AT_ONCE = 6
/** How long a server works before it is stopped, in ms. */
const ALIVE_MS = { from: 300, to: 1200 } as const
/** The deadline of a stop, and what the server may take beyond it, in ms: to cut runs off, to drain answers, and to be busy. */
const SHUTDOWN_MS = 3_000
const BEYOND_MS = 3_500
/** What an exit at once may take, in ms. */
const AT_ONCE_MS = 1_000
/** Bound of everything else, in ms. */
const PATIENCE_MS = 60_000
const PACE_MS = 5
const SIGNALS = ['SIGTERM', 'SIGINT'] as const

export const restart: Part = {
  name: 'restart',
  breaks: 'the server is stopped (SIGTERM, SIGINT) and started again under load',
  promises: 'P3 P6 P7 P14',
  async run(options) {
    const provider = await startScriptedProvider(PACE_MS)
    const world = createWorld('restart', () => ({ ...ledgerConfig(provider.url), shutdownMs: SHUTDOWN_MS }))
    try {
      const result = await torture(world, provider, options)
      if (result.lost.length === 0) return result
      world.keep()
      return { ...result, lost: [...result.lost, `the data folder is kept in ${world.folder}`] }
    } finally {
      await world.close()
      await provider.close()
    }
  },
}

async function torture(world: World, provider: ScriptedProvider, { seed, form, say }: PartOptions): Promise<PartResult> {
  const chance = chanceOf(seed, 'restarts')
  const giveUp = new AbortController()
  const lost: string[] = []
  const stopsMs: number[] = []
  let server = await world.start()
  const commander = createCommander(world, { signal: giveUp.signal })
  const watched = await commander.client.createSession({ title: 'watched' })
  const goodbyes = watchGoodbyes(world, watched.id)
  const clients = startClients({ world, seed, commander, signal: giveUp.signal }, SESSIONS_AT_ONCE, (index) => planSession(seed, index, world.ledger))
  try {
    for (let round = 0; round < ROUNDS[form]; round++) {
      await elapsed(chance.between(ALIVE_MS.from, ALIVE_MS.to))
      const stop = await restartUnderLoad({ world, server, goodbyes }, round)
      server = stop.server
      stopsMs.push(stop.tookMs)
      lost.push(...stop.lost)
    }
    clients.end()
    if (!(await settlesWithin(PATIENCE_MS, clients.done))) lost.push(`P6: the clients were not done ${PATIENCE_MS} ms after the last restart`)
  } finally {
    giveUp.abort()
    await clients.done
  }
  const { scenarios } = clients
  const sums = await reckon({ world, scenarios, feeds: [], sent: commander.sent, provider, rules: LEDGER_TOOL_RULES })
  lost.push(
    ...sums.found,
    ...commander.found,
    ...provider.found,
    ...[...scenarios, ...scenarios.flatMap(({ readers }) => readers)].flatMap(({ found }) => found),
  )
  lost.push(...judgeSteps(sums, readLedger(world.ledger), commander))
  for (let round = 0; round < STUBBORN_ROUNDS[form]; round++) {
    const stop = await stopStubborn({ world, server, goodbyes }, round)
    server = stop.server
    lost.push(...stop.lost)
  }
  await goodbyes.stop()
  lost.push(...goodbyes.found, ...(await endServer(world, server)))
  const returns = scenarios.flatMap(({ readers }) => readers).reduce((sum, reader) => sum + reader.returns, 0)
  say(`a stop under load took ${Math.min(...stopsMs).toFixed(0)} to ${Math.max(...stopsMs).toFixed(0)} ms; ${commander.replayed} answers came from their key`)
  return {
    tried: [
      `${ROUNDS[form]} restarts under load`,
      `${STUBBORN_ROUNDS[form]} stops of steps that do not end`,
      `${sums.runs} runs`,
      `${sums.calls} tool calls`,
      `${commander.sent.length} commands`,
      `${returns} reconnections`,
    ],
    lost,
  }
}

interface Restarting {
  readonly world: World
  readonly server: ServerChild
  readonly goodbyes: Goodbyes
}

interface Stopped {
  readonly server: ServerChild
  readonly tookMs: number
  readonly lost: readonly string[]
}

/** One restart: in odd rounds the next process is started while the first one still stops. */
async function restartUnderLoad({ world, server, goodbyes }: Restarting, round: number): Promise<Stopped> {
  const lost: string[] = []
  await allConnected(goodbyes)
  const half = await sendHalf(world.url, `half ${round}`)
  const beganMs = performance.now()
  server.signal(SIGNALS[round % 4 < 2 ? 0 : 1])
  const next = round % 2 === 1 ? world.spawn() : undefined
  if (!(await untilTrue(SHUTDOWN_MS, () => goodbyes.told >= goodbyes.watchers)))
    lost.push(`P14: only ${goodbyes.told} of ${goodbyes.watchers} readers were told of the stop`)
  lost.push(...(await half.finish()))
  const { code, signal } = await server.ended
  const tookMs = performance.now() - beganMs
  if (code !== 0) lost.push(`P14: the server ended with ${code ?? signal}: ${server.said}`)
  if (tookMs > SHUTDOWN_MS + BEYOND_MS) lost.push(`P14: the stop took ${tookMs.toFixed(0)} ms`)
  if (next === undefined) return { server: await world.start(), tookMs, lost }
  try {
    await next.listening
    return { server: next, tookMs, lost }
  } catch (error) {
    lost.push(`P14: a process that was started while the first one stopped did not take over: ${String(error)}`)
    return { server: await world.start(), tookMs, lost }
  }
}

async function allConnected(goodbyes: Goodbyes): Promise<void> {
  if (!(await untilTrue(PATIENCE_MS, () => goodbyes.connected === goodbyes.watchers))) throw new Error('readers did not connect')
  goodbyes.reset()
}

/** A stop must cut no step off: each tool that began has ended, each model call was made once, each command was answered. */
function judgeSteps(
  sums: { readonly unknown: number; readonly superseded: number; readonly crashLoops: number },
  lines: readonly LedgerLine[],
  commander: Commander,
): readonly string[] {
  const ended = new Set(lines.flatMap(({ call, at }) => (at === 'end' ? [call] : [])))
  const cut = lines.filter(({ call, at }) => at === 'begin' && !ended.has(call))
  const unanswered = commander.sent.filter(({ outcome }) => outcome === 'unknown')
  return [
    ...cut.map(({ call, tool }) => `P14: the call ${call} of ${tool} was cut off by a stop`),
    ...unanswered.map((command) => `P14: a command got no answer through a restart: ${JSON.stringify(command)}`),
    ...(sums.unknown === 0 ? [] : [`P14: ${sums.unknown} calls have an unknown outcome`]),
    ...(sums.superseded === 0 ? [] : [`P14: ${sums.superseded} model calls were cut off`]),
    ...(sums.crashLoops === 0 ? [] : [`P14: ${sums.crashLoops} runs ended as crash_loop`]),
  ]
}

/** A step that does not end: a second signal ends the server at once; without one the deadline does, and the run is there afterwards. */
async function stopStubborn({ world, server, goodbyes }: Restarting, round: number): Promise<Stopped> {
  const lost: string[] = []
  const commander = createCommander(world)
  const { id } = await commander.client.createSession({ title: `stubborn ${round}` })
  const key = `stubborn${round}`
  const command = `echo '{"call":"CALL","tool":"bash","at":"begin"}' >> '${world.ledger}'; trap '' TERM INT; sleep 300`
  await commander.message(id, { key, turns: [{ words: 1, calls: [{ tool: 'bash', args: { command } }] }] }, 'client', undefined)
  if (!(await untilTrue(PATIENCE_MS, () => readLedger(world.ledger).some(({ call }) => call.startsWith(key)))))
    throw new Error('the stubborn step did not begin')
  await allConnected(goodbyes)
  const twice = round % 2 === 0
  const signals = round % 4 < 2 ? SIGNALS : SIGNALS.toReversed()
  let beganMs = performance.now()
  server.signal(signals[0]!)
  if (!(await untilTrue(SHUTDOWN_MS, () => goodbyes.told >= goodbyes.watchers))) lost.push('P14: readers were not told of the stop')
  if (twice) {
    beganMs = performance.now()
    server.signal(signals[1]!)
  }
  const { code, signal } = await server.ended
  const tookMs = performance.now() - beganMs
  if (code !== (twice ? 130 : 0)) lost.push(`P14: after ${twice ? 'a second signal' : 'the deadline'} the server ended with ${code ?? signal}: ${server.said}`)
  if (tookMs > (twice ? AT_ONCE_MS : SHUTDOWN_MS + BEYOND_MS))
    lost.push(`P14: after ${twice ? 'a second signal' : 'a signal'} the server took ${tookMs.toFixed(0)} ms`)
  const next = await world.start()
  await untilTrue(PATIENCE_MS, () => world.living(next.pid).length === 0)
  for (const { pid, command: left } of world.living(next.pid)) lost.push(`P5: process ${pid} is left: ${left}`)
  await commander.client.getSession(id)
  for await (const event of commander.client.events(id, { after: 0, untilRunEnd: true })) if (event.name === 'run_completed') break
  const results = (await readLog(world, id)).filter(({ name }) => name === 'tool_execution_completed').map(({ payload }) => String(payload['result']))
  if (results.length !== 1 || !results[0]?.startsWith('TOOL_CALL_OUTCOME_UNKNOWN'))
    lost.push(`P5: session ${id}: the call that was cut off has the results ${JSON.stringify(results)}`)
  return { server: next, tookMs, lost }
}
