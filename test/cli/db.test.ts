/** `convoke db`, by processes of its own, beside a server and without one. */
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { describe, expect, test, vi } from 'vitest'
import { ask } from '../support/http.ts'
import { newWorld, type ServerProcess, type World } from '../support/process.ts'

// Processes are slow to start on a busy machine.
vi.setConfig({ testTimeout: 60_000 })

const say = (content: string, extra = {}) => ({ message: { role: 'user', content }, ...extra })

/** A server with one session that has answered once, and one that waits for a person. */
async function served(): Promise<{ readonly world: World; readonly server: ServerProcess; readonly ids: readonly [string, string] }> {
  const world = newWorld()
  const server = await world.serve()
  const make = async (title: string): Promise<string> => (await ask(server.url, 'POST', '/v1/sessions', { title })).json.id
  const ids = [await make('that has answered'), await make('that waits')] as const
  await ask(server.url, 'POST', `/v1/sessions/${ids[0]}/messages`, say('hello there'))
  await ask(server.url, 'POST', `/v1/sessions/${ids[1]}/messages`, say('run echo one'))
  const statusOf = async (id: string) => (await ask(server.url, 'GET', `/v1/sessions/${id}`)).json.session.run_status
  await expect.poll(() => statusOf(ids[0]), { timeout: 20_000 }).toMatchObject({ state: 'idle' })
  await expect.poll(() => statusOf(ids[1]), { timeout: 20_000 }).toMatchObject({ waiting: true })
  return { world, server, ids }
}

function change(world: World, sql: string): void {
  const db = new DatabaseSync(join(world.data, 'convoke.db'))
  db.exec(sql)
  db.close()
}

describe('convoke db check', () => {
  test('finds nothing in a sound log, beside a server and after it', async () => {
    const { world, server } = await served()
    const beside = await world.run(['db', 'check'])
    expect(beside).toMatchObject({ code: 0, stderr: '' })
    expect(beside.stdout).toMatch(/^ok {4}the log is sound: 2 sessions, \d+ events in \d+ batches, 0 idempotency keys\n$/)
    await server.kill('SIGKILL')
    expect(await world.run(['db', 'check', '--data', world.data])).toMatchObject({ code: 0, stdout: beside.stdout, stderr: '' })
  })

  test('names what it finds, one line each, and fails', async () => {
    const { world, server, ids } = await served()
    await server.kill('SIGTERM')
    change(world, `UPDATE batch SET body = '[' WHERE feed = 1; UPDATE session_count SET n = 5`)
    const { code, stdout } = await world.run(['db', 'check'])
    expect([code, stdout.split('\n')]).toEqual([
      1,
      [
        `FAIL  session ${ids[0]}: position 1 is damaged`,
        'FAIL  the count of active sessions of local is off by 3',
        expect.stringMatching(/^FAIL {2}findings: 2, damaged events: 1: 2 sessions, /),
        '',
      ],
    ])
    const json = (await world.run(['db', 'check', '--json'])).stdout.trimEnd().split('\n')
    expect(json.map((line) => JSON.parse(line) as object)).toMatchObject([
      { finding: { session: ids[0] } },
      { finding: {} },
      { totals: { findings: 2, damaged: 1 } },
    ])
  })

  test('makes no log where there is none', async () => {
    const world = newWorld()
    expect(await world.run(['db', 'check'])).toMatchObject({ code: 1, stderr: `convoke: there is no log in ${world.data}\n` })
  })
})
