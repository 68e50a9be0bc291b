/** A log with something of everything in it, for tests of what looks at whole logs. */
import type { SessionId } from '../domain/ids.ts'
import type { RecordWrite, Store } from '../log/store.ts'
import { messageId, runId, sessionId } from '../domain/ids.ts'
import { create, decideWrite, deltas, finish, freshId, send } from './writes.ts'

/** Batches of tokens that the long session has: more than one row of places holds. */
const BATCHES = 70

/** Fills a new log: a long session that has ended a run, one whose run waits with a message behind it, an empty one. 221 events in 78 batches. */
export async function fillLog(store: Store): Promise<readonly [SessionId, SessionId, SessionId]> {
  const ids = [sessionId(freshId()), sessionId(freshId()), sessionId(freshId())] as const
  const [long, waiting, empty] = ids
  const idempotency = { scope: 's', key: 'k', fingerprint: 'f' }
  await store.commit([create(long), create(waiting, 'another', undefined, { idempotency }), create(empty)])
  const [run, other] = [freshId(), freshId()]
  await store.commit([send(long, run), send(waiting, other)])
  for (let batch = 0; batch < BATCHES; batch++) await store.commit([deltas(long, run, 1, 3)])
  await store.commit([finish(long, run, 1), recordWrite(waiting, other, callsOf(other))])
  const ofLater = { messageId: messageId(freshId()), newRunId: runId(freshId()), message: { role: 'user', content: 'later' }, options: {} } as const
  await store.commit([decideWrite(waiting, { type: 'SendMessage', ...ofLater, driver: 1, runId: runId(other), delivery: 'follow_up', whenBusy: 'enqueue' })])
  return ids
}

/** The write of a driver that holds fence 1. */
export function recordWrite(stream: SessionId, run: string, events: RecordWrite['events']): RecordWrite {
  return { kind: 'record', stream, runId: runId(run), fence: 1, events, atMs: 2000 }
}

/** A call `c1`, and the question whether it may run. */
export function callsOf(run: string): RecordWrite['events'] {
  return [
    { type: 'ToolCallsProposed', runId: runId(run), turn: 1, calls: [{ id: 'c1', name: 'bash', arguments: {}, disposition: 'ask' }] },
    { type: 'ApprovalRequested', runId: runId(run), toolCallIds: ['c1'] },
  ]
}
