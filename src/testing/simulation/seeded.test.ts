import { expect, test } from 'vitest'
import { isUuid } from '../../domain/ids.ts'
import { seededRandom } from './seeded.ts'

const numbers = (seed: number) => {
  const random = seededRandom(seed)
  return Array.from({ length: 1000 }, () => random.fraction())
}

test('the same seed gives the same numbers, a close one gives others', () => {
  expect(numbers(1)).toEqual(numbers(1))
  expect(numbers(1).filter((number, index) => number === numbers(2)[index])).toEqual([])
  expect(numbers(2 ** 40)).not.toEqual(numbers(0))
})

test('numbers are in [0, 1) and spread over it', () => {
  const all = numbers(3)
  expect(all.every((number) => number >= 0 && number < 1)).toBe(true)
  const tenths = Array.from({ length: 10 }, (_, tenth) => all.filter((number) => Math.floor(number * 10) === tenth).length)
  for (const count of tenths) expect(count).toBeGreaterThan(50)
})

test('what is picked from it stays within its bounds', () => {
  const random = seededRandom(4)
  for (let left = 1000; left > 0; left--) {
    expect([0, 1, 2]).toContain(random.int(3))
    expect(['a', 'b']).toContain(random.pick(['a', 'b']))
    const between = random.between(5, 6)
    expect(between >= 5 && between < 6).toBe(true)
  }
  expect([random.chance(0), random.chance(1)]).toEqual([false, true])
})

test('ids are UUIDs of version 7 that grow and never repeat', () => {
  const random = seededRandom(5)
  const ids = Array.from({ length: 300 }, () => random.uuid())
  expect(ids.every((id) => isUuid(id) && id[14] === '7' && id[19] === '8')).toBe(true)
  expect(ids.toSorted()).toEqual(ids)
  expect(new Set(ids).size).toBe(300)
})
