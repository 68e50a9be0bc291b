import { expect, test } from 'vitest'
import { manualClock } from '../testing/manual-clock.ts'
import { keptLog, settle } from '../testing/run-kit.ts'
import { startChores, type Chore } from './chores.ts'

const chore = (work: () => Promise<boolean>, name = 'sweeping'): Chore => ({ name, everyMs: 1000, againMs: 10, work })

test('a chore goes on soon while something is left, and then after a while', async () => {
  const clock = manualClock(0)
  const left = [true, true, false, false]
  const times: number[] = []
  const stop = startChores(
    [
      chore(async () => {
        times.push(clock.nowMs())
        return left.shift() ?? false
      }),
    ],
    { clock, telemetry: keptLog() },
  )
  for (let ms = 0; ms < 2100; ms += 10) {
    clock.advance(10)
    await settle(2)
  }
  expect(times).toEqual([10, 20, 30, 1030, 2030])
  await stop()
  expect(clock.pending).toBe(0)
})

test('one that fails says so, is tried again, and keeps no other from its work', async () => {
  const clock = manualClock(0)
  const telemetry = keptLog()
  const done: string[] = []
  const failing = chore(async () => {
    done.push('failing')
    throw new Error('the disk is full')
  }, 'failing')
  const other = chore(async () => {
    done.push('other')
    return false
  })
  const stop = startChores([failing, other], { clock, telemetry })
  clock.advance(10)
  await settle()
  clock.advance(1000)
  await settle()
  expect(done).toEqual(['failing', 'other', 'failing', 'other'])
  expect(telemetry.lines).toEqual(Array(2).fill({ level: 'warn', message: 'the chore failing failed', fields: { error: 'Error: the disk is full' } }))
  await stop()
})

test('a stop waits for what is under way, and nothing begins any more', async () => {
  const clock = manualClock(0)
  let finish: (more: boolean) => void = () => undefined
  let begun = 0
  const stop = startChores(
    [
      chore(() => {
        begun++
        return new Promise((resolve) => (finish = resolve))
      }),
    ],
    { clock, telemetry: keptLog() },
  )
  clock.advance(10)
  let stopped = false
  const stopping = stop().then(() => (stopped = true))
  await settle()
  expect(stopped).toBe(false)
  finish(true)
  await stopping
  clock.advance(10_000)
  expect([begun, clock.pending]).toEqual([1, 0])
})
