/** Every commit of every scenario, cut in every way, over the memory engine; and one scenario over SQLite. The harness cuts all of them on both. */
import { describe, expect, test } from 'vitest'
import { SCENARIOS } from '../../torture/cut/scenarios.ts'
import { play, type Cut, type Scenario } from '../../torture/cut/stage.ts'

const FATES = ['cut-before', 'cut-after', 'fail-before', 'fail-after'] as const
const NOT_CUT: Cut = { at: 0, fate: 'fail-before' }

async function cutEverywhere(scenario: Scenario, engine: 'memory' | 'sqlite'): Promise<void> {
  const { commits, given, lost } = await play(scenario, engine, NOT_CUT)
  expect([lost, given]).toEqual([[], scenario.steps.length])
  expect(commits).toBeGreaterThanOrEqual(7)
  for (let at = 1; at <= commits; at++) {
    for (const fate of FATES) {
      const played = await play(scenario, engine, { at, fate })
      expect([fate, at, played.lost, played.reached]).toEqual([fate, at, [], true])
    }
  }
}

describe('a scenario that is cut at any commit, before or after it, is told to its end', () => {
  test.each(SCENARIOS.map((scenario) => [scenario.name, scenario] as const))('%s', (_name, scenario) => cutEverywhere(scenario, 'memory'))

  test('also over SQLite, opened anew from its folder', () => cutEverywhere(SCENARIOS[0] as Scenario, 'sqlite'))
})

test('together the scenarios hold every command of a client and every step of a run', async () => {
  const types = new Set<string>()
  for (const scenario of SCENARIOS) {
    const { commits } = await play(scenario, 'memory', NOT_CUT)
    for (let at = 0; at <= commits; at++) for (const type of (await play(scenario, 'memory', { at, fate: 'cut-after' })).types) types.add(type)
  }
  const steps = ['TurnStarted', 'AttemptStarted', 'RetryScheduled', 'AttemptSuperseded', 'ToolCallsProposed', 'ToolStarted', 'ToolCompleted', 'ToolRejected']
  const people = [
    'SessionCreated',
    'SessionUpdated',
    'SessionDeleted',
    'ModelChanged',
    'MessageQueued',
    'ApprovalRequested',
    'ApprovalDecided',
    'CancelRequested',
  ]
  const lives = ['RunStarted', 'RunClaimed', 'ResumeRequested', 'ResumeDecided', 'RunCompleted', 'RunFailed']
  for (const type of [...steps, ...people, ...lives]) expect(types).toContain(type)
})
