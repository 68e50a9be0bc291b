/** What an own agent says, as events. */
import type { MessageEvent, RunEvent, TurnFinish } from '../domain/event.ts'
import type { MessageId } from '../domain/ids.ts'
import type { Part } from '../domain/message.ts'
import type { Journal } from './journal.ts'
import { ConvokeError } from '../domain/errors.ts'

/** Bytes of one message of an own agent, in UTF-8. */
export const SAID_BYTES_MAX = 256 * 1024

/** What the turns of an own agent name as their model when none was called. */
export const NO_MODEL = 'none'

/** The event that opens a turn, where none is open. */
export function turnStart({ runId, turn, turnOpen }: Journal, model = NO_MODEL): readonly RunEvent[] {
  return turnOpen ? [] : [{ type: 'TurnStarted', runId, turn: turn + 1, attempt: 1, model }]
}

/** The number of the turn that is open, or that `turnStart` opens. */
export function turnOf({ turn, turnOpen }: Journal): number {
  return turnOpen ? turn : turn + 1
}

/** The end of the turn that is open, or that `turnStart` opened. */
export function turnEnd(journal: Journal, finishReason: TurnFinish): RunEvent {
  return { type: 'TurnCompleted', runId: journal.runId, turn: turnOf(journal), finishReason }
}

/** A finished message, and its text for those who watch. */
export function spoken({ runId }: Journal, messageId: MessageId, text: string, more: readonly Part[] = []): readonly (RunEvent | MessageEvent)[] {
  const parts: readonly Part[] = text === '' ? more : [{ type: 'text', text }, ...more]
  const shown: readonly RunEvent[] =
    text === ''
      ? []
      : [
          { type: 'TextDelta', runId, delta: text },
          { type: 'TextCompleted', runId, text },
        ]
  return [...shown, { type: 'MessageAdded', messageId, runId, message: { role: 'assistant', content: parts } }]
}

/** @throws {ConvokeError} `agent_failed` for what is no text, or too long */
export function requireText(text: unknown, what: string): asserts text is string {
  if (typeof text !== 'string') throw new ConvokeError('agent_failed', `${what} is text, not a ${typeof text}`)
  const bytes = Buffer.byteLength(text)
  if (bytes > SAID_BYTES_MAX) throw new ConvokeError('agent_failed', `${what} has ${bytes} bytes, ${SAID_BYTES_MAX} is the most`)
}
