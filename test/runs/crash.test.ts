import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { RunId } from '../../src/domain/ids.ts'
import type { Fate } from '../../src/testing/failing-store.ts'
import { ENGINES, rig, type Rig, type RigOptions } from './rig.ts'
import { answer, checkPromises, finishedCalls, newWorld, scenario, type World } from './scenario.ts'

/** The process dies at this commit, counted from the first one of its life. */
interface Cut {
  readonly at: number
  readonly fate: Extract<Fate, 'cut-before' | 'cut-after'>
}

const fateOf =
  (cut: Cut): NonNullable<RigOptions['fateOf']> =>
  (commit) =>
    commit === cut.at ? cut.fate : 'pass'

/** Answers questions until the run has ended or the process is dead. */
async function live(r: Rig, run: RunId): Promise<'ended' | 'dead'> {
  const ended = r.ended(run).then(() => 'ended' as const)
  // A dead process answers nobody; one that ended needs no answer.
  answer(r).catch(() => undefined)
  return Promise.race([ended, r.store.cut.then(() => 'dead' as const)])
}

/** What holds at each death: nothing was shown that the log does not hold, in the same place (P2). */
async function checkDeath(dead: Rig, next: Rig): Promise<void> {
  const log = await wholeLog(next)
  for (const shown of dead.published) expect(log[shown.position - 1]).toEqual(shown)
  const positions = dead.published.map(({ position }) => position)
  expect(positions).toEqual([...new Set(positions)].toSorted((a, b) => a - b))
}

/** Runs the scenario through lives that end with `cuts`, then to its end. Answers the last life. */
async function runThrough(engine: RigOptions['engine'], cuts: readonly Cut[], world: World): Promise<{ readonly last: Rig; readonly deaths: number }> {
  const options = { ...scenario(world), ...(engine === undefined ? {} : { engine }) }
  const none: Cut = { at: 0, fate: 'cut-before' }
  // The session is made by the first commit, and the run is started by the second one: both are the client's.
  const [first = none, ...later] = cuts
  let r = await rig({ ...options, fateOf: fateOf({ ...first, at: first.at === 0 ? 0 : first.at + 2 }) })
  await r.send('go')
  const { run } = r
  let deaths = 0
  for (const cut of [...later, none]) {
    if ((await live(r, run)) === 'ended') break
    deaths++
    const log = await wholeLog(r)
    const finished = finishedCalls(log, world)
    const turns = log.filter(({ event }) => event.type === 'UsageReported').length
    const next = await r.restart({ fateOf: fateOf(cut) })
    await checkDeath(r, next)
    const outcome = cut === none ? await live(next, run) : 'dead'
    if (outcome === 'ended') {
      for (const [id, runs] of finished) expect([id, world.runsOf(id)]).toEqual([id, runs])
      // One call for each turn that had not been finished: none is made twice in one life.
      expect(next.models.seen).toHaveLength(3 - turns)
    }
    r = next
  }
  expect(await live(r, run)).toBe('ended')
  return { last: r, deaths }
}

/** The log as it stands, read past a store that may be dead. */
async function wholeLog(r: Rig) {
  return (await r.beneath.read(r.id, 0, 512))?.events ?? []
}

/** Commits of the scenario's driver and of the person who answers it, counted from a run without a cut. */
async function countCommits(): Promise<number> {
  const world = newWorld()
  const { last } = await runThrough('memory', [], world)
  checkPromises(await last.log(), world)
  return last.store.commits - 2
}

const commits = await countCommits()
const points = Array.from({ length: commits }, (_, index) => [
  { at: index + 1, fate: 'cut-before' } as const,
  { at: index + 1, fate: 'cut-after' } as const,
]).flat()

test('the scenario has enough commits to be cut at', () => {
  expect(commits).toBeGreaterThan(10)
})

describe.each(ENGINES)('a process over %s', (engine) => {
  test.each(points)('that dies at commit $at of a run, $fate, leaves a run that the next one ends as if nothing had happened', async (cut) => {
    const world = newWorld()
    const { last, deaths } = await runThrough(engine, [cut], world)
    expect(deaths).toBe(1)
    checkPromises(await last.log(), world)
  })
})

test('a run survives any three deaths', async () => {
  const anyCut = fc.record({ at: fc.integer({ min: 1, max: commits }), fate: fc.constantFrom('cut-before', 'cut-after') } as const)
  await fc.assert(
    fc.asyncProperty(fc.array(anyCut, { minLength: 2, maxLength: 3 }), async (cuts) => {
      const world = newWorld()
      const { last } = await runThrough('memory', cuts as readonly Cut[], world)
      checkPromises(await last.log(), world)
    }),
    { numRuns: 60 },
  )
})
