import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Recorded } from '../domain/event.ts'
import { runId, sessionId } from '../domain/ids.ts'
import { SLICE_EVENTS, Slices, SLICES_BYTES_MAX, slicesOf, wholeSlices } from './slices.ts'

const STREAM = sessionId('s1')

/** Events at `from` to `to`; `times` says when, over and over. */
function events(from: number, to: number, times: readonly number[] = [1]): readonly Recorded[] {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => {
    const position = from + index
    return { position, atMs: times[position % times.length] ?? 0, event: { type: 'TextDelta', runId: runId('r'), delta: `${position}` } }
  })
}

const somewhere = fc.integer({ min: 1, max: 200 })
const someTimes = fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 5 })

describe('a page in slices', () => {
  test('is cut at multiples and nowhere else', () => {
    const cuts = [...slicesOf(STREAM, events(30, 100))].map((batches) => [batches[0]?.from, batches.at(-1)?.to])
    expect(cuts).toEqual([
      [30, 32],
      [33, 64],
      [65, 96],
      [97, 100],
    ])
  })

  test('has all events in order, and those of one batch have one time', () => {
    fc.assert(
      fc.property(somewhere, somewhere, someTimes, (from, to, times) => {
        const page = events(from, to, times)
        const batches = [...slicesOf(STREAM, page)].flat()
        const back = batches.flatMap(({ from: first, atMs, events: part }) => part.map((event, index) => ({ position: first + index, atMs, event })))
        expect(back).toEqual(page)
        for (const batch of batches) expect(batch.to - batch.from + 1).toBe(batch.events.length)
      }),
    )
  })

  test('loses its broken end, unless the log ends there or nothing would be left', () => {
    const last = (page: readonly Recorded[]) => page.at(-1)?.position
    expect(last(wholeSlices(events(1, 100), 1000))).toBe(96)
    expect(last(wholeSlices(events(1, 96), 1000))).toBe(96)
    expect(last(wholeSlices(events(1, 100), 100))).toBe(100)
    expect(last(wholeSlices(events(33, 50), 1000))).toBe(50)
    expect(wholeSlices([], 0)).toEqual([])
  })
})

describe('kept slices', () => {
  const bytes = (size: number) => new Uint8Array(size)

  test('are found by encoding, stream and place', () => {
    const slices = new Slices()
    const one = bytes(10)
    slices.keep('a', STREAM, 32, one)
    expect(slices.get('a', STREAM, 32)).toBe(one)
    expect([slices.get('b', STREAM, 32), slices.get('a', sessionId('s2'), 32), slices.get('a', STREAM, 64)]).toEqual([undefined, undefined, undefined])
  })

  test('are only looked for at the border of a slice', () => {
    const slices = new Slices()
    slices.keep('a', STREAM, 33, bytes(1))
    expect(slices.get('a', STREAM, 33)).toBeUndefined()
  })

  test('take at most their bound; the ones that were not asked for longest go', () => {
    const slices = new Slices()
    const part = SLICES_BYTES_MAX / 4
    for (let count = 0; count < 4; count++) slices.keep('a', STREAM, count * SLICE_EVENTS, bytes(part))
    expect(slices.bytes).toBe(SLICES_BYTES_MAX)
    slices.get('a', STREAM, 0)
    slices.keep('a', STREAM, 4 * SLICE_EVENTS, bytes(1))
    expect(slices.bytes).toBeLessThanOrEqual(SLICES_BYTES_MAX)
    expect(slices.get('a', STREAM, 0)).toBeDefined()
    expect(slices.get('a', STREAM, SLICE_EVENTS)).toBeUndefined()
  })

  test('that are kept again count once, and one that is larger than all is not kept', () => {
    const slices = new Slices()
    slices.keep('a', STREAM, 0, bytes(100))
    slices.keep('a', STREAM, 0, bytes(50))
    expect(slices.bytes).toBe(50)
    slices.keep('a', STREAM, 32, bytes(SLICES_BYTES_MAX + 1))
    expect(slices.bytes).toBe(0)
  })
})
