/**
 * Clients drive scripted runs while the server is killed at random moments, over and over; then everything that anybody saw or was
 * answered is compared with the log, and what tools did with the ledger.
 */
import type { Part, PartOptions, PartResult } from '../part.ts'
import { createClient, type Client } from '../../src/client/index.ts'
import { chanceOf, type Chance } from '../support/chance.ts'
import { createCommander } from '../support/commander.ts'
import { startFeedReader, type FeedReader } from '../support/feed-reader.ts'
import { ledgerConfig, LEDGER_TOOL_RULES } from '../support/ledger-config.ts'
import { startScriptedProvider } from '../support/scripted-provider.ts'
import { elapsed, settlesWithin } from '../support/wait.ts'
import { createWorld, endServer, type ServerChild, type World } from '../support/world.ts'
import { startClients } from './clients.ts'
import { decisionOf, planSession } from './plan.ts'
import { allSessions, reckon } from './reckoning.ts'
import type { Crew, SessionStory } from './session.ts'

const KILLS = { short: 200, long: 2_000 } as const
/** Sessions that are driven at once. */
const SESSIONS_AT_ONCE = 10
/** How long a server lives that has begun to listen, in ms. */
const ALIVE_MS = { from: 50, to: 300 } as const
/** A start that takes longer than this, in ms, shows a busy machine: there a server lives longer, up to so many times. */
const START_MS = 350
const SLOWER_MAX = 3
/** Share of the kills that hit a server while it starts, and when, in ms. */
const START_KILLS = 0.1
const START_KILL_MS = { from: 10, to: 250 } as const
/** How long the calm after the last kill may take, in ms. */
const CALM_MS = 120_000
/** How long the feed may take to what the sessions have, in ms. */
const CATCH_UP_MS = 10_000
/** Pace of the model, in ms per word. */
const PACE_MS = 2

export const kill: Part = {
  name: 'kill',
  breaks: 'the server is killed (SIGKILL) at random moments, also while it starts',
  promises: 'P1 P2 P3 P5 P6 P7 P10',
  async run(options) {
    const provider = await startScriptedProvider(PACE_MS)
    const world = createWorld('kill', () => ledgerConfig(provider.url))
    try {
      const result = await torture(world, provider, options)
      if (result.lost.length > 0) world.keep()
      return result.lost.length === 0 ? result : { ...result, lost: [...result.lost, `the data folder is kept in ${world.folder}`] }
    } finally {
      await world.close()
      await provider.close()
    }
  },
}

async function torture(world: World, provider: Awaited<ReturnType<typeof startScriptedProvider>>, { seed, form, say }: PartOptions): Promise<PartResult> {
  const giveUp = new AbortController()
  const lost: string[] = []
  const first = await world.start()
  const commander = createCommander(world, { signal: giveUp.signal, eager: true })
  const feeds = [startFeedReader(world, 'all'), startFeedReader(world, 'contract')] as const
  const crew: Crew = { world, seed, commander, signal: giveUp.signal }
  const clients = startClients(crew, SESSIONS_AT_ONCE, (index) => planSession(seed, index, world.ledger))
  let server: ServerChild | undefined
  try {
    const killed = await killOver(world, first, KILLS[form], chanceOf(seed, 'kills'), (done) => say(`${done} kills, ${clients.scenarios.length} sessions`))
    server = killed.server
    lost.push(...killed.lost)
    clients.end()
    if (!(await settlesWithin(CALM_MS, clients.done))) lost.push(`P6: the clients were not done ${CALM_MS} ms after the last kill`)
  } finally {
    giveUp.abort()
    await clients.done
  }
  lost.push(...(await calmDown(createClient({ url: world.url }), seed)))
  lost.push(...(await awaitFeed(world, feeds[0], clients.scenarios)))
  await Promise.all(feeds.map((feed) => feed.stop()))
  lost.push(...(await endServer(world, server)))
  // What is compared is what a process finds that saw none of it happen.
  const last = await world.start()
  const { scenarios } = clients
  const sums = await reckon({ world, scenarios, feeds, sent: commander.sent, provider, rules: LEDGER_TOOL_RULES })
  lost.push(
    ...sums.found,
    ...commander.found,
    ...provider.found,
    ...[...feeds, ...scenarios.flatMap(({ readers }) => readers), ...scenarios].flatMap(({ found }) => found),
  )
  lost.push(...(await endServer(world, last)))
  const returns = [...feeds, ...scenarios.flatMap(({ readers }) => readers)].reduce((sum, reader) => sum + reader.returns, 0)
  say(`${provider.requests} model calls, ${provider.cutOff} of them cut off; ${commander.replayed} lost answers or repeats were answered from their key`)
  say(`commands: ${tally(commander.sent.map(({ kind, outcome }) => `${kind} ${outcome}`))}`)
  return {
    tried: [
      `${KILLS[form]} kills`,
      `${sums.sessions} sessions`,
      `${sums.runs} runs`,
      `${sums.takeovers} takeovers`,
      `${sums.events} events`,
      `${sums.calls} tool calls (${sums.unknown} with unknown outcome)`,
      `${commander.sent.length} commands`,
      `${returns} reconnections`,
      `${sums.crashLoops} runs ended as crash_loop`,
    ],
    lost,
  }
}

/** Kills `times` servers, and leaves one alive. */
async function killOver(
  world: World,
  first: ServerChild,
  times: number,
  chance: Chance,
  say: (done: number) => void,
): Promise<{ readonly server: ServerChild; readonly lost: readonly string[] }> {
  const lost: string[] = []
  let server = first
  let slower = 1
  for (let done = 0; done < times;) {
    await elapsed(chance.between(ALIVE_MS.from, ALIVE_MS.to) * slower)
    lost.push(...(await killOne(server)))
    done++
    if (done < times && chance.hit(START_KILLS)) {
      const starting = world.spawn()
      await elapsed(chance.between(START_KILL_MS.from, START_KILL_MS.to))
      lost.push(...(await killOne(starting)))
      done++
    }
    const beganMs = performance.now()
    server = await world.start()
    slower = Math.min(Math.max(1, (performance.now() - beganMs) / START_MS), SLOWER_MAX)
    if (done % 20 === 0) say(done)
  }
  return { server, lost }
}

async function killOne(server: ServerChild): Promise<readonly string[]> {
  const { code, signal } = await server.kill('SIGKILL')
  return signal === 'SIGKILL' ? [] : [`a server ended by itself (${code ?? signal}): ${server.said}`]
}

/** Waits until the feed has brought everything of the sessions that were driven. */
async function awaitFeed(world: World, feed: FeedReader, scenarios: readonly SessionStory[]): Promise<readonly string[]> {
  const client = createClient({ url: world.url })
  const lost: string[] = []
  for (const { id } of scenarios) {
    const { position } = await client.getSession(id)
    if (!(await feed.reached(id, position, CATCH_UP_MS))) lost.push(`P3: session ${id}: the feed did not come to position ${position}`)
  }
  return lost
}

/** Waits until no run is active; answers calls that wait for a person whose client is gone. */
async function calmDown(client: Client, seed: number): Promise<readonly string[]> {
  const endMs = performance.now() + CALM_MS
  for (;;) {
    const busy = (await allSessions(client)).filter(({ state }) => state !== 'idle' && state !== 'failed')
    if (busy.length === 0) return []
    if (performance.now() > endMs) return busy.map(({ id, state }) => `P6: session ${id} is still ${state} ${CALM_MS} ms after the last kill`)
    for (const { id } of busy) {
      const { run_id, tool_calls } = await client.pendingTools(id)
      const decisions = Object.fromEntries(tool_calls.map((call) => [call.id, { action: decisionOf(seed, call.id), content: 'late' }]))
      if (run_id !== null && tool_calls.length > 0) await client.decide(id, run_id, decisions).catch(() => undefined)
    }
    await elapsed(100)
  }
}

function tally(names: readonly string[]): string {
  const counts = new Map<string, number>()
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1)
  return [...counts].map(([name, count]) => `${name} ${count}`).join(', ')
}
