import { expect, test } from 'vitest'
import { Gate } from '../../stream/gate.ts'
import { manualClock } from '../../testing/manual-clock.ts'
import { OPENINGS_PER_TURN, openingTurn } from './context.ts'

test('streams that are opened at once leave turns of the loop to others, and all have theirs in the order in which they came', async () => {
  const turns: (() => void)[] = []
  const clock = { ...manualClock(), turn: () => new Promise<void>((resolve) => turns.push(resolve)) }
  const context = { openings: new Gate(OPENINGS_PER_TURN), clock }
  const opened: number[] = []
  const all = Array.from({ length: 20 }, (_, index) => openingTurn(context).then(() => opened.push(index)))
  const settle = () => new Promise<void>((resolve) => setImmediate(resolve))
  for (const expected of [8, 16, 20]) {
    await settle()
    for (const turn of turns.splice(0)) turn()
    await settle()
    expect(opened).toHaveLength(expected)
  }
  await Promise.all(all)
  expect(opened).toEqual(Array.from({ length: 20 }, (_, index) => index))
})
