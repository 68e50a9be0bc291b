/** Numbers on the command line are checked before anything is asked of a server. */
import { expect, test } from 'vitest'
import { listSessions } from './sessions.ts'
import { tail } from './tail.ts'

const nowhere = 'http://127.0.0.1:9'

test.each(['0', 'many', '1.5', '-3', '1e30'])('sessions --limit %s is refused', async (limit) => {
  await expect(listSessions({ url: nowhere, limit })).rejects.toThrow('--limit is a number of sessions: a whole number from 1 on')
})

test.each(['x', '1.5', '1e30', 'Infinity'])('tail --from %s is refused, and nothing waits for Ctrl-C', async (from) => {
  const listening = process.listenerCount('SIGINT')
  await expect(tail('a session', { url: nowhere, from })).rejects.toThrow('--from is a position: a whole number')
  expect(process.listenerCount('SIGINT')).toBe(listening)
})
