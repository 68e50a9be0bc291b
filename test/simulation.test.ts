/** A small part of the simulation in every test run; the harness (`npm run torture`) runs thousands of seeds. */
import { describe, expect, test } from 'vitest'
import { runSeed, type SeedResult } from '../torture/simulation/world.ts'

/** Seeds of each run: always the same, so that a red test is somebody's change. */
const SEEDS = { from: 1, count: 120 }
const STEP = 20

describe('a simulated world keeps every promise', () => {
  const starts = Array.from({ length: SEEDS.count / STEP }, (_, index) => SEEDS.from + index * STEP)
  test.each(starts)(`in the ${STEP} seeds from %i on`, async (start) => {
    const lost: string[] = []
    for (let seed = start; seed < start + STEP; seed++) lost.push(...(await runSeed(seed)).lost)
    expect(lost).toEqual([])
  })
})

test('the seeds reach what they are for: deaths, disk failures, cancels, takeovers, forks, erasures, both engines', async () => {
  const results: SeedResult[] = []
  for (let seed = SEEDS.from; seed < SEEDS.from + 60; seed++) results.push(await runSeed(seed))
  const sum = (of: (result: SeedResult) => number) => results.reduce((total, result) => total + of(result), 0)
  expect(new Set(results.map(({ shape }) => shape.engine))).toEqual(new Set(['memory', 'sqlite']))
  expect(sum(({ counts }) => counts.deaths)).toBeGreaterThan(20)
  expect(sum(({ counts }) => counts.failures)).toBeGreaterThan(10)
  expect(sum(({ counts }) => counts.ends.get('cancelled') ?? 0)).toBeGreaterThan(5)
  expect(sum(({ counts }) => counts.claims)).toBeGreaterThan(5)
  expect(sum(({ counts }) => counts.forks)).toBeGreaterThan(5)
  expect(sum(({ counts }) => counts.erasures)).toBeGreaterThan(5)
  expect(sum(({ counts }) => counts.frames)).toBeGreaterThan(1000)
})

async function traceOf(seed: number): Promise<string> {
  const lines: string[] = []
  await runSeed(seed, (line) => lines.push(line))
  return lines.join('\n')
}

// One of SQLite among them.
test.each([3, 17, 50, 101, 294, 1123])('seed %i gives the same steps in the same order, byte for byte', async (seed) => {
  const first = await traceOf(seed)
  expect(first.split('\n').length).toBeGreaterThan(50)
  expect(await traceOf(seed)).toBe(first)
})

test('another seed gives another world', async () => {
  expect(await traceOf(4)).not.toBe(await traceOf(5))
})
