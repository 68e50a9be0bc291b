/** Model calls of own agents: a step that may be repeated, whose answer streams as what the agent says. */
import type { Part } from '../domain/message.ts'
import type { ModelRequest } from '../domain/model.ts'
import type { Generated, GenerateRequest } from '../runtime/define.ts'
import type { Invocation } from '../runtime/invocation.ts'
import type { AgentParts } from './parts.ts'
import { ConvokeError } from '../domain/errors.ts'
import { takeStep, type InnerStepContext } from '../runtime/steps.ts'
import { turnOf } from '../runtime/speech.ts'
import { Answer } from './answer.ts'
import { CONTEXT_TOKENS_DEFAULT, maxOutputTokens, retryDelayMs } from './call-model.ts'
import { systemPrompt, withinBudget } from './prompt.ts'

/** Messages of the conversation that a model is shown, at most. */
const CONVERSATION_MAX = 1_000

/** Answers what the model answered, from the journal or by calling it. */
export async function takeGenerated(invocation: Invocation, parts: AgentParts, key: string, request: GenerateRequest): Promise<Generated> {
  const { prompt, messages, system, model, tools, say } = request
  const result = await takeStep(invocation, {
    key,
    input: { prompt, messages, system, model, tools, say },
    repeatable: true,
    retryMs: (attempt, thrown) => (thrown instanceof ConvokeError ? retryDelayMs(attempt, thrown) : undefined),
    fn: (step) => generate(invocation, parts, request, step),
  })
  return result as unknown as Generated
}

async function generate(invocation: Invocation, parts: AgentParts, request: GenerateRequest, step: InnerStepContext): Promise<Generated> {
  const { speech, signal } = step
  const { journal } = invocation.frame
  const { runId } = journal
  const model = await modelOf(invocation, parts, request)
  speech.model = model
  const answer = new Answer()
  const called = await parts.models.get(model)
  for await (const part of called.stream(await requestOf(invocation, parts, request, model, signal))) {
    answer.add(part)
    if (request.say !== false && part.type === 'text_delta') await speech.say(part.delta)
    if (request.say !== false && part.type === 'thinking_delta' && part.delta !== '') await speech.note({ type: 'ThinkingDelta', runId, delta: part.delta })
    signal.throwIfAborted()
  }
  requireAnswer(answer)
  // A call of a model is a turn, also where nothing is said.
  await speech.begin()
  const { content } = answer.message()
  speech.content = request.say === false || typeof content === 'string' ? [] : content.filter((part) => isKept(part, answer.calls.length > 0))
  speech.closing = [{ type: 'UsageReported', runId, turn: turnOf(journal), model, usage: answer.usage }]
  const calls = answer.calls.map(({ name, arguments: args, invalid }) => ({ name, arguments: args, ...(invalid === undefined ? {} : { invalid }) }))
  const text = typeof content === 'string' ? content : content.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('\n\n')
  return { text, calls, usage: answer.usage, model }
}

/** A call stands where it is proposed (`ctx.tool`), with an id of its own. A thought that led to calls is bound to them by its signature. */
function isKept(part: Part, asksForTools: boolean): boolean {
  return part.type !== 'tool_call' && !(part.type === 'thinking' && asksForTools)
}

function requireAnswer(answer: Answer): void {
  if (answer.finish === undefined) throw new ConvokeError('model_protocol', 'the provider ended its stream without saying why')
  const refused = answer.calls.length === 0 && (answer.finish === 'error' || answer.finish === 'refused')
  if (refused) throw new ConvokeError('model_refused', 'the model ended its answer with an error')
}

async function modelOf({ frame }: Invocation, parts: AgentParts, { model }: GenerateRequest): Promise<string> {
  const { sessionId, options } = frame.context
  const chosen = model ?? options.model ?? (await parts.state(sessionId))?.model ?? parts.models.defaultModel
  return parts.models.resolve(chosen)
}

async function requestOf(invocation: Invocation, parts: AgentParts, request: GenerateRequest, model: string, signal: AbortSignal): Promise<ModelRequest> {
  const { sessionId, options } = invocation.frame.context
  const info = parts.models.info(model)
  const asked = request.messages ?? (request.prompt === undefined ? undefined : [{ role: 'user', content: request.prompt } as const])
  const messages = asked ?? (await parts.reads.history(sessionId, Number.MAX_SAFE_INTEGER, CONVERSATION_MAX)).map(({ message }) => message)
  const tools = (request.tools ?? []).map((name) => {
    const tool = parts.tools.find((candidate) => candidate.name === name)
    if (tool === undefined) throw new ConvokeError('agent_failed', `there is no tool ${name}`)
    return tool
  })
  return {
    system: request.system ?? systemPrompt(options),
    messages: withinBudget(messages, info?.limit.context ?? CONTEXT_TOKENS_DEFAULT),
    tools,
    ...(info === undefined ? {} : { maxOutputTokens: maxOutputTokens(info.limit) }),
    signal,
  }
}
