/** A store to measure, and what to write into it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Principal } from '../../src/domain/principal.ts'
import type { Store, Write } from '../../src/log/store.ts'
import { messageId, runId, sessionId, userId, type RunId, type SessionId } from '../../src/domain/ids.ts'
import { USER_SCOPES } from '../../src/domain/principal.ts'
import { openSqliteStore } from '../../src/storage/sqlite/store.ts'
import { systemRandom } from '../../src/system/random.ts'

/** The text of one token. */
export const TOKEN = 'token '

/** Who owns what is measured: the user of a server without keys. */
export const LOCAL: Principal = { user: userId('local'), scopes: USER_SCOPES }

/** An empty folder below the machine's temporary one. */
export function newFolder(): string {
  return mkdtempSync(join(tmpdir(), 'convoke-bench-'))
}

/** Opens a store in `folder`, lets `work` use it, and closes it; the folder stays. */
export async function withStore<T>(folder: string, work: (store: Store) => Promise<T>): Promise<T> {
  const store = await openSqliteStore({ folder, random: systemRandom })
  try {
    return await work(store)
  } finally {
    await store.close()
  }
}

/** Removes a folder. */
export function remove(folder: string): void {
  rmSync(folder, { recursive: true, force: true })
}

/** A session with a run that this process drives. */
export interface Driven {
  readonly stream: SessionId
  readonly run: RunId
  readonly fence: number
}

/** The write that creates a session. */
export function creation(stream: SessionId, title = 'bench'): Write {
  return { kind: 'decide', stream, command: { type: 'CreateSession', title, agent: 'convoke' }, asker: LOCAL, atMs: Date.now() }
}

/** A new session id. */
export function newStream(): SessionId {
  return sessionId(systemRandom.uuid())
}

/** Makes a session and starts a run in it that nobody drives. */
export async function startDriven(store: Store): Promise<Driven> {
  const stream = newStream()
  const run = runId(systemRandom.uuid())
  const message = { role: 'user', content: 'go' } as const
  const ids = { messageId: messageId(systemRandom.uuid()), newRunId: run }
  const command = { type: 'SendMessage', ...ids, driver: store.driver, message, options: {}, whenBusy: 'reject' } as const
  await store.commit([creation(stream), { kind: 'decide', stream, command, asker: LOCAL, atMs: Date.now() }])
  return { stream, run, fence: (await store.state(stream))?.fence ?? 0 }
}

/** A driver's write of `count` tokens. */
export function tokens({ stream, run, fence }: Driven, count: number): Write {
  const events = Array.from({ length: count }, () => ({ type: 'TextDelta', runId: run, delta: TOKEN }) as const)
  return { kind: 'record', stream, runId: run, fence, events, atMs: Date.now() }
}
