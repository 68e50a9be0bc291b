/** An own agent in the simulation: steps that write a ledger, a question to a person, something said. */
import type { RunId } from '../../src/domain/ids.ts'
import type { Scope } from '../../src/testing/simulation/scheduler.ts'
import type { SeededRandom } from '../../src/testing/simulation/seeded.ts'
import { defineAgent, type DefinedAgent } from '../../src/runtime/define.ts'
import { StepInterrupted } from '../../src/runtime/step-errors.ts'

/** The name of the agent. */
export const OWN_AGENT = 'own'
/** Longest time of a step, in ms. */
const STEP_MS = 40

/** What the agent writes to. */
export interface OwnWorld {
  readonly random: SeededRandom
  /** Told when a step really runs. */
  readonly stepRuns: (run: RunId, key: string, repeatable: boolean) => void
}

/** The agent as the process of `scope` has it. */
export function simulatedOwnAgent(scope: Scope, { random, stepRuns }: OwnWorld): DefinedAgent {
  return defineAgent({
    name: OWN_AGENT,
    async run(ctx) {
      const work = async (key: string, repeatable: boolean): Promise<string> => {
        stepRuns(ctx.runId, key, repeatable)
        await scope.delay(random.between(0, STEP_MS), `step ${key}`)
        return key
      }
      await ctx.step('look', { repeatable: true }, async (step) => {
        await step.emit('I look. ')
        return work('look', true)
      })
      await Promise.all([ctx.step('left', { repeatable: true }, () => work('left', true)), ctx.step('right', { repeatable: true }, () => work('right', true))])
      const { action } = await ctx.approve('may act', { name: 'danger', arguments: {} })
      if (action !== 'accept') return 'I did nothing.'
      try {
        await ctx.step('act', () => work('act', false))
      } catch (error) {
        if (error instanceof StepInterrupted) return 'It may have happened.'
        throw error
      }
      return 'It is done.'
    },
  })
}
