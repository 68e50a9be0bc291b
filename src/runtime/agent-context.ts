/** What an own agent's function is given, over one invocation. */
import type { Disposition, RunOptions } from '../domain/event.ts'
import type { Message } from '../domain/message.ts'
import type { AgentContext, GenerateRequest, Generated, StepContext, ToolAnswer, StepOptions } from './define.ts'
import type { Clock, Random, Telemetry } from '../domain/ports.ts'
import type { SessionReads } from '../projection/reads.ts'
import type { Invocation } from './invocation.ts'
import { textOf } from '../domain/message.ts'
import { takeApproval } from './asking.ts'
import { takeMessages } from './messages.ts'
import { takeSaid } from './speech.ts'
import { takeInstant, takeStep } from './steps.ts'

/** Messages that `history` answers, unless the agent says otherwise. */
const HISTORY_DEFAULT = 50
/** Messages that `history` answers at most. */
export const HISTORY_MAX = 1_000

/** What replaying needs. */
export interface ReplayParts {
  readonly clock: Clock
  readonly random: Random
  readonly telemetry: Telemetry
  readonly reads: Pick<SessionReads, 'history'>
  /** What policy says of a call of that name. */
  readonly dispositionOf: (options: RunOptions, name: string) => Disposition
  /** Calls a model: the runtime knows none. */
  readonly generate: (invocation: Invocation, key: string, request: GenerateRequest) => Promise<Generated>
  /** Runs a tool: the runtime knows none. */
  readonly runTool: (invocation: Invocation, key: string, name: string, args: unknown) => Promise<ToolAnswer>
}

type StepFn<T> = (step: StepContext) => T | Promise<T>

/** The context of `invocation`. */
export function agentContext(invocation: Invocation, parts: ReplayParts): AgentContext {
  const { journal, context, clock, random } = invocation.frame
  const { sessionId, runId, options, by, startedAt, signal } = context
  const message: Message = journal.input ?? { role: 'user', content: '' }
  return {
    sessionId,
    runId,
    options,
    by,
    signal,
    input: { text: textOf(message), message },
    async history(limit = HISTORY_DEFAULT) {
      const page = await parts.reads.history(sessionId, startedAt, Math.min(Math.max(1, limit), HISTORY_MAX))
      return page.map((said) => said.message)
    },
    step<T>(key: string, second: StepOptions | StepFn<T>, third?: StepFn<T>): Promise<T> {
      const [told, fn] = typeof second === 'function' ? [{}, second] : [second, third as StepFn<T>]
      return invocation.do(() => takeStep(invocation, { ...told, key, fn })) as Promise<T>
    },
    emit: (text) => invocation.do(() => takeSaid(invocation, text)),
    approve: (key, request) => invocation.do(() => takeApproval(invocation, key, request, (name) => parts.dispositionOf(options, name))),
    generate: (key, request = {}) => invocation.do(() => parts.generate(invocation, key, request)),
    tool: (key, name, args) => invocation.do(() => parts.runTool(invocation, key, name, args)),
    messages: () => invocation.do(() => takeMessages(invocation)),
    now: () => takeInstant(invocation, 'now', () => clock.nowMs()) as number,
    random: () => takeInstant(invocation, 'random', () => random.fraction()) as number,
    uuid: () => takeInstant(invocation, 'uuid', () => random.uuid()) as string,
  }
}
