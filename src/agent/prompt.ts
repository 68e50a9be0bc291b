/**
 * A run's prompt: built once from the transcript, then only appended to.
 *
 * The newest messages are kept within a budget; a cut falls before a user's message, so that no tool result loses its call.
 * What a run ended with is remembered for the session's next run, so that a long session is not read anew each time.
 */
import type { RunOptions } from '../domain/event.ts'
import type { Position, SessionId } from '../domain/ids.ts'
import type { Message } from '../domain/message.ts'
import type { SessionReads } from '../projection/reads.ts'

/** Messages that a prompt holds at most. */
export const PROMPT_MESSAGES_MAX = 10_000
/** Characters of messages from which no older ones are read: more than any model's context holds. */
export const PROMPT_CHARS_MAX = 8 * 1024 * 1024
/** Messages that are read at once. */
const PAGE = 200
/** Characters that all remembered prompts may hold together, each message with what it costs besides. */
export const REMEMBERED_CHARS_MAX = 16 * 1024 * 1024
/** What a message costs in memory besides its text, in characters, about: without it many short ones would have no bound to speak of. */
export const MESSAGE_CHARS = 512
/** Characters per token, as a low estimate for budgets. */
const CHARS_PER_TOKEN = 3.5
/** Part of the model's context that the history may take. */
export const HISTORY_SHARE = 0.7

interface Remembered {
  readonly upTo: Position
  readonly messages: Message[]
  readonly chars: number
}

/** The prompts of sessions that ran lately, oldest first. */
export class PromptMemory {
  readonly #reads: SessionReads
  readonly #turn: () => Promise<void>
  readonly #remembered = new Map<SessionId, Remembered>()
  #chars = 0

  /** @param turn As `Clock.turn`. */
  constructor(reads: SessionReads, turn: () => Promise<void>) {
    this.#reads = reads
    this.#turn = turn
  }

  /** All messages of `session` up to position `upTo`, oldest first. The array is the caller's to append to. */
  async load(session: SessionId, upTo: Position): Promise<Message[]> {
    const known = this.#take(session)
    if (known !== undefined && known.upTo <= upTo) {
      known.messages.push(...(await this.#read(session, upTo, known.upTo)))
      return known.messages
    }
    return this.#read(session, upTo, 0)
  }

  /** The newest messages behind `after`, in pages from the end: the loop runs between them, and no more are read than a prompt can hold. */
  async #read(session: SessionId, upTo: Position, after: Position): Promise<Message[]> {
    const pages: Message[][] = []
    let chars = 0
    let count = 0
    for (let end = upTo; ;) {
      const page = await this.#reads.history(session, end, PAGE, after)
      pages.unshift(page.map(({ message }) => message))
      count += page.length
      chars += page.reduce((sum, { message }) => sum + sizeOf(message), 0)
      if (page.length < PAGE || count >= PROMPT_MESSAGES_MAX || chars >= PROMPT_CHARS_MAX) return pages.flat()
      end = (page[0]?.position ?? 1) - 1
      await this.#turn()
    }
  }

  /** Keeps `messages`, which hold the transcript up to `upTo`, for the next run. */
  keep(session: SessionId, upTo: Position, messages: Message[]): void {
    this.#take(session)
    const chars = messages.reduce((sum, message) => sum + MESSAGE_CHARS + sizeOf(message), 0)
    if (chars > REMEMBERED_CHARS_MAX) return
    this.#remembered.set(session, { upTo, messages, chars })
    this.#chars += chars
    for (const oldest of this.#remembered.keys()) {
      if (this.#chars <= REMEMBERED_CHARS_MAX) break
      this.#take(oldest)
    }
  }

  #take(session: SessionId): Remembered | undefined {
    const known = this.#remembered.get(session)
    if (known === undefined) return undefined
    this.#remembered.delete(session)
    this.#chars -= known.chars
    return known
  }
}

/** The newest of `messages` that fit into a model with `contextTokens`. */
export function withinBudget(messages: readonly Message[], contextTokens: number): readonly Message[] {
  let left = contextTokens * HISTORY_SHARE * CHARS_PER_TOKEN
  let from = messages.length
  while (from > 0) {
    left -= sizeOf(messages[from - 1] as Message)
    if (left < 0) break
    from--
  }
  if (from === 0) return messages
  const start = messages.findIndex((message, index) => index >= from && message.role === 'user')
  return messages.slice(start === -1 ? lastUser(messages) : start)
}

function lastUser(messages: readonly Message[]): number {
  const index = messages.findLastIndex((message) => message.role === 'user')
  return Math.max(0, index)
}

const sizes = new WeakMap<Message, number>()

/** Characters of a message, roughly; counted once. */
function sizeOf(message: Message): number {
  if (typeof message.content === 'string') return message.content.length
  const size = sizes.get(message) ?? JSON.stringify(message.content).length
  sizes.set(message, size)
  return size
}

const INSTRUCTIONS = `You are a helpful agent. You work in the folder of this session with the tools that you are given.
Say briefly what you do before you do it. When a tool call is refused, do not try to reach the same end in another way; ask.`

/** The system prompt of one run: our instructions or the run's own, then the context that its sender handed over. */
export function systemPrompt(options: RunOptions): string {
  const rank = { high: 0, normal: 1, low: 2 } as const
  const items = [...(options.context ?? [])].sort((a, b) => rank[a.priority] - rank[b.priority])
  const context = items.map((item) => `<context name=${JSON.stringify(item.name)}>\n${item.content}\n</context>`)
  return [options.systemPrompt ?? INSTRUCTIONS, ...context].join('\n\n')
}
