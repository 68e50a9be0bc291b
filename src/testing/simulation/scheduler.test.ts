import { describe, expect, test } from 'vitest'
import { SIMULATION_START_MS, Scheduler } from './scheduler.ts'
import { seededRandom } from './seeded.ts'

const STEPS = 10_000
const never = () => false

function world(seed = 1) {
  const lines: string[] = []
  const scheduler = new Scheduler(seededRandom(seed), (line) => lines.push(line))
  return { scheduler, lines, scope: scheduler.scope('a process') }
}

test('things run in the order of their time, and time stands while they run', async () => {
  const { scheduler, scope } = world()
  const seen: (readonly [string, number])[] = []
  for (const ms of [30, 10, 20]) scope.after(ms, () => seen.push([`after ${ms}`, scope.nowMs() - SIMULATION_START_MS]))
  expect(await scheduler.run(never, STEPS)).toBe('quiet')
  expect(seen).toEqual([
    ['after 10', 10],
    ['after 20', 20],
    ['after 30', 30],
  ])
})

test('everything that a task makes ready has run before the next task', async () => {
  const { scheduler, scope } = world()
  const seen: string[] = []
  const chain = async (name: string) => {
    for (let step = 0; step < 5; step++) {
      seen.push(`${name}${step}`)
      await Promise.resolve()
    }
  }
  scope.at(0, 'a', () => void chain('a'))
  scope.at(0.1, 'b', () => void chain('b'))
  await scheduler.run(never, STEPS)
  expect(seen).toEqual(['a0', 'a1', 'a2', 'a3', 'a4', 'b0', 'b1', 'b2', 'b3', 'b4'])
})

async function orderOf(seed: number): Promise<string> {
  const { scheduler, scope, lines } = world(seed)
  for (let task = 0; task < 20; task++) scope.at(0, `task ${task}`, () => void scope.turn().then(() => scheduler.say('then', String(task))))
  await scheduler.run(never, STEPS)
  return lines.join('\n')
}

test('what is due at the same time runs in an order that the seed decides', async () => {
  expect(await orderOf(7)).toBe(await orderOf(7))
  expect(await orderOf(7)).not.toBe(await orderOf(8))
})

test('a run ends when it is told to, when nothing waits, or when it takes too many steps', async () => {
  const { scheduler, scope } = world()
  const again = () => void scope.at(1, 'again', again)
  again()
  expect(await scheduler.run(() => scheduler.steps >= 5, STEPS)).toBe('done')
  expect(await scheduler.run(never, 50)).toBe('too long')
  expect(scheduler.steps).toBe(50)
  scope.kill()
  expect(await scheduler.run(never, STEPS)).toBe('quiet')
})

describe('a scope', () => {
  test('that was killed runs nothing more', async () => {
    const { scheduler, scope } = world()
    let ran = 0
    scope.after(10, () => ran++)
    void scope.sleepUntil(SIMULATION_START_MS + 5).then(() => ran++)
    scope.kill()
    await scheduler.run(never, STEPS)
    expect([ran, scope.alive]).toEqual([0, false])
  })

  test('that is paused runs what was due when it is resumed', async () => {
    const { scheduler, scope } = world()
    const seen: number[] = []
    scope.after(10, () => seen.push(scope.nowMs() - SIMULATION_START_MS))
    scope.pause()
    const other = scheduler.scope('another')
    other.after(50, () => scope.resume())
    await scheduler.run(never, STEPS)
    expect(seen).toEqual([50])
  })

  test('counts what waits in it, and not what was taken back', async () => {
    const { scheduler, scope } = world()
    const takeBack = scope.after(10, () => undefined)
    scope.after(20, () => undefined)
    expect(scope.pending).toBe(2)
    takeBack()
    takeBack()
    expect(scope.pending).toBe(1)
    await scheduler.run(never, STEPS)
    expect(scope.pending).toBe(0)
  })

  test('ends a sleep with the reason of its signal, and leaves nothing behind', async () => {
    const { scope } = world()
    const stop = new AbortController()
    const sleep = scope.sleepUntil(SIMULATION_START_MS + 1000, stop.signal)
    stop.abort(new Error('enough'))
    await expect(sleep).rejects.toThrow('enough')
    await expect(scope.sleepUntil(SIMULATION_START_MS, stop.signal)).rejects.toThrow('enough')
    expect(scope.pending).toBe(0)
  })

  test('has timers that are late on a busy machine, and never early', async () => {
    const { scheduler, scope } = world()
    scope.lateMs = 40
    const late: number[] = []
    for (let left = 50; left > 0; left--) scope.after(10, () => late.push(scope.monotonicMs() - 10))
    await scheduler.run(never, STEPS)
    expect(Math.min(...late)).toBeGreaterThanOrEqual(0)
    expect(Math.max(...late)).toBeGreaterThan(10)
    expect(Math.max(...late)).toBeLessThanOrEqual(40)
  })
})
