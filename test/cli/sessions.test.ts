/** `convoke sessions`, `convoke sessions assign` and `convoke tail`, against a server in a process of its own. */
import { describe, expect, test, vi } from 'vitest'
import { ask } from '../support/http.ts'
import { newWorld, type ServerProcess, type World } from '../support/process.ts'

// Processes are slow to start on a busy machine.
vi.setConfig({ testTimeout: 60_000 })

async function started(config = {}): Promise<{ world: World; server: ServerProcess; url: string; make: (title: string) => Promise<string> }> {
  const world = newWorld(config)
  const server = await world.serve()
  const make = async (title: string): Promise<string> => (await ask(server.url, 'POST', '/v1/sessions', { title })).json.id
  return { world, server, url: server.url, make }
}

const say = (url: string, id: string, content: string) => ask(url, 'POST', `/v1/sessions/${id}/messages`, { message: { role: 'user', content } })

const lines = (text: string) => text.split('\n').slice(0, -1)

describe('convoke sessions', () => {
  test('lists the last changed first: id, time, state, title', async () => {
    const { world, url, make } = await started()
    expect((await world.run(['sessions', '--url', url])).stdout).toBe('')
    const [quiet, waiting] = [await make('a quiet one'), await make('one that waits')]
    await say(url, waiting, 'run sleep 30')
    await expect.poll(async () => (await ask(url, 'GET', `/v1/sessions/${waiting}`)).json.session.run_status.waiting, { timeout: 20_000 }).toBe(true)
    const { code, stdout, stderr } = await world.run(['sessions', '--url', url])
    expect([code, stderr]).toEqual([0, ''])
    expect(lines(stdout)).toEqual([
      expect.stringMatching(new RegExp(`^${waiting}  \\d{4}-\\d\\d-\\d\\dT[\\d:.]+Z  waiting   one that waits$`)),
      expect.stringMatching(new RegExp(`^${quiet}  \\d{4}-\\d\\d-\\d\\dT[\\d:.]+Z  idle      a quiet one$`)),
    ])
    const json = lines((await world.run(['sessions', '--json', '--url', url])).stdout).map((line) => JSON.parse(line) as { id: string; title: string })
    expect(json.map(({ id, title }) => [id, title])).toEqual([
      [waiting, 'one that waits'],
      [quiet, 'a quiet one'],
    ])
  })

  test('shows control characters of a title, in one row', async () => {
    const { world, url, make } = await started()
    await make('w\u001b[31mred\nnew line')
    const { stdout } = await world.run(['sessions', '--url', url])
    expect(stdout).toMatch(/ {2}w\\u001b\[31mred new line\n$/)
  })

  test('ends without a word when its reader has enough', async () => {
    const { world, url, make } = await started()
    await Promise.all(Array.from({ length: 300 }, (_, index) => make(`session ${index} ${'x'.repeat(900)}`)))
    const list = world.start(['sessions', '--url', url, '--limit', '300'])
    list.closeOutput()
    expect(await list.ended).toMatchObject({ code: 0, stderr: '' })
  })

  test('lists fifty, or as many as --limit says, over any number of pages', async () => {
    const { world, url, make } = await started()
    const made = await Promise.all(Array.from({ length: 120 }, (_, index) => make(`session ${index}`)))
    const ids = async (...args: readonly string[]) => lines((await world.run(['sessions', '--url', url, ...args])).stdout).map((line) => line.slice(0, 36))
    expect(await ids()).toHaveLength(50)
    expect(await ids('--limit', '2')).toHaveLength(2)
    expect(await ids('--limit', '101')).toHaveLength(101)
    expect(new Set(await ids('--limit', '500'))).toEqual(new Set(made))
  })
})

describe('convoke sessions assign', () => {
  test('makes no log where there is none', async () => {
    const world = newWorld()
    const { code, stderr } = await world.run(['sessions', 'assign', '--from', 'ann', '--to', 'bob', '--data', `${world.data}-elsewhere`])
    expect([code, stderr]).toEqual([1, `convoke: there is no log in ${world.data}-elsewhere\n`])
  })

  const keys = [
    { user: 'ann', key: 'key-of-ann' },
    { user: 'bob', key: 'key-of-bob' },
  ]
  const titles = (text: string) => lines(text).map((line) => line.slice(74))

  test('hands over what one user owns, while the server is stopped', async () => {
    const { world, server, url } = await started({ access: { keys } })
    for (const [key, title] of [
      ['key-of-ann', 'one'],
      ['key-of-ann', 'two'],
      ['key-of-bob', 'three'],
    ] as const) {
      await ask(url, 'POST', '/v1/sessions', { title }, { authorization: `Bearer ${key}` })
    }
    const assign = ['sessions', 'assign', '--from', 'ann', '--to', 'bob']
    expect(await world.run(assign)).toMatchObject({
      code: 1,
      stdout: '',
      stderr: `convoke: the data folder ${world.data} is in use by process ${server.pid}\n`,
    })
    await server.kill('SIGKILL')
    expect(await world.run(assign)).toEqual({ code: 0, signal: null, stdout: '2 sessions of ann are bob’s now\n', stderr: '' })
    expect(await world.run(assign)).toMatchObject({ code: 0, stdout: '0 sessions of ann are bob’s now\n' })
    const again = await world.serve()
    const listed = async (key: string) => (await world.run(['sessions'], { env: { CONVOKE_URL: again.url, CONVOKE_API_KEY: key } })).stdout
    expect(titles(await listed('key-of-bob')).toSorted()).toEqual(['one', 'three', 'two'])
    expect(await listed('key-of-ann')).toBe('')
  })

  test('hands over more than one commit holds, and nothing to oneself', async () => {
    const { world, server, make } = await started()
    await Promise.all(Array.from({ length: 205 }, (_, index) => make(`session ${index}`)))
    await server.kill('SIGKILL')
    expect((await world.run(['sessions', 'assign', '--from', 'local', '--to', 'local'])).stdout).toBe('0 sessions of local are local’s now\n')
    expect((await world.run(['sessions', 'assign', '--from', 'local', '--to', 'ann'])).stdout).toBe('205 sessions of local are ann’s now\n')
  })
})

describe('convoke tail', () => {
  const shown = 'There is no request for a tool in this message, so I echo it.\nThis is the demo model of Convoke, not a real one. You said: hello\n'

  test('shows a session from a position on, as text and as JSON, to the end of a run', async () => {
    const { world, url, make } = await started()
    const id = await make('tailed')
    await say(url, id, 'hello')
    const tail = (...args: readonly string[]) => world.run(['tail', id, '--url', url, '--until-end', ...args])
    expect(await tail('--from', '1')).toEqual({ code: 0, signal: null, stdout: shown, stderr: '' })
    const all = lines((await tail('--from', '1', '--json')).stdout).map((line) => JSON.parse(line) as { position: number; name: string })
    expect(all.map(({ position }) => position)).toEqual(all.map((_, index) => index + 1))
    expect([all[0]?.name, all.at(-1)?.name]).toEqual(['session_created', 'run_completed'])
    const some = lines((await tail('--from', '7', '--json')).stdout).map((line) => JSON.parse(line) as { position: number; name: string })
    expect(some).toEqual(all.slice(6))
  })

  test('waits for what comes, and ends at Ctrl-C with 0', async () => {
    const { world, url, make } = await started()
    const id = await make('tailed')
    const tail = world.start(['tail', id, '--url', url, '--from', '1', '--json'])
    await tail.shown(/session_created/)
    await say(url, id, 'hello')
    await tail.shown(/run_completed/)
    expect(await tail.kill('SIGINT')).toMatchObject({ code: 0, stderr: '' })
  })

  test('without --from shows what comes from now on', async () => {
    const { world, url, make } = await started({ models: { demoPaceMs: 5 } })
    const id = await make('tailed')
    await say(url, id, 'count to 1000')
    const tail = world.start(['tail', id, '--url', url, '--json'])
    const [, position] = await tail.shown(/"position":(\d+)/)
    expect(Number(position)).toBeGreaterThan(1)
    await tail.kill('SIGINT')
  })

  test('of a session that is not there ends with 1 and one line', async () => {
    const { world, url } = await started()
    for (const id of ['00000000-0000-7000-8000-000000000000', 'abc']) {
      const ended = await world.run(['tail', '--url', url, id])
      expect(ended).toEqual({ code: 1, signal: null, stdout: '', stderr: expect.stringMatching(/^convoke: .+\n$/) as unknown })
    }
  })
})
