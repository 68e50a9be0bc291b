/** Whether the log of one session is what a log may be (P3, P6), and its history what every provider takes. */

/** An event as `/v1` shows it with `events=all`. */
export interface Shown {
  readonly id: number
  readonly run_id: string | null
  readonly timestamp: string
  // The harness looks into payloads of any shape.
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly event: Readonly<Record<string, any>>
}

/** Name of an event. */
export const nameOf = (shown: Shown): string => Object.keys(shown.event)[0] ?? ''
/** What an event holds. */
// oxlint-disable-next-line typescript/no-explicit-any
export const payloadOf = (shown: Shown): any => Object.values(shown.event)[0]

const ENDS = ['RunCompleted', 'RunError']

/** What is wrong with `log`, as sentences; none is the good answer. Each started run must have ended. */
export function wrongInLog(log: readonly Shown[]): readonly string[] {
  const wrong: string[] = []
  log.forEach(({ id }, index) => {
    if (id !== index + 1) wrong.push(`position ${index + 1} is ${id}`)
  })
  const runs = new Map<string, Shown[]>()
  for (const shown of log) if (shown.run_id !== null) runs.set(shown.run_id, [...(runs.get(shown.run_id) ?? []), shown])
  for (const [run, events] of runs) {
    const ends = events.filter((shown) => ENDS.includes(nameOf(shown)))
    if (ends.length !== 1) wrong.push(`run ${run} ended ${ends.length} times`)
    if (ends.length === 1 && !ENDS.includes(nameOf(events.at(-1) as Shown))) wrong.push(`run ${run} goes on behind its end`)
    wrong.push(...wrongInRun(run, events))
  }
  return wrong
}

function wrongInRun(run: string, events: readonly Shown[]): readonly string[] {
  const wrong: string[] = []
  const proposed = events.flatMap((shown) => (nameOf(shown) === 'ToolCallsProposed' ? (payloadOf(shown).tool_calls as { readonly id: string }[]) : []))
  if (new Set(proposed.map(({ id }) => id)).size !== proposed.length) wrong.push(`run ${run} has two calls of one id`)
  for (const { id } of proposed) {
    const results = events.filter((shown) => ['ToolExecutionCompleted', 'ToolRejected'].includes(nameOf(shown)) && payloadOf(shown).tool_call_id === id)
    if (results.length !== 1) wrong.push(`call ${id} of run ${run} has ${results.length} results`)
  }
  let attempt = { open: false, text: '' }
  for (const shown of events) {
    const name = nameOf(shown)
    if (name === 'TurnStarted') {
      // A second attempt without a word about the first would be read as its continuation.
      if (attempt.open) wrong.push(`run ${run}: an attempt was replaced without a retry_attempt before ${shown.id}`)
      attempt = { open: true, text: '' }
    }
    if (name === 'TextDelta') attempt.text += payloadOf(shown).delta as string
    if (name === 'RetryAttempt' || name === 'TurnCompleted') attempt = { open: false, text: '' }
    if (name !== 'MessageAdded' || payloadOf(shown).message.role !== 'assistant') continue
    const content = payloadOf(shown).message.content as string | readonly { readonly type: string; readonly text?: string }[]
    const text = typeof content === 'string' ? content : content.map((part) => (part.type === 'text' ? part.text : '')).join('')
    if (text !== attempt.text) wrong.push(`run ${run}: the message at ${shown.id} holds ${text.length} characters, its attempt streamed ${attempt.text.length}`)
    attempt.open = false
  }
  return wrong
}

/** What is wrong with a transcript: each call has one result behind it, each result has its call. */
export function wrongInTranscript(messages: readonly { readonly role: string; readonly content: unknown }[]): readonly string[] {
  let open = new Set<string>()
  const wrong: string[] = []
  for (const { role, content } of messages) {
    const parts = (Array.isArray(content) ? content : []) as readonly { readonly type: string; readonly id?: string; readonly tool_call_id?: string }[]
    for (const part of parts) {
      if (part.type === 'tool_call') open.add(part.id ?? '')
      if (part.type === 'tool_result' && !open.delete(part.tool_call_id ?? '')) wrong.push(`a result of ${part.tool_call_id} has no call`)
    }
    if ((role === 'user' || role === 'assistant') && !parts.some(({ type }) => type === 'tool_call') && open.size > 0) {
      wrong.push(`calls ${[...open].join(', ')} have no result`)
      open = new Set()
    }
  }
  if (open.size > 0) wrong.push(`calls ${[...open].join(', ')} have no result at the end`)
  return wrong
}
