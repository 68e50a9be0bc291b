import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { systemClock } from './clock.ts'

const DAY_MS = 86_400_000
/** The longest delay that a timer of Node can take: anything longer fires at once. */
const TIMER_MS_MAX = 2_147_483_647

describe('with the timers of the machine in hand', () => {
  beforeEach(() => void vi.useFakeTimers())
  afterEach(() => void vi.useRealTimers())

  /** Whether a promise has settled once all that is due has run. */
  async function isSettled(promise: Promise<unknown>): Promise<boolean> {
    let settled = false
    void promise.then(
      () => (settled = true),
      () => (settled = true),
    )
    await vi.advanceTimersByTimeAsync(0)
    return settled
  }

  test.each([1, 30, 1000, DAY_MS])('a sleep of %i ms ends then and not before', async (ms) => {
    const sleep = systemClock.sleepUntil(Date.now() + ms)
    await vi.advanceTimersByTimeAsync(ms - 1)
    expect(await isSettled(sleep)).toBe(false)
    await vi.advanceTimersByTimeAsync(1)
    expect(await isSettled(sleep)).toBe(true)
  })

  test.each([TIMER_MS_MAX, TIMER_MS_MAX + 1, 90 * DAY_MS])('a sleep of %i ms, longer than a timer can be, is made of several', async (ms) => {
    const sleep = systemClock.sleepUntil(Date.now() + ms)
    await vi.advanceTimersByTimeAsync(ms - 1)
    expect(await isSettled(sleep)).toBe(false)
    expect(vi.getTimerCount()).toBe(1)
    await vi.advanceTimersByTimeAsync(1)
    expect(await isSettled(sleep)).toBe(true)
    expect(vi.getTimerCount()).toBe(0)
  })

  test('a sleep that a timer ends too early goes on', async () => {
    const sleep = systemClock.sleepUntil(Date.now() + 1000)
    // The clock of the wall is set back while the sleep lasts.
    vi.setSystemTime(Date.now() - 500)
    await vi.advanceTimersByTimeAsync(1000)
    expect(await isSettled(sleep)).toBe(false)
    await vi.advanceTimersByTimeAsync(500)
    expect(await isSettled(sleep)).toBe(true)
  })

  test.each([0, -1, -DAY_MS])('a sleep until %i ms from now ends at once', async (ms) => {
    expect(await isSettled(systemClock.sleepUntil(Date.now() + ms))).toBe(true)
  })

  test.each([1000, 90 * DAY_MS])('an abort ends a sleep of %i ms with its reason and leaves no timer', async (ms) => {
    const stop = new AbortController()
    const sleep = systemClock.sleepUntil(Date.now() + ms, stop.signal)
    const reason = new Error('enough')
    stop.abort(reason)
    await expect(sleep).rejects.toBe(reason)
    expect(vi.getTimerCount()).toBe(0)
  })

  test.each([1000, 0, -1000])('a sleep until %i ms from now that was aborted before it began throws the reason', async (ms) => {
    const reason = new Error('enough')
    await expect(systemClock.sleepUntil(Date.now() + ms, AbortSignal.abort(reason))).rejects.toBe(reason)
    expect(vi.getTimerCount()).toBe(0)
  })

  test('a sleep that ended leaves nothing at its signal', async () => {
    const stop = new AbortController()
    const remove = vi.spyOn(stop.signal, 'removeEventListener')
    const sleep = systemClock.sleepUntil(Date.now() + 10, stop.signal)
    await vi.advanceTimersByTimeAsync(10)
    await sleep
    expect(remove).toHaveBeenCalledOnce()
  })

  test.each([0, 5, TIMER_MS_MAX, TIMER_MS_MAX + 1, 90 * DAY_MS])('what comes after %i ms comes then, once', async (ms) => {
    const fn = vi.fn()
    systemClock.after(ms, fn)
    if (ms > 0) await vi.advanceTimersByTimeAsync(ms - 1)
    expect(fn).not.toHaveBeenCalled()
    await vi.advanceTimersByTimeAsync(1)
    expect(fn).toHaveBeenCalledOnce()
    await vi.advanceTimersByTimeAsync(DAY_MS)
    expect(fn).toHaveBeenCalledOnce()
    expect(vi.getTimerCount()).toBe(0)
  })

  test.each([10, 90 * DAY_MS])('what is taken back does not come after %i ms', async (ms) => {
    const fn = vi.fn()
    const takeBack = systemClock.after(ms, fn)
    await vi.advanceTimersByTimeAsync(ms - 5)
    takeBack()
    takeBack()
    await vi.advanceTimersByTimeAsync(ms)
    expect(fn).not.toHaveBeenCalled()
    expect(vi.getTimerCount()).toBe(0)
  })

  test('a delay below nothing is none', async () => {
    const fn = vi.fn()
    systemClock.after(-5, fn)
    await vi.advanceTimersByTimeAsync(1)
    expect(fn).toHaveBeenCalledOnce()
  })
})

test('what is to come does not keep the process alive', () => {
  const before = process.getActiveResourcesInfo().filter((name) => name === 'Timeout').length
  const takeBack = systemClock.after(60_000, () => undefined)
  expect(process.getActiveResourcesInfo().filter((name) => name === 'Timeout')).toHaveLength(before)
  takeBack()
})

test('the clock tells the time of the wall, and durations that only grow', () => {
  expect(Math.abs(systemClock.nowMs() - Date.now())).toBeLessThan(1000)
  const marks = Array.from({ length: 100 }, () => systemClock.monotonicMs())
  expect(marks).toEqual(marks.toSorted((a, b) => a - b))
})

test('a turn ends behind everything that was ready, and behind the turns that were asked for before it', async () => {
  const order: string[] = []
  const turns = [systemClock.turn().then(() => order.push('first turn')), systemClock.turn().then(() => order.push('second turn'))]
  void Promise.resolve()
    .then(() => Promise.resolve())
    .then(() => order.push('ready'))
  await Promise.all(turns)
  expect(order).toEqual(['ready', 'first turn', 'second turn'])
})
