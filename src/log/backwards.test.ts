import { describe, expect, test } from 'vitest'
import type { StreamEvent } from '../domain/event.ts'
import type { Page } from './store.ts'
import { runId, sessionId, userId } from '../domain/ids.ts'
import { readBackwards, requireForkPoint } from './backwards.ts'

const S = sessionId('s1')
const run = { runId: runId('r1') }
const delta: StreamEvent = { type: 'TextDelta', ...run, delta: 'x' }
const created: StreamEvent = { type: 'SessionCreated', owner: userId('alice'), title: '', agent: 'a' }
const turn: StreamEvent = { type: 'TurnStarted', ...run, turn: 1, attempt: 1, model: 'm' }
const turned: StreamEvent = { type: 'TurnCompleted', ...run, turn: 1, finishReason: 'stop' }

/** A log whose pages are at most `most` events, however many are asked for. */
function logOf(events: readonly StreamEvent[], most = 512) {
  const log = {
    reads: 0,
    head: async () => (events.length === 0 ? undefined : events.length),
    async read(_stream: typeof S, after: number, limit: number): Promise<Page> {
      log.reads++
      const page = events.slice(after, after + Math.min(limit, most))
      return { head: events.length, events: page.map((event, index) => ({ position: after + 1 + index, atMs: 1, event })) }
    },
  }
  return log
}

describe('a log read backwards', () => {
  test.each([1, 5, 128, 512])('is whole and in order where pages hold %i events', async (most) => {
    const log = logOf(
      Array.from({ length: 300 }, () => delta),
      most,
    )
    const positions = []
    for await (const { position } of readBackwards(log, S, 290, 10)) positions.push(position)
    expect(positions).toEqual(Array.from({ length: 280 }, (_, index) => 290 - index))
  })

  test('is read no further than it is wanted', async () => {
    const log = logOf(Array.from({ length: 10_000 }, () => delta))
    for await (const { position } of readBackwards(log, S, 10_000)) if (position < 9_990) break
    expect(log.reads).toBe(1)
  })

  test('of a session that is gone ends', async () => {
    const gone = { read: async () => undefined }
    for await (const _ of readBackwards(gone, S, 5)) throw new Error('there is nothing')
  })
})

describe('a fork point', () => {
  const long = [created, turn, ...Array.from({ length: 400 }, () => delta), turned]

  test('is found through the pages of a long turn', async () => {
    await expect(requireForkPoint(logOf(long, 50), S, long.length)).resolves.toBeUndefined()
    await expect(requireForkPoint(logOf(long, 50), S, 1)).resolves.toBeUndefined()
  })

  test('is looked for in turns: a long turn keeps nobody waiting', async () => {
    const log = logOf(long)
    let turns = 0
    await requireForkPoint(log, S, long.length, async () => void turns++)
    expect([log.reads, turns]).toEqual([4, 3])
  })

  test.each([
    [2, 'invalid_fork_point'],
    [long.length - 1, 'invalid_fork_point'],
    [0, 'invalid_fork_point'],
    [long.length + 1, 'invalid_fork_point'],
  ])('is not at %i', async (at, code) => {
    await expect(requireForkPoint(logOf(long), S, at)).rejects.toMatchObject({ code })
  })

  test('is in no unknown session', async () => {
    await expect(requireForkPoint(logOf([]), S, 1)).rejects.toMatchObject({ code: 'not_found' })
  })

  test('is not where the log does not say', async () => {
    await expect(requireForkPoint(logOf([delta, delta]), S, 2)).rejects.toMatchObject({ code: 'invalid_fork_point' })
  })
})
