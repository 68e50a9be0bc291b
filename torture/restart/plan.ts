/** What clients do while the server restarts: steps of half a second, which a stop has to wait for. */
import type { SessionPlan } from '../kill/plan.ts'
import { chanceOf, type Chance } from '../support/chance.ts'
import type { Script, ScriptCall } from '../support/script.ts'

/** How long a slow tool takes, in ms. */
const SLOW_MS = 500

/** The plan of session `index`. */
export function planSession(seed: number, index: number, ledger: string): SessionPlan {
  const chance = chanceOf(seed, 'restart', index)
  const scriptOf = (key: string): Script => ({
    key,
    turns: Array.from({ length: chance.between(1, 3) }, () => ({ words: chance.between(5, 30), calls: callsOf(chance, ledger) })),
  })
  const key = `s${index}`
  const what = chance.pick(['steer', 'enqueue', 'rename'] as const)
  const companion = chance.hit(0.5) ? { companion: { what, afterEvents: chance.between(5, 40), script: scriptOf(`${key}c`) } } : {}
  return {
    title: `session ${index}`,
    messages: [{ script: scriptOf(`${key}m`), via: chance.pick(['client', 'twins'] as const), ...companion }],
    readers: [{ kind: chance.pick(['raw stream', 'contract stream', 'socket'] as const), after: 0 }],
  }
}

function callsOf(chance: Chance, ledger: string): readonly ScriptCall[] {
  const write = (at: string) => `echo '{"call":"CALL","tool":"bash","at":"${at}"}' >> '${ledger}'`
  const bash: ScriptCall = { tool: 'bash', args: { command: `${write('begin')}; sleep ${SLOW_MS / 1000}; ${write('end')}; echo ok CALL` } }
  const slow = (tool: string): ScriptCall => ({ tool, args: { ms: SLOW_MS } })
  return chance.pick([[slow('pay')], [bash], [slow('look'), slow('look')], [slow('launch')], [slow('pay'), slow('note')]])
}
