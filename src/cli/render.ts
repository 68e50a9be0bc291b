/** Events as a terminal shows them: pure, from an event to text. */
import type { ClientEvent } from '../client/index.ts'

/** How to write. */
export interface Style {
  /** Colours and the like. */
  readonly ansi: boolean
}

/** Characters of a tool's result that are shown. */
const RESULT_CHARS = 2000

/** Remembers what kind of text was written last, so that blocks are separated. */
export class Renderer {
  readonly #style: Style
  #open: 'none' | 'text' | 'thinking' = 'none'

  constructor(style: Style) {
    this.#style = style
  }

  /** What to write for `event`; nothing for events that a person need not see. */
  render(event: ClientEvent): string {
    const { payload } = event
    switch (event.name) {
      case 'text_delta':
        return this.#enter('text') + clean(String(payload['delta']))
      case 'thinking_delta':
        return this.#enter('thinking') + this.#dim(clean(String(payload['delta'])))
      case 'tool_calls_proposed':
        return this.#line(callsOf(payload['tool_calls']).map((call) => this.#bold(`→ ${describeCall(call)}`)))
      case 'tool_execution_completed':
        return this.#line([this.#dim(`${payload['is_error'] === true ? '✗' : '✓'} ${cut(clean(String(payload['result'])))}`)])
      case 'tool_rejected':
        return this.#line([this.#dim(`✗ ${clean(String(payload['tool_name']))}: ${clean(String(payload['reason']))}`)])
      case 'retry_attempt':
        return this.#line([
          this.#dim(`… ${clean(String(payload['reason']))}; trying again${payload['delay_ms'] === 0 ? '' : ` in ${Number(payload['delay_ms']) / 1000} s`}`),
        ])
      case 'run_completed':
        return this.#line(payload['stop_reason'] === 'completed' ? [] : [this.#dim(`[${clean(String(payload['stop_reason']))}]`)])
      case 'run_error':
        return this.#line([`error: ${clean(String(payload['error']))}`])
      default:
        return ''
    }
  }

  #enter(kind: 'text' | 'thinking'): string {
    const gap = this.#open !== 'none' && this.#open !== kind ? '\n' : ''
    this.#open = kind
    return gap
  }

  #line(lines: readonly string[]): string {
    const gap = this.#open === 'none' ? '' : '\n'
    this.#open = 'none'
    return gap + lines.map((line) => `${line}\n`).join('')
  }

  #dim(text: string): string {
    return this.#style.ansi ? `\u001B[2m${text}\u001B[22m` : text
  }

  #bold(text: string): string {
    return this.#style.ansi ? `\u001B[1m${text}\u001B[22m` : text
  }
}

/** A call as the wire shows it. */
export interface ShownCall {
  readonly id: string
  readonly name: string
  readonly arguments: unknown
}

/** The exact call, so that a person knows what is asked: a command is shown as it would run. */
export function describeCall(call: ShownCall): string {
  const args = call.arguments
  const command = typeof args === 'object' && args !== null && 'command' in args ? args.command : undefined
  return clean(`${call.name}: ${typeof command === 'string' ? command : JSON.stringify(args)}`)
}

function callsOf(value: unknown): readonly ShownCall[] {
  return Array.isArray(value) ? (value as readonly ShownCall[]) : []
}

function cut(text: string): string {
  return text.length <= RESULT_CHARS ? text : `${text.slice(0, RESULT_CHARS)}… [${text.length - RESULT_CHARS} more characters]`
}

/** Control characters could move the cursor and make a command look like another: they are shown, not obeyed. */
export function clean(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Bidi_Control}]/gu, (char) =>
    char === '\n' || char === '\t' ? char : `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
