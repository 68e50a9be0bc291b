import type { Reply } from './command.ts'
import type { StreamEvent } from './event.ts'
import type { Principal } from './principal.ts'

/** What a command becomes. */
export interface Decision {
  readonly events: readonly StreamEvent[]
  readonly reply: Reply
}

/** A command that changes nothing. */
export const NOTHING: Decision = { events: [], reply: {} }

/** Who gives a command: a principal, or the process itself, which needs no key and holds a fence where one is asked for. */
export type Asker = Principal | 'driver'
