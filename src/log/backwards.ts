/** Looking at a stream from a position backwards, in bounded pages. */
import type { Recorded } from '../domain/event.ts'
import type { Position, SessionId } from '../domain/ids.ts'
import type { Store } from './store.ts'
import { requireInside } from '../domain/decide-fork.ts'
import { ConvokeError } from '../domain/errors.ts'
import { lookBack, NOT_LOOKED } from '../domain/fork-point.ts'

/** Events that are held at once. */
const WINDOW = 128

/** The events of `stream` from `from` back to the one behind `after`, the last one first. `turn` lets others go before between two windows. */
export async function* readBackwards(
  log: Pick<Store, 'read'>,
  stream: SessionId,
  from: Position,
  after: Position = 0,
  turn: () => Promise<void> = () => Promise.resolve(),
): AsyncGenerator<Recorded, void, void> {
  for (let upTo = from; upTo > after;) {
    const begin = Math.max(after, upTo - WINDOW)
    const window: Recorded[] = []
    // A page may be shorter than it was asked for: large events fill it.
    for (let at = begin; at < upTo; at = window.at(-1)?.position ?? upTo) {
      const page = await log.read(stream, at, upTo - at)
      if (page === undefined || page.events.length === 0) return
      window.push(...page.events)
    }
    yield* window.reverse()
    upTo = begin
    if (upTo > after) await turn()
  }
}

/**
 * Looks whether `stream` can be forked at `at`. A turn may be as long as a log, and `turn` keeps others from waiting for it.
 *
 * @throws {ConvokeError} `not_found`; `invalid_fork_point` beyond the log, inside a turn, or between a call and its result
 */
export async function requireForkPoint(log: Pick<Store, 'read' | 'head'>, stream: SessionId, at: Position, turn?: () => Promise<void>): Promise<void> {
  const head = await log.head(stream)
  if (head === undefined) throw new ConvokeError('not_found', 'session not found')
  requireInside(at, head)
  let look = NOT_LOOKED
  for await (const { event } of readBackwards(log, stream, at, 0, turn)) {
    look = lookBack(look, event)
    if (look.isForkPoint !== undefined) break
  }
  if (look.isForkPoint !== true) throw new ConvokeError('invalid_fork_point', `a turn is under way at position ${at}, or a call has no result there yet`)
}
