/** `convoke chat` through pipes and in a terminal, against a server in a process of its own. */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test, vi } from 'vitest'
import { ask } from '../support/http.ts'
import { newWorld, type Program, type ServerProcess, type World } from '../support/process.ts'

// Processes are slow to start on a busy machine.
vi.setConfig({ testTimeout: 60_000 })

const echo = (text: string) =>
  `There is no request for a tool in this message, so I echo it.\nThis is the demo model of Convoke, not a real one. You said: ${text}\n`
const numbers = (to: number) => Array.from({ length: to }, (_, index) => index + 1).join(' ')

async function started(config = {}): Promise<{ world: World; server: ServerProcess; url: string }> {
  const world = newWorld(config)
  const server = await world.serve()
  return { world, server, url: server.url }
}

/** The id of the only session. */
async function onlySession(url: string): Promise<string> {
  const { sessions } = (await ask(url, 'GET', '/v1/sessions')).json
  expect(sessions).toHaveLength(1)
  return sessions[0].id
}

describe('a chat through a pipe', () => {
  test('answers one line, and ends with its input', async () => {
    const { world, url } = await started()
    expect(await world.run(['chat', '--url', url], { input: 'hello you\n' })).toEqual({ code: 0, signal: null, stdout: echo('hello you'), stderr: '' })
    const { session } = (await ask(url, 'GET', `/v1/sessions/${await onlySession(url)}`)).json
    expect(session).toMatchObject({ title: 'chat', cwd: world.cwd, run_status: { state: 'idle' } })
  })

  test('answers several lines one after the other, empty ones not, the last without its end too', async () => {
    const { world, url } = await started()
    const { code, stdout } = await world.run(['chat', '--url', url], { input: 'one\n\n   \ntwo\ncount to 3' })
    expect(code).toBe(0)
    expect(stdout).toBe(`${echo('one')}${echo('two')}I count.\n1 2 3\n`)
    expect((await ask(url, 'GET', `/v1/sessions/${await onlySession(url)}/messages`)).json.total).toBe(6)
  })

  test('without input makes nothing up', async () => {
    const { world, url } = await started()
    expect(await world.run(['chat', '--url', url])).toEqual({ code: 0, signal: null, stdout: '', stderr: '' })
  })

  test('continues a session, and shows only what is new', async () => {
    const { world, url } = await started()
    await world.run(['chat', '--url', url], { input: 'first\n' })
    const id = await onlySession(url)
    expect((await world.run(['chat', id], { input: 'second\n', env: { CONVOKE_URL: url } })).stdout).toBe(echo('second'))
    expect(await onlySession(url)).toBe(id)
  })

  test('refuses what nobody can be asked about, says so, and nothing is done', async () => {
    const { world, url } = await started()
    const { code, stdout, stderr } = await world.run(['chat', '--url', url], { input: 'run touch made\n' })
    expect(code).toBe(0)
    expect(stderr).toBe('convoke: refused bash: touch made (nobody to ask; --yes allows everything)\n')
    expect(stdout).toContain('→ bash: touch made\n✗ bash: ')
    expect(existsSync(join(world.cwd, 'made'))).toBe(false)
  })

  test('allows everything under --yes, in the folder it was started in', async () => {
    const { world, url } = await started()
    const { code, stdout, stderr } = await world.run(['chat', '--yes', '--url', url], { input: 'run pwd and write made.txt: text\n' })
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).toContain(`✓ ${world.cwd}\n`)
    expect(readFileSync(join(world.cwd, 'made.txt'), 'utf8')).toBe('text\n')
  })

  test('does not wait for ever for a run that asks whether it goes on: it says so, and --yes goes on', async () => {
    const { world, server, url } = await started({ models: { demoPaceMs: 5 } })
    const { id } = (await ask(url, 'POST', '/v1/sessions', { title: 't', on_interrupt: 'ask' })).json
    await ask(url, 'POST', `/v1/sessions/${id}/messages`, { message: { role: 'user', content: `count to 400` } })
    const statusAt = async (at: string) => (await ask(at, 'GET', `/v1/sessions/${id}`)).json
    await expect.poll(async () => (await statusAt(url)).position, { timeout: 20_000 }).toBeGreaterThan(8)
    await server.kill('SIGKILL')
    const again = await world.serve()
    await expect.poll(async () => (await statusAt(again.url)).session.run_status, { timeout: 20_000 }).toMatchObject({ resume: 'asked' })
    const refused = await world.run(['chat', id, '--url', again.url], { input: 'next\n' })
    expect(refused).toMatchObject({ code: 1, stderr: 'convoke: the run was interrupted and asks whether it goes on (nobody to ask; --yes goes on)\n' })
    expect((await statusAt(again.url)).session.run_status).toMatchObject({ resume: 'asked' })
    const gone = await world.run(['chat', id, '--yes', '--url', again.url], { input: 'last\n' })
    expect(gone).toMatchObject({ code: 0, stdout: expect.stringContaining(' 399 400\n'), stderr: '' })
    expect((await statusAt(again.url)).session.run_status).toEqual({ state: 'idle' })
  })

  test('with a session, a model or a folder that is not there ends with 1 and one line', async () => {
    const { world, url } = await started()
    const wrong = [['00000000-0000-7000-8000-000000000000'], ['abc'], ['--model', 'nobody/none'], ['--cwd', '/no/such/folder']]
    const ended = await Promise.all(wrong.map((args) => world.run(['chat', '--url', url, ...args], { input: 'hello\n' })))
    const expected = { code: 1, signal: null, stdout: '', stderr: expect.stringMatching(/^convoke: .+\n$/) as unknown }
    expect(ended).toEqual([expected, expected, expected, expected])
    expect((await ask(url, 'GET', '/v1/sessions')).json.total).toBe(0)
  })

  test('with a key speaks as its user, and without one is refused', async () => {
    const { world, url } = await started({ access: { keys: [{ user: 'ann', key: 'a-long-key' }] } })
    const env = { CONVOKE_URL: url, CONVOKE_API_KEY: 'a-long-key' }
    expect(await world.run(['chat'], { input: 'hello\n', env })).toMatchObject({ code: 0, stdout: echo('hello') })
    expect(await world.run(['chat'], { input: 'hello\n', env: { CONVOKE_URL: url } })).toMatchObject({ code: 1, stdout: '', stderr: 'convoke: Unauthorized\n' })
  })

  test('shows each word of an answer once, though its server is killed in the middle and started again', async () => {
    const { world, server, url } = await started({ models: { demoPaceMs: 10 } })
    const chat = world.start(['chat', '--url', url], { input: 'count to 100\n' })
    await chat.shown(/ 20 /)
    await server.kill('SIGKILL')
    await world.serve({ port: server.port })
    const { code, stdout, stderr } = await chat.ended
    expect(code).toBe(0)
    expect(stderr).toContain('[the connection broke; trying again]\n')
    const [before = '', ...after] = stdout.split('… the attempt was interrupted; trying again\n')
    const whole = `I count.\n${numbers(100)}\n`
    expect(after).toEqual([whole])
    expect(whole.startsWith(before.trimEnd())).toBe(true)
  })

  test('says its line once, though its server is gone when it is said', async () => {
    const { world, server, url } = await started()
    const chat = world.start(['chat', '--url', url])
    chat.write('one\n')
    await chat.shown(/You said: one/)
    // The words come before their run's end: only what has ended is not said again.
    const id = await onlySession(url)
    await expect.poll(async () => (await ask(url, 'GET', `/v1/sessions/${id}`)).json.session.run_status.state, { timeout: 20_000 }).toBe('idle')
    await server.kill('SIGKILL')
    chat.write('two\n')
    chat.close()
    await chat.shown(/trying again/)
    const again = await world.serve({ port: server.port })
    expect(await chat.ended).toMatchObject({ code: 0, stdout: echo('one') + echo('two') })
    const { messages } = (await ask(again.url, 'GET', `/v1/sessions/${await onlySession(again.url)}/messages`)).json
    expect(messages.map((message: { role: string }) => message.role)).toEqual(['user', 'assistant', 'user', 'assistant'])
  })
})

const CTRL_C = '\u0003'
const CTRL_D = '\u0004'

describe.skipIf(!existsSync('/usr/bin/script'))('a chat in a terminal', () => {
  async function inTerminal(config = {}): Promise<{ world: World; server: ServerProcess; chat: Program; id: string }> {
    const { world, server, url } = await started(config)
    const chat = world.terminal(['chat', '--url', url])
    const [, id = ''] = await chat.shown(/session ([\w-]{36})\r\n/)
    await chat.shown(/> /)
    return { world, server, chat, id }
  }

  test('prompts, answers, prompts again, and ends with its input', async () => {
    const { chat } = await inTerminal()
    chat.write('hello\r')
    await chat.shown(/You said: hello\r\n[^]*> /)
    chat.write(CTRL_D)
    expect(await chat.ended).toMatchObject({ code: 0 })
  })

  test('shows the exact command, and runs it after y', async () => {
    const { world, chat } = await inTerminal()
    chat.write('run echo "a  b" > made; cat made\r')
    await chat.shown(/allow bash: echo "a {2}b" > made; cat made \? \[y\/N\] /)
    expect(existsSync(join(world.cwd, 'made'))).toBe(false)
    chat.write('y\r')
    await chat.shown(/✓ a {2}b/)
    await chat.shown(/Done\. bash answered:[^]*> /)
    chat.write(CTRL_D)
    expect(await chat.ended).toMatchObject({ code: 0 })
  })

  test.each(['n', '', 'yes please'])('refuses after %j', async (answer) => {
    const { world, chat } = await inTerminal()
    chat.write('run touch made\r')
    await chat.shown(/allow bash: touch made \? \[y\/N\] /)
    chat.write(`${answer}\r`)
    await chat.shown(/✗ bash: [^]*> /)
    expect(existsSync(join(world.cwd, 'made'))).toBe(false)
  })

  test('cancels the run at Ctrl-C, and goes on', async () => {
    const { chat, server, id } = await inTerminal({ models: { demoPaceMs: 20 } })
    chat.write('count to 5000\r')
    await chat.shown(/1 2 3/)
    chat.write(CTRL_C)
    await chat.shown(/\[cancelling; Ctrl-C again leaves\]/)
    await chat.shown(/\[cancelled\][^]*> /)
    expect((await ask(server.url, 'GET', `/v1/sessions/${id}`)).json.session.run_status).toEqual({ state: 'idle' })
    chat.write('hello\r')
    await chat.shown(/You said: hello/)
  })

  test('cancels the run at Ctrl-C while it asks, and takes the question back', async () => {
    const { chat } = await inTerminal()
    chat.write('run touch made\r')
    await chat.shown(/\[y\/N\] /)
    chat.write(CTRL_C)
    await chat.shown(/\[cancelled\][^]*> /)
    chat.write('hello\r')
    await chat.shown(/You said: hello/)
  })

  test('leaves at Ctrl-D while it asks; the question stays open', async () => {
    const { chat, server, id } = await inTerminal()
    chat.write('run touch made\r')
    await chat.shown(/\[y\/N\] /)
    chat.write(CTRL_D)
    expect(await chat.ended).toMatchObject({ code: 0 })
    expect((await ask(server.url, 'GET', `/v1/sessions/${id}/tools/pending`)).json.tool_calls).toHaveLength(1)
  })

  test('takes a question back that somebody else has answered', async () => {
    const { chat, server, id } = await inTerminal()
    chat.write('run echo from afar\r')
    await chat.shown(/\[y\/N\] /)
    const { run_id, tool_calls } = (await ask(server.url, 'GET', `/v1/sessions/${id}/tools/pending`)).json
    await ask(server.url, 'POST', `/v1/sessions/${id}/tools/${tool_calls[0].id}/decision`, { run_id, action: 'accept' })
    await chat.shown(/✓ from afar[^]*Done\.[^]*> /)
    chat.write('hello\r')
    await chat.shown(/You said: hello/)
  })

  test('leaves at a second Ctrl-C, without waiting for a server that does not answer', async () => {
    const { chat, server } = await inTerminal()
    chat.write('run sleep 30\r')
    await chat.shown(/\[y\/N\] /)
    server.signal('SIGSTOP')
    chat.write(CTRL_C)
    await chat.shown(/\[cancelling; Ctrl-C again leaves\]/)
    chat.write(CTRL_C)
    expect(await chat.ended).toMatchObject({ code: 0 })
  })

  test('leaves at the first Ctrl-C when nothing runs', async () => {
    const { chat } = await inTerminal()
    chat.write(CTRL_C)
    expect(await chat.ended).toMatchObject({ code: 0 })
  })
})
