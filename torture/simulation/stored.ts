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
  for (const [stream, log] of truth.streams) found.push(...(await ofStream(engine, stream, log)))
  found.push(...(await ofFeed(engine, truth, owner)))
  const left = await engine.unfinishedRuns(LIST_LIMIT_MAX)
  found.push(...left.map(({ runId }) => `P6: the engine still lists run ${runId} as unfinished`))
  const { total } = await engine.sessions({ owner, limit: 1 })
  if (total !== truth.streams.size) found.push(`row = fold(log): ${total} session(s) are listed, ${truth.streams.size} were created`)
  return found
}

async function ofStream(engine: Engine, stream: SessionId, log: readonly Recorded[]): Promise<readonly string[]> {
  const read = await whole(engine, stream)
  const events = log.map(({ event }) => event)
  const summary = log.reduce<SessionSummary | undefined>((folded, recorded) => summarize(stream, folded, recorded), undefined)
  const messages = log.flatMap((recorded) => messageOf(recorded) ?? [])
  const checks: readonly (readonly [string, unknown, unknown])[] = [
    ['P1: the log', read, log],
    ['row = fold(log): the state', await engine.state(stream), fold(undefined, 0, events)],
    ['row = fold(log): the summary', await engine.session(stream), summary],
    ['row = fold(log): the transcript', (await engine.messages(stream, { limit: LIST_LIMIT_MAX, offset: 0 })).items, messages.slice(0, LIST_LIMIT_MAX)],
  ]
  return checks.flatMap(([what, stored, told]) => (same(stored, told) ? [] : [`${what} of ${stream} differs from what was committed`]))
}

async function ofFeed(engine: Engine, truth: Truth, owner: UserId): Promise<readonly string[]> {
  const feed: { readonly stream: SessionId; readonly position: number }[] = []
  for (let after = 0; ;) {
    const page = await engine.readFeed(owner, after, READ_EVENTS_MAX)
    for (const { stream, from, events } of page.batches) feed.push(...events.map((_event, index) => ({ stream, position: from + index })))
    after = page.next
    if (!page.more) return same(feed, truth.feed) ? [] : ['P3: the feed differs from the order of the commits']
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
  return isDeepStrictEqual(JSON.parse(JSON.stringify(a ?? null)), JSON.parse(JSON.stringify(b ?? null)))
}
