/** Agents of one's own, as the runtime runs them. */
import type { Agent } from '../runtime/agent.ts'
import type { DefinedAgent } from '../runtime/define.ts'
import type { AgentParts } from './parts.ts'
import { Replay } from '../runtime/replay.ts'

/** The agent that replays `definition` over the journal of each run. */
export function ownAgent(definition: DefinedAgent, parts: AgentParts): Agent {
  return {
    name: definition.name,
    async run(context) {
      const state = await parts.state(context.sessionId)
      await new Replay(definition, context, parts, state?.queue ?? []).run()
    },
  }
}
