/** What the clients will do: drawn from the seed before anything runs, so that no kill shifts a choice. */
import { chanceOf, type Chance } from '../support/chance.ts'
import type { Via } from '../support/commander.ts'
import type { ReaderKind } from '../support/readers.ts'
import type { Script, ScriptCall, ScriptTurn } from '../support/script.ts'

/** What is done while a message's run goes on. */
export interface Companion {
  readonly what: 'steer' | 'enqueue' | 'interrupt' | 'cancel' | 'rename'
  /** How many events the driver sees before. */
  readonly afterEvents: number
  readonly script: Script
}

/** A message, and what happens beside it. */
export interface PlannedMessage {
  readonly script: Script
  readonly via: Via
  readonly companion?: Companion
}

/** What happens in one session. */
export interface SessionPlan {
  readonly title: string
  readonly messages: readonly PlannedMessage[]
  /** Beside the driver's own client; a session's first event is there when they begin. */
  readonly readers: readonly { readonly kind: ReaderKind; readonly after: number }[]
}

/** The plan of session `index`. */
export function planSession(seed: number, index: number, ledger: string): SessionPlan {
  const chance = chanceOf(seed, 'session', index)
  const scriptOf = (key: string): Script => ({ key, turns: turnsOf(chance, ledger) })
  const messages = Array.from({ length: chance.between(1, 3) }, (_, number): PlannedMessage => {
    const key = `s${index}m${number}`
    const companion = chance.hit(0.6) ? { companion: companionOf(chance, scriptOf(`${key}c`)) } : {}
    return { script: scriptOf(key), via: chance.pick(['client', 'client', 'twins', 'socket'] as const), ...companion }
  })
  const kinds = ['raw stream', 'contract stream', 'socket'] as const
  const readers = [chance.pick(kinds), chance.pick(kinds)].map((kind, place) => ({ kind, after: place }))
  return { title: `session ${index}`, messages, readers }
}

/** The answer that a person gives to a call; the same for everybody who asks. */
export function decisionOf(seed: number, call: string): 'accept' | 'reject' | 'custom_result' {
  return chanceOf(seed, 'decision', call).pick(['accept', 'accept', 'accept', 'reject', 'custom_result'] as const)
}

function companionOf(chance: Chance, script: Script): Companion {
  const what = chance.pick(['steer', 'steer', 'enqueue', 'enqueue', 'interrupt', 'cancel', 'rename'] as const)
  return { what, afterEvents: chance.between(1, 45), script }
}

function turnsOf(chance: Chance, ledger: string): readonly ScriptTurn[] {
  return Array.from({ length: chance.between(0, 3) }, (): ScriptTurn => {
    const calls = chance.hit(0.15) ? looks(chance) : Array.from({ length: chance.between(1, 3) }, () => callOf(chance, ledger))
    return { words: chance.between(1, 10), calls, ...(chance.hit(0.05) ? { flaky: true } : {}) }
  })
}

/** Calls that may run side by side. */
function looks(chance: Chance): readonly ScriptCall[] {
  return Array.from({ length: chance.between(2, 4) }, () => ({ tool: 'look', args: { ms: chance.between(0, 30) } }))
}

function callOf(chance: Chance, ledger: string): ScriptCall {
  const args = { ms: chance.between(0, 40) }
  const kind = chance.pick(['note', 'note', 'note', 'pay', 'pay', 'pay', 'pay', 'launch', 'launch', 'bash', 'bash', 'wrong'] as const)
  if (kind === 'bash') return { tool: 'bash', args: { command: bashCommand(ledger, args.ms) } }
  if (kind !== 'wrong') return { tool: kind, args }
  return chance.pick<ScriptCall>([
    { tool: 'nothing', args },
    { tool: 'pay', args: { ms: 'soon' } },
    { tool: 'pay', args, raw: '{"ms": 1' },
  ])
}

/** Writes to the ledger before it acts and when it has, as the harness' own tools do. */
function bashCommand(ledger: string, ms: number): string {
  const write = (at: string) => `echo '{"call":"CALL","tool":"bash","at":"${at}"}' >> '${ledger}'`
  return `${write('begin')}; sleep ${ms / 1000}; ${write('end')}; echo ok CALL`
}
