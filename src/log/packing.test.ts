import fc from 'fast-check'
import { expect, test } from 'vitest'
import type { StreamEvent } from '../domain/event.ts'
import { runId } from '../domain/ids.ts'
import { packEvents, unpackEvents } from './packing.ts'

const RUNS = [runId('01900000-0000-7000-8000-000000000001'), runId('01900000-0000-7000-8000-000000000002')] as const

const anEvent = fc.oneof(
  fc.record({ type: fc.constant('TextDelta' as const), runId: fc.constantFrom(...RUNS), delta: fc.string() }),
  fc.record({ type: fc.constant('ThinkingDelta' as const), runId: fc.constantFrom(...RUNS), delta: fc.string() }),
  fc.record({ type: fc.constant('TextCompleted' as const), runId: fc.constantFrom(...RUNS), text: fc.string() }),
  fc.record({ type: fc.constant('Unknown' as const), originalType: fc.string() }),
)

test('what was packed is unpacked to the same events, through JSON', () => {
  fc.assert(
    fc.property(fc.array(anEvent, { maxLength: 40 }), (events: readonly StreamEvent[]) => {
      expect(unpackEvents(JSON.parse(JSON.stringify(packEvents(events))) as unknown[])).toEqual(events)
    }),
  )
})

test('a hundred tokens of one run are one entry', () => {
  const events = Array.from({ length: 100 }, (): StreamEvent => ({ type: 'TextDelta', runId: RUNS[0], delta: 'word ' }))
  expect(packEvents(events)).toHaveLength(1)
  expect(JSON.stringify(packEvents(events)).length).toBeLessThan(JSON.stringify(events).length / 8)
})

test('a delta that carries more than its text keeps it', () => {
  const event = { type: 'TextDelta', runId: RUNS[0], delta: 'a', added: 'later' } as StreamEvent
  expect(unpackEvents(packEvents([event, event]))).toEqual([event, event])
})

test('a damaged entry stays one entry', () => {
  expect(unpackEvents([null, 5, 'x', { type: 'TextDelta', deltas: 'no list' }])).toHaveLength(4)
})
