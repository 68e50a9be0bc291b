/**
 * `demo/convoke`: a deterministic model in the process, so that everything can be tried without a key.
 *
 * It says what it is, thinks aloud, echoes, and makes real tool calls on plain requests (see `demo-plan.ts`).
 */
import type { Message, Part } from '../domain/message.ts'
import type { Model, ModelInfo, ModelPart, ModelRequest } from '../domain/model.ts'
import type { Clock } from '../domain/ports.ts'
import { textOf } from '../domain/message.ts'
import { planOf, type PlannedCall } from './demo-plan.ts'

/** The demo model's full id. */
export const DEMO_MODEL = 'demo/convoke'
/** Pause between two words, in ms: a readable pace. */
export const DEMO_PACE_MS = 30
/** Facts for the model list. */
export const DEMO_INFO: ModelInfo = {
  id: 'convoke',
  name: 'Convoke demo (no real model)',
  provider: 'demo',
  reasoning: true,
  limit: { context: 1_000_000, output: 100_000 },
}

/** Lines of a tool's output that the demo quotes. */
const QUOTED_LINES = 5

/** The demo model. `paceMs` 0 answers at once. */
export function demoModel(clock: Clock, paceMs: number = DEMO_PACE_MS): Model {
  return {
    id: DEMO_MODEL,
    async *stream(request) {
      const answer = answerTo(request)
      let dueMs = clock.nowMs()
      const say = async function* (type: 'text_delta' | 'thinking_delta', text: string): AsyncGenerator<ModelPart> {
        for (const word of text.match(/\s*\S+\s*$|\s*\S+/g) ?? []) {
          request.signal.throwIfAborted()
          // By the clock, not by the last word: on a busy machine words come in handfuls, as a provider's do, and not later and later.
          dueMs += paceMs
          if (paceMs > 0) await clock.sleepUntil(dueMs, request.signal)
          yield { type, delta: word }
        }
      }
      yield* say('thinking_delta', answer.thinking)
      yield { type: 'thinking_end' }
      yield* say('text_delta', answer.text)
      yield { type: 'text_end' }
      for (const call of answer.calls) yield { type: 'tool_call', ...call }
      const outputTokens = words(answer.thinking) + words(answer.text)
      const inputTokens = request.messages.reduce((sum, message) => sum + words(textOf(message)), 0)
      const usage = { inputTokens, outputTokens, totalTokens: inputTokens + outputTokens }
      yield { type: 'finish', reason: answer.calls.length > 0 ? 'tool_calls' : 'stop', usage }
    },
  }
}

interface DemoAnswer {
  readonly thinking: string
  readonly text: string
  readonly calls: readonly (PlannedCall & { readonly id: string })[]
}

function answerTo(request: ModelRequest): DemoAnswer {
  const lastUser = request.messages.findLastIndex((message) => message.role === 'user')
  const asked = lastUser === -1 ? '' : textOf(request.messages[lastUser] as Message)
  const since = request.messages.slice(lastUser + 1)
  const done = since.filter((message) => message.role === 'assistant').length
  const steps = planOf(asked, new Set(request.tools.map((tool) => tool.name)))
  const step = steps[done]
  if (step !== undefined) {
    // The ids must differ from all that were given before in this session.
    const calls = step.map((call, index) => ({ ...call, id: `demo_${request.messages.length}_${index + 1}` }))
    const names = calls.map((call) => call.name).join(' and ')
    return { thinking: `The request asks for ${names}. I call it.`, text: `I will use ${names}.`, calls }
  }
  if (done > 0) return { thinking: 'The tools have answered. I sum up.', text: summary(since), calls: [] }
  const count = /^count to (\d{1,5})$/i.exec(asked.trim())
  if (count !== null) return { thinking: 'I count.', text: Array.from({ length: Number(count[1]) }, (_, index) => index + 1).join(' '), calls: [] }
  return {
    thinking: 'There is no request for a tool in this message, so I echo it.',
    text: `This is the demo model of Convoke, not a real one. You said: ${asked}`,
    calls: [],
  }
}

function summary(since: readonly Message[]): string {
  const results = since.flatMap((message) =>
    typeof message.content === 'string' ? [] : message.content.filter((part): part is Extract<Part, { type: 'tool_result' }> => part.type === 'tool_result'),
  )
  const lines = results.map((result) => {
    const output = typeof result.content === 'string' ? result.content : JSON.stringify(result.content)
    const quoted = output.split('\n').slice(0, QUOTED_LINES).join('\n')
    return `${result.toolName} ${result.isError ? 'did not work' : 'answered'}:\n${quoted}`
  })
  return `Done. ${lines.join('\n\n')}`
}

function words(text: string): number {
  return text.match(/\S+/g)?.length ?? 0
}
