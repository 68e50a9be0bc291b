/** A data folder as a killed server leaves it, and what was acknowledged and shown of it before. */
import { cpSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { LogBatch } from '../../src/log/store.ts'
import { json, newSession } from '../../bench/support/http.ts'
import { userId } from '../../src/domain/ids.ts'
import { openSqliteStore } from '../../src/storage/sqlite/store.ts'
import { systemRandom } from '../../src/system/random.ts'
import { startedChild } from '../faults/child.ts'
import { logOf, runsEnded } from '../faults/wire.ts'

/** Sessions of the base. */
const SESSIONS = 24
const RUN_MS = 30_000
const HEAD_BYTES = 32
const FRAME_HEAD_BYTES = 24

/** The base. */
export interface Base {
  readonly folder: string
  /** Sessions, and each one's events as a client was shown them, as text. */
  readonly shown: ReadonlyMap<string, readonly string[]>
  /** All batches as the engine reads them, in the order of their commits. */
  readonly feed: readonly string[]
}

/** Builds it in `folder`: one half stands in the database, the other in the write-ahead log. */
export async function buildBase(folder: string): Promise<Base> {
  const ids: string[] = []
  const shown = new Map<string, readonly string[]>()
  for (const half of [0, 1]) {
    const child = await startedChild({ data: folder, config: { approvals: { mode: 'all' } } })
    try {
      for (let made = 0; made < SESSIONS / 2; made++) {
        const id = await newSession(child.url)
        ids.push(id)
        for (const [index, content] of [`write a.txt: ${id} then read a.txt`, 'todo: one, two'].entries()) {
          await json(`${child.url}/v1/sessions/${id}/messages`, 'POST', { message: { role: 'user', content } })
          await runsEnded(child.url, id, index + 1, RUN_MS)
        }
      }
      if (half === 1)
        for (const id of ids)
          shown.set(
            id,
            (await logOf(child.url, id)).map((event) => JSON.stringify(event)),
          )
    } finally {
      await child.kill(half === 0 ? 'SIGTERM' : 'SIGKILL')
    }
  }
  const copy = `${folder}-truth`
  cpSync(folder, copy, { recursive: true })
  try {
    return { folder, shown, feed: await feedOf(copy) }
  } finally {
    rmSync(copy, { recursive: true, force: true })
  }
}

/** All batches of the log in `folder`, as text. @throws what opening and reading throw */
export async function feedOf(folder: string): Promise<readonly string[]> {
  const store = await openSqliteStore({ folder, random: systemRandom, worker: false })
  try {
    const batches: string[] = []
    for (let after = 0; ;) {
      const page = await store.readFeed(userId('local'), after, 512)
      batches.push(...page.batches.map(textOf))
      if (!page.more && page.next === after) return batches
      after = page.next
    }
  } finally {
    await store.close()
  }
}

function textOf({ stream, from, to, atMs, events }: LogBatch): string {
  return JSON.stringify({ stream, from, to, atMs, events })
}

/** Offsets in a write-ahead log behind which a transaction has ended, by the pages that its last frame counts. */
export function transactionEnds(folder: string): readonly number[] {
  const bytes = readFileSync(join(folder, 'convoke.db-wal'))
  const frame = FRAME_HEAD_BYTES + bytes.readUInt32BE(8)
  const ends: number[] = []
  for (let at = HEAD_BYTES; at + frame <= bytes.length; at += frame) if (bytes.readUInt32BE(at + 4) !== 0) ends.push(at + frame)
  return ends
}
