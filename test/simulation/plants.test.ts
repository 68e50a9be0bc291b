/** The list of planted bugs fits the code that they are planted in. Whether each is found is what `npm run torture -- plants` shows. */
import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { placesOf, planted } from '../../torture/plants/garden.ts'
import { PLANTS, type Plant } from '../../torture/plants/list.ts'

test.each(PLANTS.map((plant) => [plant.name, plant] as const))('the plant "%s" has its place in the code, and changes it', (_name, plant) => {
  for (const place of placesOf(plant)) {
    const sound = readFileSync(new URL(`../../${place.file}`, import.meta.url), 'utf8')
    expect(planted(sound, place)).not.toBe(sound)
  }
})

test('no two plants have one name', () => {
  expect(new Set(PLANTS.map(({ name }) => name)).size).toBe(PLANTS.length)
})

test('a plant is put in as it is written, in its one place', () => {
  const plant: Plant = { name: 'n', file: 'f', find: 'b', replace: '$& $1', part: 'simulation' }
  expect(planted('abc', plant)).toBe('a$& $1c')
  expect(() => planted('abcb', plant)).toThrow('the plant "n" is out of date: its place stands 2 times in f')
  expect(() => planted('ac', plant)).toThrow('its place stands 0 times')
})
