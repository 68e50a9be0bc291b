import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { StreamEvent } from '../../domain/event.ts'
import type { SessionState } from '../../domain/session.ts'
import { runId, sessionId } from '../../domain/ids.ts'
import { decodeBatches, decodeState, encodeEvents, encodeParts, encodeState, partsOf, type RowPart } from './rows.ts'

const stream = sessionId('01900000-0000-7000-8000-000000000001')
const run = runId('01900000-0000-7000-8000-000000000002')
const decodeAll = (body: string, count: number) => decodeBatches(stream, { feed: 9, first: 5, last: 4 + count, at_ms: 7, body })
const decode = (body: string, count: number) => {
  const [batch, ...more] = decodeAll(body, count)
  if (batch === undefined || more.length > 0) throw new Error('one row was one batch')
  return batch
}
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
    ['{"at":[9,5],"events":[{}]}', 1],
    ['{"at":[9,5,"x"],"events":[{}]}', 1],
    ['{"at":[9,4,7],"events":[{}]}', 1],
    ['{"at":[9,5,7],"events":[{},{}]}', 1],
    ['{"at":[8,5,7,1,0,0],"events":[{},{}]}', 2],
    ['{"at":[8,5,7,1,9,0],"events":[{},{}]}', 2],
    ['{"at":[],"events":[]}', 2],
    ['{"at":7,"events":[{}]}', 1],
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

describe('a row that stands for several batches', () => {
  const aPart = fc.record({
    feeds: fc.integer({ min: 1, max: 9 }),
    ms: fc.integer({ min: -5, max: 999 }),
    texts: fc.array(fc.string(), { minLength: 1, maxLength: 5 }),
  })

  test('gives them back exactly, through JSON', () => {
    fc.assert(
      fc.property(fc.array(aPart, { minLength: 1, maxLength: 20 }), (shapes) => {
        const parts: RowPart[] = []
        let [feed, to, atMs] = [100, 4, 1_700_000_000_000]
        for (const { feeds, ms, texts } of shapes) {
          feed += feeds
          atMs += ms
          parts.push({ feed, from: to + 1, to: to + texts.length, atMs, values: texts.map((delta) => ({ type: 'TextDelta', runId: run, delta })) })
          to += texts.length
        }
        const row = { feed, first: 5, last: to, at_ms: 0, body: encodeParts(parts) }
        expect(partsOf(row)).toEqual(parts)
        expect(decodeBatches(stream, row)).toEqual(parts.map(({ values, ...part }) => ({ stream, ...part, events: values })))
      }),
    )
  })
})
