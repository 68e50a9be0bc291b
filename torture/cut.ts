/**
 * Cut: every commit of every scenario is cut once in each way, on each engine: the process dies before or after it, or it fails before or after
 * it was written. Each time another process (or the same one) must bring the scenario to its end, with every promise kept.
 *
 * The long form plays each point several times, with other moments.
 */
import type { Part, PartOptions, PartResult } from './part.ts'
import { SCENARIOS } from './cut/scenarios.ts'
import { play, type Cut, type Scenario } from './cut/stage.ts'

/** The ways in which a commit goes wrong. */
const FATES = ['cut-before', 'cut-after', 'fail-before', 'fail-after'] as const
const ENGINES = ['memory', 'sqlite'] as const
/** Broken points after which it stops. */
const BROKEN_MAX = 10
/** Plays of each point, by form: with what else chance decides in them, the moments of commits. */
const ROUNDS = { short: 1, long: 10 } as const

/** The part. */
export const part: Part = {
  name: 'cut',
  breaks: 'every durable write, before and after it',
  promises: 'P1 P5 P6 P7',
  run,
}

async function run({ form, seed, brokenMax = BROKEN_MAX, say }: PartOptions): Promise<PartResult> {
  const lost: string[] = []
  let points = 0
  let plays = 0
  let broken = 0
  for (const engine of ENGINES) {
    for (const scenario of SCENARIOS) {
      const commits = await commitsOf(scenario, engine, lost)
      say(`${engine}: ${scenario.name}: ${commits} commits`)
      for (const cut of cutsOf(commits)) {
        points++
        for (let round = 0; round < ROUNDS[form] && broken < brokenMax; round++) {
          const found = await lostBy(scenario, engine, cut, round === 0 ? 1 : seed + round)
          plays++
          if (found.length > 0) broken++
          lost.push(...found)
        }
      }
    }
  }
  return { tried: [`${SCENARIOS.length} scenarios`, `${points.toLocaleString('en')} cut points`, `${plays.toLocaleString('en')} plays`], lost }
}

/** The commits of a scenario that nothing cuts. It must be told to its end, or its points would be fewer than they seem. */
async function commitsOf(scenario: Scenario, engine: (typeof ENGINES)[number], lost: string[]): Promise<number> {
  const { commits, given, lost: found } = await play(scenario, engine, { at: 0, fate: 'fail-before' })
  lost.push(...found.map((sentence) => `${engine}, ${scenario.name}, uncut: ${sentence}`))
  if (given < scenario.steps.length) lost.push(`${engine}, ${scenario.name}: only ${given} of ${scenario.steps.length} steps were reached`)
  return commits
}

function* cutsOf(commits: number): Generator<Cut> {
  for (let at = 1; at <= commits; at++) for (const fate of FATES) yield { at, fate }
}

async function lostBy(scenario: Scenario, engine: (typeof ENGINES)[number], cut: Cut, seed: number): Promise<readonly string[]> {
  const { lost, reached } = await play(scenario, engine, cut, { seed })
  const where = `${engine}, ${scenario.name}, ${cut.fate} at commit ${cut.at}, seed ${seed}`
  // With other moments there may be fewer commits; with the counted ones the point must be there.
  if (!reached && seed === 1) return [`${where}: the point was not reached`]
  return lost.map((sentence) => `${where}: ${sentence}`)
}
