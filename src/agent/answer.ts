/** Gathers the parts of one model call into the assistant's message. */
import type { Json, Message, Part } from '../domain/message.ts'
import type { FinishReason, ModelPart } from '../domain/model.ts'
import type { Usage } from '../domain/usage.ts'
import { NO_USAGE } from '../domain/usage.ts'

/** Ids that are taken over as they come: they stand in paths and as keys of objects. */
const PLAIN_ID = /^(?!\.{1,2}$|__proto__$)[\x21-\x7e]{1,200}$/

/** What one model call answered so far. */
export class Answer {
  readonly #parts: Part[] = []
  #text = ''
  #thinking = ''
  #usage: Usage = NO_USAGE
  #finish: FinishReason | undefined
  readonly #ids: Set<string>

  /** @param takenIds Ids of the run's earlier calls: some providers count from 0 in each answer, and an approval names one call only. */
  constructor(takenIds: Iterable<string> = []) {
    this.#ids = new Set(takenIds)
  }

  /** Takes in the next part. */
  add(part: ModelPart): void {
    switch (part.type) {
      case 'text_delta':
        this.#text += part.delta
        return
      case 'thinking_delta':
        this.#thinking += part.delta
        return
      case 'text_end':
        return this.#endText()
      case 'thinking_end':
        return this.#endThinking(part.metadata)
      case 'tool_call': {
        this.#endText()
        const { name, metadata, invalid } = part
        const extra = { ...(metadata === undefined ? {} : { metadata }), ...(invalid === undefined ? {} : { invalid }) }
        this.#parts.push({ type: 'tool_call', id: this.#uniqueId(part.id), name, arguments: part.arguments, ...extra })
        return
      }
      case 'finish':
        this.#endThinking(undefined)
        this.#endText()
        this.#usage = part.usage
        this.#finish = part.reason
    }
  }

  /** The text of the block that `text_end` is about to complete. */
  get openText(): string {
    return this.#text
  }

  get usage(): Usage {
    return this.#usage
  }

  get finish(): FinishReason | undefined {
    return this.#finish
  }

  /** The calls that the model asked for. */
  get calls(): readonly Extract<Part, { type: 'tool_call' }>[] {
    return this.#parts.filter((part) => part.type === 'tool_call')
  }

  /** The message so far. */
  message(): Message {
    const open: readonly Part[] = this.#text === '' ? [] : [{ type: 'text', text: this.#text }]
    return { role: 'assistant', content: [...this.#parts, ...open] }
  }

  /** The message of an answer that was cut off: its text only, since a call or a thought without its end is not valid history. */
  partialMessage(): Message | undefined {
    const text = this.#parts.filter((part) => part.type === 'text')
    const open: readonly Part[] = this.#text === '' ? [] : [{ type: 'text', text: this.#text }]
    const content = [...text, ...open]
    return content.length === 0 ? undefined : { role: 'assistant', content }
  }

  #uniqueId(given: unknown): string {
    const plain = typeof given === 'string' && PLAIN_ID.test(given) ? given : 'call'
    let id = plain
    for (let count = 2; this.#ids.has(id); count++) id = `${plain}-${count}`
    this.#ids.add(id)
    return id
  }

  #endText(): void {
    if (this.#text !== '') this.#parts.push({ type: 'text', text: this.#text })
    this.#text = ''
  }

  #endThinking(metadata: Json | undefined): void {
    // A thought may be hidden and still have to be handed back.
    if (this.#thinking !== '' || metadata !== undefined)
      this.#parts.push({ type: 'thinking', text: this.#thinking, ...(metadata === undefined ? {} : { metadata }) })
    this.#thinking = ''
  }
}
