/** `convoke sessions` and `convoke sessions assign`. */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createClient } from '../client/index.ts'
import { clientSettings, loadConfig } from '../config.ts'
import { handOver } from '../offline.ts'
import { clean } from './render.ts'

/** Rows that one request of a list asks for. */
const PAGE = 100

/** Lists the sessions of the server at `url`. */
export async function listSessions(flags: { readonly url?: string; readonly limit?: string; readonly json?: boolean }): Promise<number> {
  const { url, key } = clientSettings(process.env)
  const client = createClient({ url: flags.url ?? url, key })
  const limit = Number(flags.limit ?? 50)
  if (!Number.isSafeInteger(limit) || limit < 1) throw new Error('--limit is a number of sessions: a whole number from 1 on')
  let cursor: string | undefined
  for (let left = limit; left > 0;) {
    const page = await client.listSessions({ limit: Math.min(left, PAGE), ...(cursor === undefined ? {} : { cursor }) })
    for (const session of page.sessions) {
      const state = session.run_status.waiting === true ? 'waiting' : session.run_status.state
      const row =
        flags.json === true ? JSON.stringify(session) : [session.id, session.updated_at, state.padEnd(8), clean(session.title).replaceAll('\n', ' ')].join('  ')
      process.stdout.write(`${row}\n`)
    }
    left -= page.sessions.length
    if (page.next_cursor === null) break
    cursor = page.next_cursor
  }
  return 0
}

/** Hands over what one user owns to another, on the data folder itself; no server may hold it. */
export async function assignSessions(flags: { readonly from: string; readonly to: string; readonly data?: string; readonly config?: string }): Promise<number> {
  const values = flags.data === undefined ? {} : { data: flags.data }
  const config = await loadConfig({ env: process.env, cwd: process.cwd(), file: flags.config, flags: values })
  // A folder with a typing error must not become a new log.
  if (!existsSync(join(config.data, 'convoke.db'))) throw new Error(`there is no log in ${config.data}`)
  const count = await handOver(config.data, flags.from, flags.to)
  process.stdout.write(`${count} sessions of ${flags.from} are ${flags.to}’s now\n`)
  return 0
}
