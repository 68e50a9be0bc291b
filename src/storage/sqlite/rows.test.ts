import { describe, expect, test } from 'vitest'
import type { StreamEvent } from '../../domain/event.ts'
import type { SessionState } from '../../domain/session.ts'
import { runId, sessionId } from '../../domain/ids.ts'
import { decodeBatch, decodeState, encodeEvents, encodeState } from './rows.ts'

const stream = sessionId('01900000-0000-7000-8000-000000000001')
const run = runId('01900000-0000-7000-8000-000000000002')
const decode = (body: string, count: number) => decodeBatch(stream, { feed: 9, first: 5, last: 4 + count, at_ms: 7, body })
const UNKNOWN = { type: 'Unknown', originalType: 'damaged' }

test('a batch is its row: places, feed number, time and events', () => {
  const events: readonly StreamEvent[] = [
    { type: 'TextDelta', runId: run, delta: 'one ' },
    { type: 'TextDelta', runId: run, delta: 'zwö \u{1F989}' },
    { type: 'TextCompleted', runId: run, text: 'one zwö \u{1F989}' },
  ]
  expect(decode(encodeEvents(events), 3)).toEqual({ stream, from: 5, to: 7, feed: 9, atMs: 7, events })
})

describe('a body that is damaged reads as a placeholder in each of its places', () => {
  test.each([
    ['', 1],
    ['{"broken', 3],
    ['null', 1],
    ['7', 2],
    ['{}', 1],
    ['"text"', 1],
    ['[]', 2],
    ['[{"type":"TurnStarted"}]', 2],
    ['[{"type":"TurnStarted"},{"type":"TurnStarted"}]', 1],
    ['[{"type":"TextDelta","deltas":["a","b"]}]', 3],
  ])('%j in %i places', (body, count) => {
    expect(decode(body, count).events).toEqual(Array.from({ length: count }, () => UNKNOWN))
  })
})

test.each([['[null]'], ['[5]'], ['[{}]'], ['[[]]']])('a body %s with an event that is none reads as unknown there', (body) => {
  expect(decode(body, 1).events).toEqual([expect.objectContaining({ type: 'Unknown' })])
})

test('an event of a later version reads as unknown, under its name; its neighbour reads as ever', () => {
  const known = { type: 'TextCompleted', runId: run, text: 'x' }
  expect(decode(JSON.stringify([{ type: 'FromTheFuture', secret: 1 }, known]), 2).events).toEqual([{ type: 'Unknown', originalType: 'FromTheFuture' }, known])
})

test('a state is its row and its items', () => {
  const state = { owner: 'ann', fence: 3, queue: [{ messageId: 'm' }], calls: [{ id: 'c' }] } as unknown as SessionState
  const row = encodeState(state)
  expect(JSON.parse(row)).toEqual({ owner: 'ann', fence: 3 })
  expect(decodeState(row, state.queue, state.calls)).toEqual(state)
})
