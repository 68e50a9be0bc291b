import type { Agent } from './agent.ts'
import { TAKEOVERS_MAX } from '../domain/decide-run.ts'
import { ConvokeError } from '../domain/errors.ts'

/** Stands in for the agent's name when a run has brought the server down too often. */
export const CRASH_LOOP = '(crash loop)'

/** An agent that ends its run as failed: for a name that nobody has, and for `CRASH_LOOP`. */
export function standIn(name: string): Agent {
  return {
    name,
    async run(context) {
      await context.follow(() => undefined)
      throw name === CRASH_LOOP
        ? new ConvokeError('crash_loop', `the run was interrupted ${TAKEOVERS_MAX} times without progress`)
        : new ConvokeError('agent_failed', `there is no agent ${name}`)
    },
  }
}
