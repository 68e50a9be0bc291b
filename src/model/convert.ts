/** Our messages as a provider's prompt, made valid for every provider: each call has one result, each result has its call. */
import type { JSONValue, LanguageModelV4Message, LanguageModelV4Prompt, LanguageModelV4ToolResultPart, SharedV4ProviderOptions } from '@ai-sdk/provider'
import type { Json, Message, Part, ToolCallPart } from '../domain/message.ts'
import type { ModelRequest } from '../domain/model.ts'

/** What a call without a recorded result is answered with. */
export const NO_RESULT = 'no result was recorded'

type AssistantContent = Extract<LanguageModelV4Message, { role: 'assistant' }>['content']
type UserContent = Extract<LanguageModelV4Message, { role: 'user' }>['content']

/** A call whose result is still to come, and the message that takes it: right behind the call, wherever the result stands. */
interface OpenCall {
  readonly call: ToolCallPart
  readonly results: LanguageModelV4ToolResultPart[]
}

/** The prompt of a request. */
export function toPrompt(request: Pick<ModelRequest, 'system' | 'messages'>): LanguageModelV4Prompt {
  const prompt: LanguageModelV4Prompt = request.system === '' ? [] : [{ role: 'system', content: request.system }]
  const open = new Map<string, OpenCall>()
  for (const message of request.messages) {
    if (message.role === 'tool') takeResults(message, open)
    else {
      pushMessage(prompt, message)
      if (message.role === 'assistant') pushCalls(prompt, message, open)
    }
  }
  for (const call of open.values()) leaveOpen(call)
  return prompt
}

function pushCalls(prompt: LanguageModelV4Prompt, message: Message, open: Map<string, OpenCall>): void {
  const calls = partsOf(message).filter((part) => part.type === 'tool_call')
  if (calls.length === 0) return
  const results: LanguageModelV4ToolResultPart[] = []
  prompt.push({ role: 'tool', content: results })
  for (const call of calls) {
    const before = open.get(call.id)
    if (before !== undefined && before.results !== results) leaveOpen(before)
    open.set(call.id, { call, results })
  }
}

/** A result that has no call, or is a second one, is left out. */
function takeResults(message: Message, open: Map<string, OpenCall>): void {
  for (const part of partsOf(message)) {
    if (part.type !== 'tool_result') continue
    open.get(part.toolCallId)?.results.push(resultPart(part.toolCallId, part.toolName, part.content, part.isError))
    open.delete(part.toolCallId)
  }
}

function leaveOpen({ call, results }: OpenCall): void {
  results.push(resultPart(call.id, call.name, NO_RESULT, true))
}

function pushMessage(prompt: LanguageModelV4Prompt, message: Message): void {
  const options = message.providerOptions === undefined ? {} : { providerOptions: message.providerOptions as SharedV4ProviderOptions }
  if (message.role === 'user') prompt.push({ role: 'user', content: userContent(message), ...options })
  if (message.role === 'system') prompt.push({ role: 'system', content: typeof message.content === 'string' ? message.content : '' })
  if (message.role !== 'assistant') return
  const content = assistantContent(message)
  if (content.length > 0) prompt.push({ role: 'assistant', content })
}

function userContent(message: Message): UserContent {
  const content = partsOf(message).flatMap((part): UserContent => {
    const options = 'providerOptions' in part && part.providerOptions !== undefined ? { providerOptions: part.providerOptions as SharedV4ProviderOptions } : {}
    if (part.type === 'text') return [{ type: 'text', text: part.text, ...options }]
    if (part.type !== 'image') return []
    const data = /^data:([\w/+.-]+);base64,(.*)$/s.exec(part.url)
    if (data === null) return [{ type: 'file', mediaType: 'image', data: { type: 'url', url: new URL(part.url) }, ...options }]
    return [{ type: 'file', mediaType: data[1] ?? 'image', data: { type: 'data', data: data[2] ?? '' }, ...options }]
  })
  // An empty message is refused by some providers.
  return content.length === 0 ? [{ type: 'text', text: ' ' }] : content
}

function assistantContent(message: Message): AssistantContent {
  return partsOf(message).flatMap((part): AssistantContent => {
    switch (part.type) {
      case 'text':
        return part.text === '' ? [] : [{ type: 'text', text: part.text }]
      case 'thinking':
        // Without its signature a provider cannot take a thought back.
        return part.metadata === undefined ? [] : [{ type: 'reasoning', text: part.text, providerOptions: part.metadata as SharedV4ProviderOptions }]
      case 'tool_call': {
        const options = part.metadata === undefined ? {} : { providerOptions: part.metadata as SharedV4ProviderOptions }
        return [{ type: 'tool-call', toolCallId: part.id, toolName: part.name, input: objectOf(part.arguments), ...options }]
      }
      default:
        return []
    }
  })
}

/** Providers take objects only; what could not be parsed is shown as it came. */
function objectOf(args: Json): Json {
  return typeof args === 'object' && args !== null && !Array.isArray(args) ? args : { input: args }
}

function resultPart(toolCallId: string, toolName: string, content: Json, isError: boolean): LanguageModelV4ToolResultPart {
  if (typeof content === 'string') return { type: 'tool-result', toolCallId, toolName, output: { type: isError ? 'error-text' : 'text', value: content } }
  return { type: 'tool-result', toolCallId, toolName, output: { type: isError ? 'error-json' : 'json', value: content as JSONValue } }
}

function partsOf(message: Message): readonly Part[] {
  return typeof message.content === 'string' ? [{ type: 'text', text: message.content }] : message.content
}
