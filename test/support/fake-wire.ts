/** What a model says, in the words of four public wires: each answer as the events that the provider would stream. */

/** One block of an answer. Texts are the pieces in which they come. */
export type FakeBlock =
  | { readonly text: readonly string[] }
  | { readonly thinking: readonly string[]; readonly signature?: string }
  | { readonly redacted: string }
  | { readonly call: string; readonly name: string; readonly input: readonly string[]; readonly signature?: string }

/** A whole answer. */
export interface FakeAnswer {
  readonly blocks: readonly FakeBlock[]
  /** Default `calls` where there is a call, else `end`. */
  readonly stop?: 'end' | 'calls' | 'length' | 'refused'
  readonly usage?: { readonly input: number; readonly cached: number; readonly output: number; readonly reasoning: number }
}

/** The name of a wire: the kind of provider that speaks it. */
export type FakeWire = 'openai' | 'openai-compatible' | 'anthropic' | 'google'

const NO_USAGE = { input: 0, cached: 0, output: 0, reasoning: 0 }

/** The events of `answer` on a wire, in order; each is one `data:` line. */
export function eventsOf(wire: FakeWire, answer: FakeAnswer): readonly object[] {
  switch (wire) {
    case 'anthropic':
      return anthropic(answer)
    case 'openai':
      return responses(answer)
    case 'openai-compatible':
      return completions(answer)
    case 'google':
      return google(answer)
  }
}

function stopOf(answer: FakeAnswer): 'end' | 'calls' | 'length' | 'refused' {
  return answer.stop ?? (answer.blocks.some((block) => 'call' in block) ? 'calls' : 'end')
}

/** Anthropic messages: https://docs.anthropic.com/en/api/messages-streaming */
function anthropic(answer: FakeAnswer): readonly object[] {
  const { input, cached, output } = answer.usage ?? NO_USAGE
  const usage = { input_tokens: input - cached, cache_read_input_tokens: cached, cache_creation_input_tokens: 0, output_tokens: 1 }
  const message = { id: 'msg_1', type: 'message', role: 'assistant', model: 'fake', content: [], stop_reason: null, stop_sequence: null, usage }
  const stops = { end: 'end_turn', calls: 'tool_use', length: 'max_tokens', refused: 'refusal' }
  const blocks = answer.blocks.flatMap((block, index) => {
    const delta = (part: object) => ({ type: 'content_block_delta', index, delta: part })
    return [
      { type: 'content_block_start', index, content_block: anthropicStart(block) },
      ...anthropicDeltas(block).map(delta),
      { type: 'content_block_stop', index },
    ]
  })
  return [
    { type: 'message_start', message },
    { type: 'ping' },
    ...blocks,
    { type: 'message_delta', delta: { stop_reason: stops[stopOf(answer)], stop_sequence: null }, usage: { output_tokens: output } },
    { type: 'message_stop' },
  ]
}

function anthropicStart(block: FakeBlock): object {
  if ('text' in block) return { type: 'text', text: '' }
  if ('thinking' in block) return { type: 'thinking', thinking: '', signature: '' }
  if ('redacted' in block) return { type: 'redacted_thinking', data: block.redacted }
  return { type: 'tool_use', id: block.call, name: block.name, input: {} }
}

function anthropicDeltas(block: FakeBlock): readonly object[] {
  if ('text' in block) return block.text.map((text) => ({ type: 'text_delta', text }))
  if ('redacted' in block) return []
  if ('call' in block) return block.input.map((text) => ({ type: 'input_json_delta', partial_json: text }))
  const signature = block.signature === undefined ? [] : [{ type: 'signature_delta', signature: block.signature }]
  return [...block.thinking.map((thinking) => ({ type: 'thinking_delta', thinking })), ...signature]
}

/** OpenAI responses: https://platform.openai.com/docs/api-reference/responses-streaming */
function responses(answer: FakeAnswer): readonly object[] {
  const { input, cached, output, reasoning } = answer.usage ?? NO_USAGE
  const head = { id: 'resp_1', object: 'response', created_at: 1_700_000_000, model: 'fake' }
  const usage = {
    input_tokens: input,
    input_tokens_details: { cached_tokens: cached },
    output_tokens: output,
    output_tokens_details: { reasoning_tokens: reasoning },
  }
  const stop = stopOf(answer)
  const reasons: Readonly<Record<string, string>> = { length: 'max_output_tokens', refused: 'content_filter' }
  const reason = reasons[stop]
  const last = reason === undefined ? { type: 'response.completed' } : { type: 'response.incomplete' }
  const response = { ...head, incomplete_details: reason === undefined ? null : { reason }, usage }
  return [
    { type: 'response.created', response: head },
    { type: 'response.in_progress', response: head },
    ...answer.blocks.flatMap(responsesItem),
    { ...last, response },
  ]
}

function responsesItem(block: FakeBlock, index: number): readonly object[] {
  const around = (item: object, done: object, inner: readonly object[]) => [
    { type: 'response.output_item.added', output_index: index, item },
    ...inner,
    { type: 'response.output_item.done', output_index: index, item: { ...item, ...done } },
  ]
  if ('text' in block) {
    const id = `msg_${index}`
    const deltas = block.text.map((delta) => ({ type: 'response.output_text.delta', item_id: id, output_index: index, content_index: 0, delta }))
    return around({ type: 'message', id, role: 'assistant', content: [] }, {}, deltas)
  }
  if ('call' in block) {
    const item = { type: 'function_call', id: `fc_${index}`, call_id: block.call, name: block.name, arguments: '' }
    const deltas = block.input.map((delta) => ({ type: 'response.function_call_arguments.delta', item_id: item.id, output_index: index, delta }))
    return around(item, { arguments: block.input.join(''), status: 'completed' }, deltas)
  }
  const at = { item_id: 'signature' in block ? block.signature : `rs_${index}`, output_index: index, summary_index: 0 }
  const thoughts = 'thinking' in block ? block.thinking : []
  const inner = thoughts.map((delta) => ({ type: 'response.reasoning_summary_text.delta', ...at, delta }))
  const part = { type: 'summary_text', text: '' }
  return around({ type: 'reasoning', id: at.item_id, summary: [], encrypted_content: null }, {}, [
    { type: 'response.reasoning_summary_part.added', ...at, part },
    ...inner,
    { type: 'response.reasoning_summary_part.done', ...at, part },
  ])
}

/** OpenAI chat completions, as compatible servers speak them: https://platform.openai.com/docs/api-reference/chat-streaming */
function completions(answer: FakeAnswer): readonly object[] {
  const { input, cached, output, reasoning } = answer.usage ?? NO_USAGE
  const head = { id: 'chatcmpl_1', object: 'chat.completion.chunk', created: 1_700_000_000, model: 'fake' }
  const chunk = (delta: object, finish_reason: string | null = null) => ({ ...head, choices: [{ index: 0, delta, finish_reason }] })
  const calls = answer.blocks.filter((block) => 'call' in block)
  const deltas = answer.blocks.flatMap((block): readonly object[] => {
    if ('text' in block) return block.text.map((content) => ({ content }))
    if ('thinking' in block) return block.thinking.map((text) => ({ reasoning_content: text }))
    if ('redacted' in block) return []
    const index = calls.indexOf(block)
    const start = { index, id: block.call, type: 'function', function: { name: block.name, arguments: '' } }
    return [start, ...block.input.map((text) => ({ index, function: { arguments: text } }))].map((call) => ({ tool_calls: [call] }))
  })
  const stops = { end: 'stop', calls: 'tool_calls', length: 'length', refused: 'content_filter' }
  const usage = {
    prompt_tokens: input,
    completion_tokens: output,
    total_tokens: input + output,
    prompt_tokens_details: { cached_tokens: cached },
    completion_tokens_details: { reasoning_tokens: reasoning },
  }
  return [chunk({ role: 'assistant', content: '' }), ...deltas.map((delta) => chunk(delta)), chunk({}, stops[stopOf(answer)]), { ...head, choices: [], usage }]
}

/** Gemini: https://ai.google.dev/api/generate-content#method:-models.streamgeneratecontent */
function google(answer: FakeAnswer): readonly object[] {
  const { input, cached, output, reasoning } = answer.usage ?? NO_USAGE
  const chunk = (part: object) => ({ candidates: [{ content: { role: 'model', parts: [part] }, index: 0 }] })
  const parts = answer.blocks.flatMap((block): readonly object[] => {
    if ('text' in block) return block.text.map((text) => ({ text }))
    if ('redacted' in block) return []
    const signed = block.signature === undefined ? {} : { thoughtSignature: block.signature }
    if ('thinking' in block) return block.thinking.map((text, index) => ({ text, thought: true, ...(index === block.thinking.length - 1 ? signed : {}) }))
    return [{ functionCall: { id: block.call, name: block.name, args: JSON.parse(block.input.join('') || '{}') as object }, ...signed }]
  })
  const stops = { end: 'STOP', calls: 'STOP', length: 'MAX_TOKENS', refused: 'SAFETY' }
  const usageMetadata = {
    promptTokenCount: input,
    cachedContentTokenCount: cached,
    // Gemini counts thoughts beside the candidates, the others inside their output.
    candidatesTokenCount: output - reasoning,
    thoughtsTokenCount: reasoning,
    totalTokenCount: input + output,
  }
  return [...parts.map(chunk), { candidates: [{ content: { role: 'model', parts: [] }, finishReason: stops[stopOf(answer)], index: 0 }], usageMetadata }]
}
