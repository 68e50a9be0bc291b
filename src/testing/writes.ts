/** The writes that tests of logs make: sessions, runs, tokens. */
import type { SessionCommand } from '../domain/command.ts'
import type { SessionId } from '../domain/ids.ts'
import type { Principal } from '../domain/principal.ts'
import type { Write } from '../log/store.ts'
import { messageId, runId, userId } from '../domain/ids.ts'
import { USER_SCOPES } from '../domain/principal.ts'

/** The user that writes are made for, unless another is named. */
export const ALICE: Principal = { user: userId('alice'), scopes: USER_SCOPES }
/** Somebody else. */
export const BOB: Principal = { user: userId('bob'), scopes: USER_SCOPES }

let ids = 0
/** A fresh UUID, in growing order. */
export function freshId(): string {
  const hex = (++ids).toString(16).padStart(12, '0')
  return `01900000-0000-7000-8000-${hex}`
}

/** The write of a command. */
export function decideWrite(stream: SessionId, command: SessionCommand, asker: Principal | 'driver' = ALICE, extra: object = {}): Write {
  return { kind: 'decide', stream, command, asker, atMs: 1000, ...extra }
}

/** The write that creates a session. */
export function create(stream: SessionId, title = 'a title', asker: Principal = ALICE, extra: object = {}): Write {
  return decideWrite(stream, { type: 'CreateSession', title, agent: 'convoke' }, asker, extra)
}

/** The write that starts a run. */
export function send(stream: SessionId, run: string, driver = 1, text = 'hello'): Write {
  const message = { role: 'user', content: text } as const
  return decideWrite(stream, { type: 'SendMessage', messageId: messageId(freshId()), newRunId: runId(run), driver, message, options: {}, whenBusy: 'reject' })
}

/** The write of a driver. */
export function deltas(stream: SessionId, run: string, fence: number, count: number): Write {
  const events = Array.from({ length: count }, (_, index) => ({ type: 'TextDelta', runId: runId(run), delta: `word ${index} ü ` }) as const)
  return { kind: 'record', stream, runId: runId(run), fence, events, atMs: 1000 }
}

/** The write that ends a run. */
export function finish(stream: SessionId, run: string, fence: number): Write {
  const outcome = { kind: 'completed', stopReason: 'completed' } as const
  const totals = { totalTurns: 1, totalUsage: { inputTokens: 1, outputTokens: 1, totalTokens: 2 } }
  return decideWrite(stream, { type: 'FinishRun', runId: runId(run), fence, closing: [], outcome, ...totals }, 'driver')
}

/** The write that forks `origin` at a position, as `stream`. */
export function fork(stream: SessionId, origin: SessionId, at: number, extra: object = {}, asker: Principal = ALICE): Write {
  return decideWrite(stream, { type: 'ForkSession', origin, at }, asker, extra)
}

/** The write that erases a session. */
export function erase(stream: SessionId, asker: Principal | 'driver' = ALICE, extra: object = {}): Write {
  return { kind: 'erase', stream, asker, atMs: 1000, ...extra }
}
