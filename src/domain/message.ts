/** The messages of a transcript: what a person or a model said, and what a tool answered. */

/** JSON as it is parsed. */
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json }

/** Text. `providerOptions` is passed to the provider as sent. */
export interface TextPart {
  readonly type: 'text'
  readonly text: string
  readonly providerOptions?: Json
}
/** A picture by URL or data URL. */
export interface ImagePart {
  readonly type: 'image'
  readonly url: string
  readonly detail?: 'low' | 'high' | 'auto'
  readonly providerOptions?: Json
}
/** The model's thinking; `metadata` is the provider's signature, handed back on the next call. */
export interface ThinkingPart {
  readonly type: 'thinking'
  readonly text: string
  readonly metadata?: Json
}
/** A call that the model asks for. `invalid` says why its arguments could not be parsed. */
export interface ToolCallPart {
  readonly type: 'tool_call'
  readonly id: string
  readonly name: string
  readonly arguments: Json
  readonly metadata?: Json
  readonly invalid?: string
}
/** The answer to one call. */
export interface ToolResultPart {
  readonly type: 'tool_result'
  readonly toolCallId: string
  readonly toolName: string
  readonly content: Json
  readonly isError: boolean
}
/** One piece of a message. */
export type Part = TextPart | ImagePart | ThinkingPart | ToolCallPart | ToolResultPart

/** One message as it stands in a transcript. A user's content is kept as it was sent: text or parts. */
export interface Message {
  readonly role: 'system' | 'user' | 'assistant' | 'tool'
  readonly content: string | readonly Part[]
  readonly name?: string
  readonly providerOptions?: Json
}

/** Extra context that a caller hands to one run; shown to the model, never written into the user's message. */
export interface ContextItem {
  readonly name: string
  readonly content: string
  readonly priority: 'high' | 'normal' | 'low'
}

/** The text of a message: its text parts, joined by blank lines. */
export function textOf(message: Message): string {
  if (typeof message.content === 'string') return message.content
  return message.content.flatMap((part) => (part.type === 'text' ? [part.text] : [])).join('\n\n')
}
