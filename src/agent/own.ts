/** Agents of one's own, as the runtime runs them. */
import type { Agent } from '../runtime/agent.ts'
import type { DefinedAgent } from '../runtime/define.ts'
import type { ReplayParts } from '../runtime/agent-context.ts'
import type { AgentParts } from './parts.ts'
import { takeGenerated } from './own-model.ts'
import { takeTool } from './own-tool.ts'
import { disposition } from './policy.ts'
import { Replay } from '../runtime/replay.ts'

/** The agent that replays `definition` over the journal of each run. */
export function ownAgent(definition: DefinedAgent, parts: AgentParts): Agent {
  const replayParts: ReplayParts = {
    ...parts,
    dispositionOf: (options, name) => {
      const tool = parts.tools.find((candidate) => candidate.name === name)
      return disposition(parts.policy, options.autoApprove, name, tool)
    },
    generate: (invocation, key, request) => takeGenerated(invocation, parts, key, request),
    runTool: (invocation, key, name, args) => takeTool(invocation, parts, key, name, args),
  }
  return {
    name: definition.name,
    async run(context) {
      const state = await parts.state(context.sessionId)
      await new Replay(definition, context, replayParts, state?.queue ?? []).run()
    },
  }
}
