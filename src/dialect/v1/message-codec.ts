/** Messages between the wire's shape and ours. */
import type { Json, Message, Part } from '../../domain/message.ts'
import type { Message as WireMessage, MessagePart } from '../../wire/v1/schemas.ts'

/** A message as the wire shows it. Thinking stays inside: its signatures mean nothing to a client. */
export function encodeMessage(message: Message): WireMessage {
  const name = message.name === undefined ? {} : { name: message.name }
  const options = message.providerOptions === undefined ? {} : { provider_options: message.providerOptions as Record<string, unknown> }
  if (typeof message.content === 'string') return { role: message.role, content: message.content, ...name, ...options }
  return { role: message.role, content: message.content.flatMap(encodePart), ...name, ...options }
}

function encodePart(part: Part): readonly MessagePart[] {
  const options = 'providerOptions' in part && part.providerOptions !== undefined ? { provider_options: part.providerOptions as Record<string, unknown> } : {}
  switch (part.type) {
    case 'text':
      return [{ type: 'text', text: part.text, ...options }]
    case 'image':
      return [{ type: 'image', url: part.url, ...(part.detail === undefined ? {} : { detail: part.detail }), ...options }]
    case 'tool_call': {
      const { id, name, metadata } = part
      return [{ type: 'tool_call', id, name, arguments: part.arguments, ...(metadata === undefined ? {} : { metadata }) }]
    }
    case 'tool_result':
      return [{ type: 'tool_result', tool_call_id: part.toolCallId, content: part.content }]
    case 'thinking':
      return []
  }
}

/** A user's message as it was sent; parts that a user cannot say are left out. */
export function decodeUserMessage(wire: WireMessage): Message {
  const name = typeof wire.name === 'string' ? { name: wire.name } : {}
  const options = wire.provider_options == null ? {} : { providerOptions: wire.provider_options as Json }
  if (typeof wire.content === 'string') return { role: 'user', content: wire.content, ...name, ...options }
  return { role: 'user', content: wire.content.flatMap(decodePart), ...name, ...options }
}

function decodePart(part: MessagePart): readonly Part[] {
  const options = part.provider_options == null ? {} : { providerOptions: part.provider_options as Json }
  if (part.type === 'text') return [{ type: 'text', text: part.text, ...options }]
  if (part.type === 'image') return [{ type: 'image', url: part.url, ...(part.detail == null ? {} : { detail: part.detail }), ...options }]
  return []
}
