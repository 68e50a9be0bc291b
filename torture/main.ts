/**
 * `npm run torture`: breaks the server on purpose and counts what was lost.
 *
 * `npm run torture -- [--long] [--seed N] [--seeds COUNT] [--first] [PART...]`; without parts all of them run;
 * with `--first` a part that counts in seeds stops at the first broken one. Ends with a table and, where something was lost, code 1.
 */
import { parseArgs } from 'node:util'
import type { Form, Part, PartResult } from './part.ts'
import { PARTS } from './parts.ts'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { long: { type: 'boolean', default: false }, seed: { type: 'string' }, seeds: { type: 'string' }, first: { type: 'boolean', default: false } },
})
const unknown = positionals.filter((name) => !(name in PARTS))
if (unknown.length > 0) {
  console.error(`there is no part ${unknown.join(', ')}; there are ${Object.keys(PARTS).join(', ')}`)
  process.exit(2)
}
const form: Form = values.long ? 'long' : 'short'
const seed = values.seed === undefined ? Date.now() & 0x7fffffff : Number(values.seed)
console.log(`torture, ${form} form, seed ${seed}`)

const rows: string[] = []
let lost = 0
for (const name of positionals.length > 0 ? positionals : Object.keys(PARTS)) {
  const part = await (PARTS[name] as () => Promise<Part>)()
  const startedMs = performance.now()
  const result = await runPart(part)
  const seconds = Math.round((performance.now() - startedMs) / 1000)
  for (const sentence of result.lost) console.log(`LOST (${part.name}): ${sentence}`)
  lost += result.lost.length
  rows.push(`| ${part.breaks} | ${part.promises} | ${result.tried.join(', ')} | ${seconds} s | ${result.lost.length === 0 ? 'nothing' : result.lost.length} |`)
}
console.log(['', '| what is broken | promises | tried | took | lost |', '|---|---|---|---|---|', ...rows].join('\n'))
process.exitCode = lost === 0 ? 0 : 1

async function runPart(part: Part): Promise<PartResult> {
  console.log(`== ${part.name}: ${part.breaks}`)
  try {
    const seeds = values.seeds === undefined ? {} : { seeds: Number(values.seeds) }
    return await part.run({ seed, form, ...seeds, ...(values.first ? { brokenMax: 1 } : {}), say: (line) => console.log(`   ${line}`) })
  } catch (error) {
    // A part that cannot do its work has shown nothing.
    return { tried: ['not finished'], lost: [`the part itself failed: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`] }
  }
}
