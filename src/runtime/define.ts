/** How agents of one's own are written: a function that is replayed over the journal of its run. */
import type { Delivery, RunOptions } from '../domain/event.ts'
import type { RunId, SessionId, UserId } from '../domain/ids.ts'
import type { Json, Message } from '../domain/message.ts'
import type { Usage } from '../domain/usage.ts'
import { ConvokeError } from '../domain/errors.ts'

/** An agent's name, as sessions ask for it. */
const AGENT_NAME = /^[a-zA-Z0-9][a-zA-Z0-9._-]{0,63}$/

/** What a step may be told besides its key. */
export interface StepOptions {
  /** What the step depends on, as JSON. A recorded step with the same key and another input ends the run as `agent_changed`. */
  readonly input?: unknown
  /** May be run again when it is unknown whether it ran, as after a crash. Default false: then it rejects with `StepInterrupted`. */
  readonly repeatable?: boolean
  /** How long one try may take, in ms; then its signal is aborted and the try has failed. Default: as long as it takes. */
  readonly timeoutMs?: number
  /** Tries again after a failure: `attempts` tries in all (at most 20), `delayMs` (default 1,000) before the second, then twice as long each time, up to 60,000. */
  readonly retry?: { readonly attempts: number; readonly delayMs?: number }
}

/** What a step's function is given. */
export interface StepContext {
  /** From 1. */
  readonly attempt: number
  /** Aborted on cancel, on time-out, and when the server's stop runs out of time. */
  readonly signal: AbortSignal
  /**
   * Says the next piece of text, as it comes. All pieces are one message when the step has its result; a try that failed or was cut off
   * is superseded where another follows. Resolves when more may follow: await it. At most 262,144 bytes.
   */
  readonly emit: (text: string) => Promise<void>
}

/** A question to a person about one action. */
export interface ApprovalRequest {
  /** What is to be done: letters, digits, `_` and `-`, at most 64. Policy and `auto_approve` know it by this name, like a tool's. */
  readonly name: string
  /** With what, as JSON. The answer holds for exactly these. */
  readonly arguments?: unknown
  /** Said before the question. */
  readonly reason?: string
}

/** The answer to a question. */
export interface ApprovalAnswer {
  readonly action: 'accept' | 'reject' | 'custom_result'
  /** What the person answered in the action's place. */
  readonly content?: string
  /** Who answered: a user, or `policy`. */
  readonly by: UserId | 'policy'
}

/** What a model is asked. Without `prompt` and `messages`: the conversation so far. */
export interface GenerateRequest {
  /** One message of a user. */
  readonly prompt?: string
  readonly messages?: readonly Message[]
  /** The system prompt. Default: the run's own, else the server's. */
  readonly system?: string
  /** `provider/id` or an alias. Default: the run's, else the session's, else the server's. */
  readonly model?: string
  /** Names of configured tools that the model may ask for. Nothing runs by itself: see `ctx.tool`. */
  readonly tools?: readonly string[]
  /** Whether the answer is what the agent says, as it streams. Default true. */
  readonly say?: boolean
}

/** What a model answered. */
export interface Generated {
  readonly text: string
  /** The calls that it asks for. `invalid` says why its arguments could not be parsed. */
  readonly calls: readonly { readonly name: string; readonly arguments: Json; readonly invalid?: string }[]
  readonly usage: Usage
  /** `provider/id`. */
  readonly model: string
}

/** What a tool answered. */
export interface ToolAnswer {
  readonly output: string
  readonly isError: boolean
  /** A person or the policy refused the call: it did not run. */
  readonly rejected: boolean
}

/** The message that started a run. */
export interface AgentInput {
  /** Its text parts, joined by blank lines. */
  readonly text: string
  readonly message: Message
}

/** A message that arrived while the run was under way. */
export interface ArrivedMessage {
  readonly text: string
  readonly message: Message
  /** `steer`: meant for this run. `follow_up`: meant for when it ends. */
  readonly delivery: Delivery
}

/**
 * What an agent's function is given.
 *
 * Whatever reaches outside, or comes out otherwise at another time, belongs into a step: between them the function must do the same each time.
 */
export interface AgentContext {
  readonly sessionId: SessionId
  readonly runId: RunId
  /** What the run was asked to do differently. */
  readonly options: RunOptions
  /** Who started the run. */
  readonly by: UserId
  readonly input: AgentInput
  /** Aborted when the run is cancelled or must leave this process. */
  readonly signal: AbortSignal
  /** The newest messages of the session from before this run, oldest first. At most `limit` (default 50, at most 1,000). */
  history(limit?: number): Promise<readonly Message[]>
  /**
   * Does `fn` once, and answers what it answered, as JSON: in every replay from the journal. A failure is recorded too and thrown each time.
   *
   * @param key Names the step; once in a run, 1 to 200 characters, not with `~` in front. In a loop: `page:${index}`.
   * @throws {StepInterrupted} when the process died in it and it is not `repeatable`: it may or may not have taken effect
   */
  step<T>(key: string, fn: (step: StepContext) => T | Promise<T>): Promise<T>
  step<T>(key: string, options: StepOptions, fn: (step: StepContext) => T | Promise<T>): Promise<T>
  /** Says a finished message, once. Resolves when it is durable. At most 262,144 bytes. */
  emit(text: string): Promise<void>
  /**
   * Asks a person, as a tool call is asked about: any client may answer, also days later. It does not settle while the answer is not there:
   * the invocation may be dropped, and the answer invokes the function anew, from the top.
   *
   * @param key As of a step.
   */
  approve(key: string, request: ApprovalRequest): Promise<ApprovalAnswer>
  /**
   * Calls a model, as a step that may be repeated: the answer streams as what the agent says, and is tried again where its code says that this may help.
   *
   * @throws {StepError} with a `model_*` code
   */
  generate(key: string, request?: GenerateRequest): Promise<Generated>
  /** Runs a configured tool, as the built-in agent does: policy may ask a person first, and a call that was cut off is repeated only if the tool says that this is safe. */
  tool(key: string, name: string, args?: unknown): Promise<ToolAnswer>
  /** Takes in the messages that have arrived for this session since the run began. Those that are not taken in start the next run. */
  messages(): Promise<readonly ArrivedMessage[]>
  /** Milliseconds since the Unix epoch; the same in each replay. As `random` and `uuid` it is told apart by its order among its kind. */
  now(): number
  /** A number in [0, 1); the same in each replay. */
  random(): number
  /** A UUID version 7; the same in each replay. */
  uuid(): string
}

/** An agent of one's own. */
export interface AgentDefinition {
  /** Letters, digits, `.`, `_` and `-`, at most 64. */
  readonly name: string
  /** Does the work. What it answers is the last thing that the agent says; nothing ends the run silently; what it throws ends the run as failed. */
  run(ctx: AgentContext): Promise<string | null | void> | string | null | void
}

/** An agent that `defineAgent` made, for the configuration's `agents`. */
export interface DefinedAgent extends AgentDefinition {
  readonly replayed: true
}

/** Makes an agent for the configuration's `agents`. @throws {ConvokeError} `config_invalid` for a name that is none */
export function defineAgent(definition: AgentDefinition): DefinedAgent {
  const { name } = definition
  if (!AGENT_NAME.test(name))
    throw new ConvokeError('config_invalid', `an agent's name has 1 to 64 letters, digits, ., _ and -: ${JSON.stringify(name)} does not`)
  return { name, replayed: true, run: (ctx) => definition.run(ctx) }
}

/** Whether `agent` was made by `defineAgent`, of this copy of the package or another. */
export function isDefinedAgent(agent: object): agent is DefinedAgent {
  return 'replayed' in agent && agent.replayed === true
}
