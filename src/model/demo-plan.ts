/**
 * What plain requests mean to the demo model.
 *
 * `run ls -la` · `write notes.txt: hello` · `read notes.txt` · `edit notes.txt: old => new` · `todo: one, two` ·
 * `call any_tool {"its": "arguments"}`.
 * Requests joined by " then " or on lines of their own come one after the other; joined by " and " they come in one turn.
 */
import type { Json } from '../domain/message.ts'

/** A call that the demo makes. */
export interface PlannedCall {
  readonly name: string
  readonly arguments: Json
}

/** The turns of calls that `text` asks for; only tools in `available`. */
export function planOf(text: string, available: ReadonlySet<string>): readonly (readonly PlannedCall[])[] {
  return text
    .split(/\n| then (?=(?:please )?(?:run|write|read|edit|todo)\b)/i)
    .map((step) => callsOf(step).filter((call) => available.has(call.name)))
    .filter((calls) => calls.length > 0)
}

function callsOf(step: string): readonly PlannedCall[] {
  // A command or a text may hold an "and" itself: only a request that begins behind it splits.
  return step.split(/ and (?=(?:run|write|read|edit|todo|call)\b)/i).flatMap((request) => {
    const call = callOf(request.trim())
    return call === undefined ? [] : [call]
  })
}

function callOf(request: string): PlannedCall | undefined {
  const run = /^(?:please )?run:? +`?(.+?)`?$/is.exec(request)
  if (run !== null) return { name: 'bash', arguments: { command: run[1] ?? '' } }
  const write = /^write +([^\s:]+) *: ?(.*)$/is.exec(request)
  if (write !== null) return { name: 'write', arguments: { path: write[1] ?? '', content: `${write[2] ?? ''}\n` } }
  const read = /^read +(\S+)$/i.exec(request)
  if (read !== null) return { name: 'read', arguments: { path: read[1] ?? '' } }
  const edit = /^edit +([^\s:]+) *: ?(.*?) *=> *(.*)$/is.exec(request)
  if (edit !== null) return { name: 'edit', arguments: { path: edit[1] ?? '', old_text: edit[2] ?? '', new_text: edit[3] ?? '' } }
  const named = /^call +([\w-]+)(?: +(\{.*\}))?$/is.exec(request)
  if (named !== null) return argumentsOf(named[2] ?? '{}', (parsed) => ({ name: named[1] ?? '', arguments: parsed }))
  const todo = /^todo *: ?(.+)$/is.exec(request)
  if (todo === null) return undefined
  const todos = (todo[1] ?? '').split(',').map((item) => ({ text: item.trim(), status: 'pending' }))
  return { name: 'todo', arguments: { todos: todos.filter((item) => item.text !== '') } }
}

/** The call that `make` builds of JSON; none of text that is not JSON. */
function argumentsOf(text: string, make: (parsed: Json) => PlannedCall): PlannedCall | undefined {
  try {
    return make(JSON.parse(text) as Json)
  } catch {
    return undefined
  }
}
