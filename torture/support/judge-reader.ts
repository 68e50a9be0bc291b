/** What one reader saw, compared with the log (P2, P3). */
import { CONTRACT_EVENTS } from '../../src/wire/v1/events.ts'
import type { Seen } from './log.ts'

/** Which events a reader gets: all, or those of the contract. */
export type View = 'all' | 'contract'

/** What a reader saw of one session. */
export interface Sight {
  /** Who, for a sentence: `raw stream`. */
  readonly who: string
  readonly session: string
  readonly view: View
  /** The position after which it began; `undefined` for live only. */
  readonly after: number | undefined
  readonly events: readonly Seen[]
}

/** What is wrong with what a reader saw; nothing where it is a part of the log without a hole, a repeat, or anything foreign. */
export function judgeReader(sight: Sight, log: readonly Seen[]): readonly string[] {
  const visible = log.filter(({ name }) => sight.view === 'all' || Object.hasOwn(CONTRACT_EVENTS, name))
  const say = (promise: string, at: number, what: string) => `${promise}: session ${sight.session}, ${sight.who}, position ${at}: ${what}`
  const places = new Map(visible.map((event, index) => [event.position, index]))
  const first = sight.after ?? (sight.events[0]?.position ?? 1) - 1
  let next = visible.findIndex(({ position }) => position > first)
  let last = first
  for (const event of sight.events) {
    const place = places.get(event.position)
    if (event.position <= last) return [say('P3', event.position, `it came after ${last}`)]
    if (place === undefined) return [say('P2', event.position, `${event.name} is not in the log`)]
    if (place !== next) return [say('P3', event.position, `it came after ${last}, and ${visible[next]?.position} is missing`)]
    if (event.text !== visible[place]?.text) return [say('P2', event.position, `shown was ${event.text}, the log has ${visible[place]?.text}`)]
    last = event.position
    next++
  }
  return []
}
