import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import fc from 'fast-check'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { SessionId } from '../../domain/ids.ts'
import type { Store } from '../../log/store.ts'
import { sessionId } from '../../domain/ids.ts'
import { create, deltas, freshId, send } from '../../testing/writes.ts'
import { systemRandom } from '../../system/random.ts'
import { countPlaces, decodePlaces, encodePlace, PLACES_PER_BLOCK, placesFrom } from './places.ts'
import { openSqliteStore } from './store.ts'

const place = fc.record({ first: fc.nat(), feed: fc.nat() })

describe('places as text', () => {
  test('are read as they were written, and counted', () => {
    fc.assert(
      fc.property(fc.array(place, { maxLength: 80 }), (places) => {
        const text = places.map(({ first, feed }) => encodePlace(first, feed)).join('')
        expect(decodePlaces(text)).toEqual(places)
        expect(countPlaces(text)).toBe(places.length)
      }),
    )
  })

  test.each([
    ['', []],
    [';', []],
    ['nonsense', []],
    ['1.2.3;', []],
    ['1.;', []],
    ['.1;', []],
    ['!.1;1.a;', [{ first: 1, feed: 10 }]],
  ])('%j, which is damaged, holds what can be read', (text, expected) => {
    expect(decodePlaces(text)).toEqual(expected)
  })

  test.each([
    [1, [1, 4, 9]],
    [3, [1, 4, 9]],
    [4, [4, 9]],
    [8, [4, 9]],
    [9, [9]],
    [100, [9]],
  ])('position %i is looked for in the batches that begin at %j', (position, expected) => {
    const places = [1, 4, 9].map((first) => ({ first, feed: first }))
    expect(placesFrom(places, position).map(({ first }) => first)).toEqual(expected)
  })
})

interface Written {
  readonly stream: SessionId
  readonly run: string
  readonly head: number
}

async function begin(store: Store): Promise<Written> {
  const stream = sessionId(freshId())
  const run = freshId()
  await store.commit([create(stream), send(stream, run, store.driver)])
  return { stream, run, head: 3 }
}

async function positions(store: Store, stream: SessionId, after: number, limit: number): Promise<readonly number[]> {
  return (await store.read(stream, after, limit))?.events.map(({ position }) => position) ?? []
}

const upTo = (from: number, to: number) => Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => from + index)

describe('a stream of many batches', () => {
  function newFolder(): string {
    const folder = mkdtempSync(join(tmpdir(), 'convoke-places-'))
    onTestFinished(() => rmSync(folder, { recursive: true }))
    return folder
  }
  const open = (folder: string) => openSqliteStore({ folder, random: systemRandom, worker: false })

  test('is read from anywhere, through blocks and the row, also after reopening', async () => {
    const folder = newFolder()
    const sizes = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 3 * PLACES_PER_BLOCK })
    const looks = fc.array(fc.tuple(fc.nat(400), fc.integer({ min: 1, max: 300 })), { minLength: 5, maxLength: 20 })
    let store = await open(folder)
    await fc.assert(
      fc.asyncProperty(sizes, looks, fc.boolean(), async (batches, reads, isReopened) => {
        const [one, other] = [await begin(store), await begin(store)]
        let head = one.head
        for (const size of batches) {
          await store.commit([deltas(one.stream, one.run, 1, size), deltas(other.stream, other.run, 1, 1)])
          head += size
        }
        if (isReopened) {
          await store.close()
          store = await open(folder)
        }
        for (const [after, limit] of reads) {
          expect(await positions(store, one.stream, after, limit)).toEqual(upTo(after + 1, Math.min(head, after + limit)))
          expect(await positions(store, other.stream, after, limit)).toEqual(upTo(after + 1, Math.min(3 + batches.length, after + limit)))
        }
      }),
      { numRuns: 30 },
    )
    await store.close()
  })

  test('moves a full block out of the row at its edge, and begins anew', async () => {
    const folder = newFolder()
    const store = await open(folder)
    const { stream, run } = await begin(store)
    // The creation and the message are two batches.
    for (let count = 3; count < PLACES_PER_BLOCK; count++) await store.commit([deltas(stream, run, 1, 1)])
    const look = () => {
      const db = new DatabaseSync(join(folder, 'convoke.db'), { readOnly: true })
      const { places } = db.prepare('SELECT places FROM stream').get() as { places: string }
      const blocks = db.prepare('SELECT first, places FROM block').all() as { first: number; places: string }[]
      db.close()
      return { inRow: countPlaces(places), blocks: blocks.map((block) => [block.first, countPlaces(block.places)]) }
    }
    expect(look()).toEqual({ inRow: PLACES_PER_BLOCK - 1, blocks: [] })
    await store.commit([deltas(stream, run, 1, 1)])
    expect(look()).toEqual({ inRow: 0, blocks: [[1, PLACES_PER_BLOCK]] })
    await store.commit([deltas(stream, run, 1, 1)])
    expect(look()).toEqual({ inRow: 1, blocks: [[1, PLACES_PER_BLOCK]] })
    expect(await positions(store, stream, 0, 500)).toEqual(upTo(1, PLACES_PER_BLOCK + 2))
    await store.close()
  })

  test('shows placeholders for the events of a place that is damaged, and no others', async () => {
    const folder = newFolder()
    const store = await open(folder)
    const { stream, run } = await begin(store)
    for (let count = 0; count < 3; count++) await store.commit([deltas(stream, run, 1, 2)])
    await store.close()
    const db = new DatabaseSync(join(folder, 'convoke.db'))
    const { places } = db.prepare('SELECT places FROM stream').get() as { places: string }
    db.prepare('UPDATE stream SET places = ?').run(places.replace(encodePlace(6, 4), '?.?;'))
    db.close()
    const again = await open(folder)
    expect(await positions(again, stream, 0, 100)).toEqual(upTo(1, 9))
    const lost = (await again.read(stream, 0, 100))?.events.filter(({ event }) => event.type === 'Unknown')
    expect(lost?.map(({ position }) => position)).toEqual([6, 7])
    expect(await positions(again, stream, 6, 1)).toEqual([7])
    await again.close()
  })
})
