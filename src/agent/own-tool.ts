/** Tool calls of own agents: proposed, decided, begun and ended as those of the built-in agent. */
import type { ToolAnswer } from '../runtime/define.ts'
import type { Invocation } from '../runtime/invocation.ts'
import type { CallRecord } from '../runtime/journal.ts'
import type { AgentParts } from './parts.ts'
import { ConvokeError } from '../domain/errors.ts'
import { answerOf, callId, close, takeCall } from '../runtime/asking.ts'
import { Left } from '../runtime/invocation.ts'
import { jsonOf } from '../runtime/journal-value.ts'
import { turnEndUnlessCalls } from '../runtime/speech.ts'
import { disposition } from './policy.ts'
import { recoverTool, runTool } from './run-tool.ts'

/** Answers what the tool answered, from the journal or by running it. */
export async function takeTool(invocation: Invocation, parts: AgentParts, key: string, name: string, given: unknown): Promise<ToolAnswer> {
  invocation.claim(key)
  const { journal, context } = invocation.frame
  const tool = parts.tools.find((candidate) => candidate.name === name)
  if (tool === undefined) throw new ConvokeError('agent_failed', `there is no tool ${JSON.stringify(name)}`)
  const args = jsonOf(given ?? {}, `the arguments of the call ${key}`)
  const id = callId(journal.runId, key)
  // A call that cannot run needs no permission: its result says why.
  const how = tool.check(args) === undefined ? disposition(parts.policy, context.options.autoApprove, name, tool) : 'approve'
  const call = await takeCall(invocation, key, { id, name, arguments: args, reason: '', disposition: how, tool: true })
  if (call.status !== 'ended') await (mayRun(call) ? run(invocation, parts, call) : close(invocation, call))
  await endTurn(invocation)
  const { answer } = journal.calls.get(id) ?? {}
  if (answer === undefined) throw new ConvokeError('internal_error', `the call ${key} has no result`)
  return answer
}

function mayRun(call: CallRecord): boolean {
  return call.status === 'started' || answerOf(call).action === 'accept'
}

async function run(invocation: Invocation, parts: AgentParts, call: CallRecord): Promise<void> {
  const { context } = invocation.frame
  // It may have been allowed while the server stops: the next process runs it.
  if (context.stopping) throw new Left()
  try {
    const folders = await parts.folders(context.sessionId)
    await (call.status === 'started' ? recoverTool : runTool)(context, parts, folders, call)
  } catch (error) {
    throw new Left(error)
  }
}

/** A tool's result is a write of its own; so is the end of its turn, also when the process died between the two. */
async function endTurn(invocation: Invocation): Promise<void> {
  const { journal } = invocation.frame
  await invocation.voice.hold(async () => {
    const end = journal.turnOpen && !journal.superseded ? turnEndUnlessCalls(journal, 'tool_calls') : []
    if (end.length > 0) await invocation.record(...end)
  })
}
