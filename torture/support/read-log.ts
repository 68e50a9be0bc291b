/** Reads logs as they are now. */
import { createClient } from '../../src/client/index.ts'
import type { Seen } from './log.ts'
import { movingFetch, startReader, type ReaderWorld } from './readers.ts'

/** How long a whole log may take to be read, in ms. */
const READ_MS = 30_000

/** The log of a session up to its head, through a plain stream. @throws {Error} where it cannot be read */
export async function readLog(world: ReaderWorld, id: string): Promise<readonly Seen[]> {
  const { position } = await createClient({ url: 'http://server', fetch: movingFetch(world) }).getSession(id)
  const reader = startReader(world, 'raw stream', id, 0)
  const whole = await reader.reached(position, READ_MS)
  await reader.stop()
  if (!whole || reader.found.length > 0) throw new Error(`the log of ${id} cannot be read up to ${position}: ${reader.found.join('; ')}`)
  return reader.events
}
