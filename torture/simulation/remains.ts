/** What is left of erased sessions in an engine's own rows, when everything was swept: what forks inherit, and nothing else (L14, U2). */
import type { Recorded } from '../../src/domain/event.ts'
import type { SessionId } from '../../src/domain/ids.ts'
import type { Truth } from './truth.ts'

/** What an engine keeps, as it lies there. */
export interface Held {
  /** Everything but the records of idempotency keys, whose answers name ids. */
  readonly text: string
  /** Events and messages in its rows, each counted once. */
  readonly events: number
  readonly messages: number
  /** Rows that belong to nothing. */
  readonly stray: readonly string[]
}

/** Files of tools that are there, by session. */
export type Outputs = ReadonlyMap<SessionId, ReadonlySet<string>>

const IN_TRANSCRIPT: ReadonlySet<string> = new Set(['MessageAdded', 'ToolCompleted', 'ToolRejected'])
const UUID = /[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g

/** Everything that should not be there, or should, as sentences. */
export function* remains(held: Held, outputs: Outputs, truth: Truth): Generator<string> {
  const kept = truth.kept()
  const there = [...[...truth.streams.keys()].flatMap((stream) => truth.ownOf(stream)), ...[...kept.values()].flat()]
  if (held.events !== there.length) yield `U2: the engine keeps ${held.events} event(s), and ${there.length} are read by somebody`
  const messages = there.filter(({ event }) => IN_TRANSCRIPT.has(event.type)).length
  if (held.messages !== messages) yield `U2: the engine keeps ${held.messages} message(s), and ${messages} are read by somebody`
  for (const sentence of held.stray) yield `U2: ${sentence}`
  const found = new Set(held.text.match(UUID))
  const needed = new Set(there.flatMap((recorded) => [...namesIn(recorded), ...nextIn(recorded)]))
  for (const stream of truth.erased.keys()) {
    const left = truth
      .ownOf(stream)
      .flatMap(namesIn)
      .find((name) => found.has(name) && !needed.has(name))
    if (left !== undefined) yield `L14: ${left} of the erased session ${stream} is still in the engine`
  }
  yield* inFiles(outputs, truth)
}

/** Ids that stand in an event and in no other session's. */
function namesIn({ event }: Recorded): readonly string[] {
  return [...('runId' in event ? [event.runId] : []), ...('messageId' in event ? [event.messageId] : [])]
}

/** A message that waited names a run that began later. */
function nextIn({ event }: Recorded): readonly string[] {
  return event.type === 'MessageQueued' ? [event.nextRunId] : []
}

/** A file is there as long as a history names it. */
function* inFiles(outputs: Outputs, truth: Truth): Generator<string> {
  const named = new Set([...truth.streams.values()].flatMap((log) => log.flatMap(fileIn)))
  for (const file of named) {
    const [, , stream = '', name = ''] = file.split('/')
    if (outputs.get(stream as SessionId)?.has(name) !== true) yield `P2 of purge: ${file} is gone, and a history names it`
  }
  for (const stream of truth.erased.keys()) {
    const left = truth
      .ownOf(stream)
      .flatMap(fileIn)
      .find((file) => !named.has(file) && outputs.get(stream)?.has(file.split('/')[3] ?? '') === true)
    if (left !== undefined) yield `P1 of purge: ${left} of an erased session is still there`
  }
}

function fileIn({ event }: Recorded): readonly string[] {
  return event.type === 'ToolCompleted' && event.outputFile !== undefined ? [event.outputFile] : []
}
