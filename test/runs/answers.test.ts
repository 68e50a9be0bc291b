import { describe, expect, test } from 'vitest'
import { stop, text, thinking, tokens } from '../../src/testing/scripted-model.ts'
import { ENGINES, rig } from './rig.ts'

describe.each(ENGINES)('a run over %s', (engine) => {
  test('streams text and thinking, and ends with its answer in one write', async () => {
    const r = await rig({ engine, script: [[...thinking('hm', 'm'), ...text('Hel', 'lo'), stop(tokens(7, 3))]] })
    await r.send('hi')
    expect(await r.ended()).toMatchObject({ type: 'RunCompleted', stopReason: 'completed', totalTurns: 1, totalUsage: tokens(7, 3) })
    const log = await r.log()
    expect(log.map(({ event }) => event.type)).toEqual([
      'SessionCreated',
      'RunStarted',
      'MessageAdded',
      'TurnStarted',
      'ThinkingDelta',
      'ThinkingDelta',
      'TextDelta',
      'TextDelta',
      'TextCompleted',
      'MessageAdded',
      'UsageReported',
      'TurnCompleted',
      'RunCompleted',
    ])
  })
})
