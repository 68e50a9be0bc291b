/** What the engine holds in the end, opened anew: the log as it was told, and everything that was folded from it (P1, P3). */
import { isDeepStrictEqual } from 'node:util'
import type { Recorded } from '../../src/domain/event.ts'
import type { SessionId, UserId } from '../../src/domain/ids.ts'
import type { SessionSummary } from '../../src/projection/session-summary.ts'
import type { Engine } from '../../src/testing/simulation/disk.ts'
import type { Truth } from './truth.ts'
import { fold } from '../../src/log/apply.ts'
import { READ_EVENTS_MAX } from '../../src/log/store.ts'
import { LIST_LIMIT_MAX } from '../../src/projection/reads.ts'
import { summarize } from '../../src/projection/session-summary.ts'
import { messageOf } from '../../src/projection/transcript.ts'

/** Everything that differs, as sentences. */
export async function differences(engine: Engine, truth: Truth, owner: UserId): Promise<readonly string[]> {
  const found: string[] = []
  for (const [stream, log] of truth.streams) found.push(...(await ofStream(engine, stream, log, truth.baseOf(stream))))
  for (const stream of truth.erased.keys()) found.push(...(await shownOf(engine, stream, owner)))
  found.push(...(await ofFeed(engine, truth, owner)))
  const left = await engine.unfinishedRuns(LIST_LIMIT_MAX)
  found.push(...left.map(({ runId }) => `P6: the engine still lists run ${runId} as unfinished`))
  const { total } = await engine.sessions({ owner, limit: 1 })
  if (total !== truth.streams.size) found.push(`row = fold(log): ${total} session(s) are listed, ${truth.streams.size} were created`)
  return found
}

async function ofStream(engine: Engine, stream: SessionId, log: readonly Recorded[], base: number): Promise<readonly string[]> {
  const read = await whole(engine, stream)
  // What a fork inherits is its history, and nothing of its state.
  const own = log.slice(base)
  const summary = own.reduce<SessionSummary | undefined>((folded, recorded) => summarize(stream, folded, recorded), undefined)
  const messages = log.flatMap((recorded) => messageOf(recorded) ?? [])
  const checks: readonly (readonly [string, unknown, unknown])[] = [
    ['P1: the log', read, log],
    [
      'row = fold(log): the state',
      await engine.state(stream),
      fold(
        undefined,
        base,
        own.map(({ event }) => event),
      ),
    ],
    ['row = fold(log): the summary', await engine.session(stream), summary],
    ['row = fold(log): the transcript', (await engine.messages(stream, { limit: LIST_LIMIT_MAX, offset: 0 })).items, messages.slice(0, LIST_LIMIT_MAX)],
  ]
  return checks.flatMap(([what, stored, told]) => (same(stored, told) ? [] : [`${what} of ${stream} differs from what was committed`]))
}

/** What is shown of an erased session, as sentences. @see L14 */
export async function shownOf(engine: Engine, stream: SessionId, owner: UserId): Promise<readonly string[]> {
  const isListed = async () => {
    const { items } = await engine.sessions({ owner, limit: LIST_LIMIT_MAX })
    const ids = await engine.sessionIds(owner, undefined, LIST_LIMIT_MAX)
    return items.some(({ id }) => id === stream) || ids.includes(stream) ? true : undefined
  }
  const checks: readonly (readonly [string, unknown])[] = [
    ['head', await engine.head(stream)],
    ['state', await engine.state(stream)],
    ['log', await engine.read(stream, 0, 1)],
    ['summary', await engine.session(stream)],
    ['summary with a head', await engine.sessionAt(stream)],
    ['transcript', (await engine.messages(stream, { limit: 1, offset: 0 })).total || undefined],
    ['history', (await engine.history(stream, Number.MAX_SAFE_INTEGER, 1))[0]],
    ['place in a list', await isListed()],
  ]
  return checks.flatMap(([what, shown]) => (shown === undefined ? [] : [`L14: the erased session ${stream} still has a ${what}`]))
}

/** What differs in one page of a log, from any cursor. */
export async function inPage(engine: Engine, truth: Truth, stream: SessionId, after: number, limit: number): Promise<readonly string[]> {
  const page = await engine.read(stream, after, limit)
  const log = truth.logOf(stream)
  const events = page?.events ?? []
  const isShort = events.length < Math.min(limit, log.length - after) && events.length === 0
  const isSame = page?.head === log.length && !isShort && same(events, log.slice(after, after + events.length))
  return isSame ? [] : [`P3: ${stream} behind ${after} reads otherwise than it was written`]
}

/** What differs in one page of the feed, from any cursor. */
export async function inFeedPage(engine: Engine, truth: Truth, owner: UserId, after: number, limit: number): Promise<readonly string[]> {
  const page = await engine.readFeed(owner, after, limit)
  const shown = page.batches.flatMap(({ stream, from, feed, events }) => events.map((_event, index) => ({ stream, position: from + index, feed })))
  const told = truth.feed.filter(({ stream, feed }) => feed > after && feed <= page.next && truth.streams.has(stream))
  const isPrefix = page.more || page.next >= (truth.feed.findLast(({ stream }) => truth.streams.has(stream))?.feed ?? 0)
  return isPrefix && same(shown, told) ? [] : [`P3: the feed behind ${after} differs from the commits`]
}

async function ofFeed(engine: Engine, truth: Truth, owner: UserId): Promise<readonly string[]> {
  const feed: { readonly stream: SessionId; readonly position: number }[] = []
  for (let after = 0; ;) {
    const page = await engine.readFeed(owner, after, READ_EVENTS_MAX)
    for (const { stream, from, events } of page.batches) feed.push(...events.map((_event, index) => ({ stream, position: from + index })))
    after = page.next
    const told = truth.feed.flatMap(({ stream, position }) => (truth.streams.has(stream) ? [{ stream, position }] : []))
    if (!page.more) return same(feed, told) ? [] : ['P3: the feed differs from the order of the commits']
  }
}

async function whole(engine: Engine, stream: SessionId): Promise<readonly Recorded[]> {
  const log: Recorded[] = []
  for (;;) {
    const page = await engine.read(stream, log.length, READ_EVENTS_MAX)
    log.push(...(page?.events ?? []))
    if (page === undefined || page.events.length === 0 || log.length >= page.head) return log
  }
}

/** Equal as JSON is: what is absent and what is undefined are one. */
function same(a: unknown, b: unknown): boolean {
  const [first, second] = [JSON.stringify(a ?? null), JSON.stringify(b ?? null)]
  return first === second || isDeepStrictEqual(JSON.parse(first), JSON.parse(second))
}
