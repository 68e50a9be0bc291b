/**
 * `npm run bench [-- NAME...] [--write]`: runs the benchmarks, prints their figures, and writes them to RESULTS.md when asked.
 *
 * Each figure stands against a floor that was measured in the same run; machines differ, ratios hold.
 */
import { writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import type { Bench, Figure } from './support/bench.ts'
import { append } from './append.ts'
import { fanOut } from './fan-out.ts'
import { firstToken } from './first-token.ts'
import { growth } from './growth.ts'
import { journal } from './journal.ts'
import { manyRuns } from './many-runs.ts'
import { recovery } from './recovery.ts'
import { replay } from './replay.ts'
import { requests } from './requests.ts'
import { soak } from './soak.ts'
import { stalled } from './stalled.ts'
import { start } from './start.ts'
import { wholeRoad } from './whole-road.ts'

const ALL: readonly Bench[] = [append, firstToken, fanOut, requests, replay, growth, start, manyRuns, wholeRoad, recovery, journal, stalled, soak]

const { values, positionals } = parseArgs({ allowPositionals: true, options: { write: { type: 'boolean', default: false } } })
const chosen = ALL.filter(({ name }) => positionals.length === 0 || positionals.includes(name))
if (chosen.length === 0) throw new Error(`no such benchmark; there are ${ALL.map(({ name }) => name).join(', ')}`)

const sections: string[] = []
for (const bench of chosen) {
  console.log(`\n${bench.name}: ${bench.about}`)
  const figures = await bench.run()
  console.table(Object.fromEntries(figures.map(({ what, ...rest }) => [what, rest])))
  sections.push(section(bench, figures))
}
if (values.write) writeFileSync(new URL('./RESULTS.md', import.meta.url), document(sections))

function section(bench: Bench, figures: readonly Figure[]): string {
  const rows = figures.map(
    ({ what, ours, floor, target, met }) => `| ${what} | ${ours} | ${floor ?? ''} | ${target} | ${met === undefined ? '' : met ? 'yes' : 'no'} |`,
  )
  return [`## ${bench.name}`, '', `${bench.about}.`, '', '| figure | ours | floor | target | met |', '|---|---|---|---|---|', ...rows, ''].join('\n')
}

function document(parts: readonly string[]): string {
  const machine = `${cpus().length} cores (${cpus()[0]?.model.trim()}), Node ${process.versions.node}, SQLite ${process.versions['sqlite']}`
  return [
    '# Benchmark results',
    '',
    `Medians of interleaved rounds on ${machine}. Made by \`npm run bench -- --write\`. How to read them: [README.md](README.md).`,
    '',
    ...parts,
  ].join('\n')
}
