/** What a provider would refuse in a request, and what no request may show after a crash. */

/** A message of a request, as OpenAI's chat completions have it. */
export interface PromptMessage {
  readonly role: string
  readonly content?: string | readonly { readonly type: string; readonly text?: string }[] | null
  readonly tool_calls?: readonly { readonly id: string; readonly function: { readonly name: string; readonly arguments: string } }[]
  readonly tool_call_id?: string
}

/** What the server fills in for a call without a result: valid, and proof that a result was forgotten. */
const FORGOTTEN = 'no result was recorded'

/** The text of a message. */
export function textOfPrompt(message: PromptMessage): string {
  const { content } = message
  if (typeof content === 'string') return content
  return (content ?? []).map((part) => part.text ?? '').join('')
}

/** Why a provider would refuse these messages; nothing where it would not. */
export function judgePrompt(messages: readonly PromptMessage[]): readonly string[] {
  const found: string[] = []
  let open = new Set<string>()
  let known = new Set<string>()
  messages.forEach((message, index) => {
    const at = `message ${index + 1} of ${messages.length} (${message.role})`
    if (message.role === 'tool') {
      const id = message.tool_call_id ?? ''
      if (!open.delete(id)) found.push(`${at} answers ${id}, which ${known.has(id) ? 'has its answer' : 'is no call of the message before'}`)
      if (textOfPrompt(message) === FORGOTTEN) found.push(`${at}: the result of ${id} was forgotten`)
      return
    }
    for (const id of open) found.push(`${at} comes before the answer to the call ${id}`)
    if (message.role === 'system' && index > 0) found.push(`${at} is not the first`)
    if (!['system', 'user', 'assistant'].includes(message.role)) found.push(`${at}: there is no such role`)
    open = new Set((message.tool_calls ?? []).map(({ id }) => id))
    known = new Set(open)
    if (open.size !== (message.tool_calls?.length ?? 0)) found.push(`${at} calls one id twice`)
    for (const call of message.tool_calls ?? []) if (!isObject(call.function.arguments)) found.push(`${at}: the arguments of ${call.id} are no object`)
  })
  for (const id of open) found.push(`the call ${id} has no answer`)
  const last = messages.at(-1)?.role
  if (last !== 'user' && last !== 'tool') found.push(`the last message is ${last === undefined ? 'missing' : `the ${last}'s`}`)
  return found
}

function isObject(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === 'object' && value !== null && !Array.isArray(value)
  } catch {
    return false
  }
}
