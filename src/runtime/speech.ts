/**
 * What an own agent says.
 *
 * U1. One speaks at a time: whatever adds a message of the agent, or opens or ends a turn, holds the voice until that is in the journal.
 * U2. A turn is open while something is said, and while a call has no result.
 * U3. Text that was streamed and did not become a message is superseded before anything else is said.
 */
import type { MessageEvent, RunEvent, TurnFinish } from '../domain/event.ts'
import type { Part } from '../domain/message.ts'
import type { Invocation } from './invocation.ts'
import type { Journal } from './journal.ts'
import { ConvokeError } from '../domain/errors.ts'
import { messageId } from '../domain/ids.ts'
import { hashOf } from './journal-value.ts'

/** Bytes of one message of an own agent, in UTF-8. */
export const SAID_BYTES_MAX = 256 * 1024
/** What the turns of an own agent name as their model when none was called. */
export const NO_MODEL = 'none'

type Said = readonly (RunEvent | MessageEvent)[]

/** The event that opens a turn, or says that its text begins anew; none where it goes on. */
export function turnStart({ runId, turn, turnOpen, attempt, superseded }: Journal, model = NO_MODEL): readonly RunEvent[] {
  if (!turnOpen) return [{ type: 'TurnStarted', runId, turn: turn + 1, attempt: 1, model }]
  return superseded ? [{ type: 'AttemptStarted', runId, turn, attempt: attempt + 1, model }] : []
}

/** The number of the turn that is open, or that `turnStart` opens. */
export function turnOf({ turn, turnOpen }: Journal): number {
  return turnOpen ? turn : turn + 1
}

/** The end of the turn that is open, or that `turnStart` opened. */
export function turnEnd(journal: Journal, finishReason: TurnFinish): RunEvent {
  return { type: 'TurnCompleted', runId: journal.runId, turn: turnOf(journal), finishReason }
}

/** The end of the turn, unless calls keep it open; those of `ended` end with it. @see U2 */
export function turnEndUnlessCalls(journal: Journal, finishReason: TurnFinish, ended: readonly string[] = []): readonly RunEvent[] {
  return journal.openCalls.some(({ id }) => !ended.includes(id)) ? [] : [turnEnd(journal, finishReason)]
}

/** A finished message, and its text for those who watch. */
export function spoken({ runId }: Journal, id: string, text: string, more: readonly Part[] = []): Said {
  const parts: readonly Part[] = text === '' ? more : [{ type: 'text', text }, ...more]
  const delta: RunEvent = { type: 'TextDelta', runId, delta: text }
  const shown: readonly RunEvent[] = text === '' ? [] : [delta, { type: 'TextCompleted', runId, text }]
  return [...shown, { type: 'MessageAdded', messageId: messageId(id), runId, message: { role: 'assistant', content: parts } }]
}

/** Says a finished message, once: in a replay it is told by its words and by how often they were said before. */
export async function takeSaid(invocation: Invocation, text: unknown): Promise<void> {
  requireText(text, 'what an agent says')
  if (text === '') return
  const { journal, random } = invocation.frame
  const { runId } = journal
  const key = invocation.next(`said:${hashOf(text)}`)
  if (journal.steps.has(key)) return
  await invocation.voice.hold(() =>
    invocation.record(
      ...turnStart(journal),
      ...spoken(journal, random.uuid(), text),
      { type: 'StepCompleted', runId, key },
      ...turnEndUnlessCalls(journal, 'stop'),
    ),
  )
}

/** What one try of a step says, as it comes. It becomes a message with the step's result. */
export class Speech {
  readonly #invocation: Invocation
  /** The model that its turn names. */
  model = NO_MODEL
  #text = ''
  /** Characters of the text that are on their way to the log. */
  #sent = 0
  #bytes = 0
  #over = false
  #begun: Promise<void> | undefined
  #release: (() => void) | undefined
  /** The message's content, where it is more than the text. */
  content: readonly Part[] | undefined
  /** Events that go before the step's result. */
  closing: readonly RunEvent[] = []

  constructor(invocation: Invocation) {
    this.#invocation = invocation
  }

  /** Says the next piece. Resolves when more may follow. @throws {ConvokeError} `agent_failed` for what is no text, too much, or too late */
  async say(delta: string): Promise<void> {
    requireText(delta, 'what a step says')
    if (this.#over) throw new ConvokeError('agent_failed', 'the step has ended: it says nothing more')
    if (delta === '') return
    this.#bytes += Buffer.byteLength(delta)
    if (this.#bytes > SAID_BYTES_MAX) throw new ConvokeError('agent_failed', `what a step says has at most ${SAID_BYTES_MAX} bytes`)
    this.#text += delta
    await this.begin()
    if (this.#over) return
    const { context } = this.#invocation.frame
    for (const event of this.#rest()) context.emit(event)
    if (context.full) await context.drained()
  }

  /** Takes the voice, and opens a turn. */
  begin(): Promise<void> {
    this.#begun ??= this.#begin()
    return this.#begun
  }

  async #begin(): Promise<void> {
    const { voice, frame } = this.#invocation
    this.#release = await voice.acquire()
    if (this.#over) return this.#release()
    this.#invocation.speaking = this
    for (const event of turnStart(frame.journal, this.model)) frame.context.emit(event)
  }

  /** Hands on an event beside the text. */
  async note(event: RunEvent): Promise<void> {
    await this.begin()
    const { context } = this.#invocation.frame
    if (!this.#over) context.emit(event)
    if (context.full) await context.drained()
  }

  /** Records `events` with what was said as a message before them; the text counts. Without any, it does not wait until they are durable. */
  async complete(...events: readonly RunEvent[]): Promise<void> {
    const { journal, random } = this.#invocation.frame
    const { runId } = journal
    if (!(await this.#end())) return this.#invocation.recordSoon(...events)
    const text = this.#text
    const content = this.content ?? (text === '' ? [] : [{ type: 'text', text } as const])
    const message: Said =
      content.length === 0 ? [] : [{ type: 'MessageAdded', messageId: messageId(random.uuid()), runId, message: { role: 'assistant', content } }]
    const whole: readonly RunEvent[] = text === '' ? [] : [...this.#rest(), { type: 'TextCompleted', runId, text }]
    await this.#last(...whole, ...message, ...this.closing, ...events, ...turnEndUnlessCalls(journal, 'stop'))
  }

  /** Records `events` with what was said as a message that was cut off. */
  async cutOff(...events: readonly RunEvent[]): Promise<void> {
    const { journal } = this.#invocation.frame
    if (!(await this.#end())) return this.#invocation.record(...events)
    await this.#last(...this.hush(), ...events, ...turnEndUnlessCalls(journal, 'error'))
  }

  /** Records `events`, then that what was said does not count. @see U3 */
  async supersede(...events: readonly RunEvent[]): Promise<void> {
    const { journal } = this.#invocation.frame
    if (!(await this.#end())) return this.#invocation.record(...events)
    try {
      await this.#invocation.record(...events)
      await this.#invocation.record(...supersededBy(journal))
    } finally {
      this.#leave()
    }
  }

  /** Says nothing more. Answers what was said so far, as a message that was cut off. */
  hush(): Said {
    this.#over = true
    const { journal, random } = this.#invocation.frame
    if (this.#text === '') return []
    const message = { role: 'assistant', content: [{ type: 'text', text: this.#text }] } as const
    return [...this.#rest(), { type: 'MessageAdded', messageId: messageId(random.uuid()), runId: journal.runId, message, partial: true }]
  }

  /** Says nothing more. Answers whether anything was said. */
  async #end(): Promise<boolean> {
    if (this.#begun !== undefined && this.#release === undefined) await this.#begun
    this.#over = true
    return this.#release !== undefined
  }

  async #last(...events: Said): Promise<void> {
    try {
      await this.#invocation.record(...events)
    } finally {
      this.#leave()
    }
  }

  #leave(): void {
    if (this.#invocation.speaking === this) this.#invocation.speaking = undefined
    this.#release?.()
  }

  #rest(): readonly RunEvent[] {
    const delta = this.#text.slice(this.#sent)
    this.#sent = this.#text.length
    return delta === '' ? [] : [{ type: 'TextDelta', runId: this.#invocation.frame.journal.runId, delta }]
  }
}

/** The word that streamed text does not count, where there is any. @see U3 */
export function supersededBy({ runId, turn, attempt, textFrom }: Journal): readonly RunEvent[] {
  return textFrom === undefined ? [] : [{ type: 'AttemptSuperseded', runId, turn, attempt, from: textFrom }]
}

/** @throws {ConvokeError} `agent_failed` for what is no text, or too long */
export function requireText(text: unknown, what: string): asserts text is string {
  if (typeof text !== 'string') throw new ConvokeError('agent_failed', `${what} is text, not a ${typeof text}`)
  const bytes = Buffer.byteLength(text)
  if (bytes > SAID_BYTES_MAX) throw new ConvokeError('agent_failed', `${what} has ${bytes} bytes, ${SAID_BYTES_MAX} is the most`)
}
