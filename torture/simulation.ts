/**
 * Simulation: command handling, supervisor, drivers, the agent and the streams, all real, in one process under a seeded scheduler.
 *
 * Seed N is one world; a run looks at as many as its form says, from its seed on. With one seed every step of it is said.
 */
import type { Part, PartOptions, PartResult } from './part.ts'
import { runSeed, type SeedResult } from './simulation/world.ts'

/** Worlds of the two forms. */
const SEEDS = { short: 3_000, long: 100_000 } as const
/** Seeds after which it says how far it is. */
const SAY_EVERY = 500
/** Broken seeds after which it stops: more of them say no more. */
const BROKEN_MAX = 10

/** The part. */
export const part: Part = {
  name: 'simulation',
  breaks: 'disk, network, processes and clocks, simulated',
  promises: 'P1-P9, P14',
  run,
}

async function run({ seed, seeds, form, brokenMax = BROKEN_MAX, say }: PartOptions): Promise<PartResult> {
  const count = seeds ?? SEEDS[form]
  const totals = new Map<string, number>()
  const lost: string[] = []
  let broken = 0
  let done = 0
  for (; done < count && broken < brokenMax; done++) {
    const result = await runSeed(seed + done, count === 1 ? say : undefined)
    add(totals, result)
    lost.push(...result.lost)
    if (result.lost.length > 0) {
      broken++
      say(`seed ${result.seed} is broken; again, with each step: npm run torture -- simulation --seed ${result.seed} --seeds 1`)
    }
    if ((done + 1) % SAY_EVERY === 0) say(`${done + 1} of ${count} seeds`)
  }
  say(`ends of runs: ${[...totals].flatMap(([what, n]) => (what.startsWith('end ') ? [`${what.slice(4)} ${n}`] : [])).join(', ')}`)
  const tried = ['runs', 'events', 'commands', 'forks', 'erasures', 'deaths', 'failures', 'frames'].map(
    (what) => `${(totals.get(what) ?? 0).toLocaleString('en')} ${LABELS[what] ?? what}`,
  )
  return { tried: [`${done.toLocaleString('en')} seeds`, ...tried], lost }
}

const LABELS: Readonly<Record<string, string>> = { deaths: 'ends of processes', failures: 'disk failures', frames: 'frames compared' }

function add(totals: Map<string, number>, { counts }: SeedResult): void {
  const { ends, ...numbers } = counts
  for (const [what, n] of [...Object.entries(numbers), ...[...ends].map(([end, n]) => [`end ${end}`, n] as const)])
    totals.set(what, (totals.get(what) ?? 0) + n)
}
