/** `convoke serve`, its start and its end, and what the other commands say without a server. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { once } from 'node:events'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { newWorld } from '../support/process.ts'
import { ask } from '../support/http.ts'

// Processes are slow to start on a busy machine.
vi.setConfig({ testTimeout: 60_000 })

/** A port that somebody else holds. */
async function takenPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  return (server.address() as AddressInfo).port
}

/** A port where nobody listens. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

describe('convoke serve', () => {
  test('says where it listens when requests can be answered', async () => {
    const program = newWorld().start(['serve', '--port', '0'])
    const [line, url] = await program.shown(/^convoke listening on (http:\/\/127\.0\.0\.1:\d+)\n/)
    expect((await ask(url ?? '', 'GET', '/v1/health')).json).toMatchObject({ status: 'ok' })
    expect(program.stdout).toBe(line)
    expect(program.stderr).toBe('')
  })

  test('says it as one line of JSON under --json, with its process', async () => {
    const server = await newWorld().serve()
    expect(JSON.parse(server.stdout)).toEqual({ listening: server.url, pid: server.pid })
    expect((await ask(server.url, 'GET', '/v1/health')).status).toBe(200)
  })

  test.each(['SIGTERM', 'SIGINT'] as const)('ends with 0 and lets go of its folder at %s', async (signal) => {
    const world = newWorld()
    const server = await world.serve()
    expect(existsSync(join(world.data, 'convoke.pid'))).toBe(true)
    expect(await server.kill(signal)).toMatchObject({ code: 0, signal: null, stderr: '' })
    expect(existsSync(join(world.data, 'convoke.pid'))).toBe(false)
    await expect(fetch(server.url)).rejects.toThrow()
  })

  test('says in one line that its port is taken, ends with 1, and lets go of its folder', async () => {
    const world = newWorld()
    const port = await takenPort()
    expect(await world.run(['serve', '--port', String(port)])).toEqual({
      code: 1,
      signal: null,
      stdout: '',
      stderr: `convoke: port ${port} on 127.0.0.1 is taken: stop what listens there, or choose another port\n`,
    })
    await world.serve()
  })

  test('refuses a folder that another server holds, naming the folder and its process', async () => {
    const world = newWorld()
    const first = await world.serve()
    expect(await world.run(['serve', '--port', '0'])).toEqual({
      code: 1,
      signal: null,
      stdout: '',
      stderr: `convoke: the data folder ${world.data} is in use by process ${first.pid} [store_locked]\n`,
    })
    expect((await ask(first.url, 'GET', '/v1/health')).status).toBe(200)
  })

  test('takes a folder at once that a killed server held', async () => {
    const world = newWorld()
    const first = await world.serve()
    const id = (await ask(first.url, 'POST', '/v1/sessions', { title: 'kept' })).json.id
    expect(await first.kill('SIGKILL')).toMatchObject({ signal: 'SIGKILL' })
    const second = await world.serve()
    expect((await ask(second.url, 'GET', `/v1/sessions/${id}`)).json.session.title).toBe('kept')
    expect(readFileSync(join(world.data, 'convoke.pid'), 'utf8')).toBe(`${second.pid}\n`)
  })

  test('makes its folder for its user alone, below the user’s own by default', async () => {
    const world = newWorld()
    await world.serve({ env: { CONVOKE_DATA: '' } })
    expect(existsSync(join(world.folder, 'home/.local/share/convoke/convoke.db'))).toBe(true)
    expect(existsSync(world.data)).toBe(false)
  })

  test('takes its flags: data, model, host', async () => {
    const world = newWorld()
    const server = await world.serve({ args: ['--data', 'elsewhere', '--model', 'demo/convoke', '--host', 'localhost'] })
    expect(server.url).toMatch(/^http:\/\/localhost:\d+$/)
    expect(existsSync(join(world.cwd, 'elsewhere/convoke.db'))).toBe(true)
    expect((await ask(server.url, 'GET', '/v1/config')).json.default_model).toBe('demo/convoke')
  })
})

describe('a start that cannot be is refused in one line, with 1', () => {
  test.each<[string, readonly string[], Readonly<Record<string, string>>, RegExp]>([
    ['a port that is no number', ['--port', 'http'], {}, /^convoke: configuration key port: .+\n$/],
    ['a bad environment', [], { CONVOKE_LOG: 'loud' }, /^convoke: configuration key log: .+\n$/],
    ['an unknown key', ['--config', 'bad.json'], {}, /^convoke: configuration key limits\.stream: unknown key .*bad\.json.*\n$/],
    ['an open address without keys', ['--host', '0.0.0.0'], {}, /^convoke: host 0\.0\.0\.0 can be reached by others: .*--no-auth.*\n$/],
    ['a folder that is a file', ['--data', 'bad.json'], {}, /^convoke: .+\n$/],
  ])('%s', async (_what, args, env, stderr) => {
    const world = newWorld()
    writeFileSync(join(world.cwd, 'bad.json'), '{"limits": {"stream": 1}}')
    const ended = await world.run(['serve', '--port', '0', ...args], { env })
    expect(ended).toEqual({ code: 1, signal: null, stdout: '', stderr: expect.stringMatching(stderr) as unknown })
    expect(existsSync(world.data)).toBe(false)
  })

  test('an open address without keys serves under --no-auth', async () => {
    const server = await newWorld().serve({ args: ['--host', '0.0.0.0', '--no-auth'] })
    expect((await ask(`http://127.0.0.1:${server.port}`, 'GET', '/v1/config')).status).toBe(200)
  })

  test('a data folder of a newer version', async () => {
    const world = newWorld()
    await (await world.serve()).kill('SIGKILL')
    const { DatabaseSync } = await import('node:sqlite')
    const db = new DatabaseSync(join(world.data, 'convoke.db'))
    db.exec('PRAGMA user_version = 99')
    db.close()
    expect(await world.run(['serve', '--port', '0'])).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(/^convoke: the data folder has format 99, .*use a newer convoke \[store_newer\]\n$/) as unknown,
    })
  })
})

describe('the command line', () => {
  test('says under --help what it can do, with 0', async () => {
    const { code, stdout, stderr } = await newWorld().run(['--help'])
    expect([code, stderr]).toEqual([0, ''])
    for (const command of ['serve', 'chat', 'sessions', 'tail', 'config', 'doctor']) expect(stdout).toMatch(new RegExp(`^  ${command}\\b`, 'm'))
  })

  test.each(['serve', 'chat', 'sessions', 'tail', 'config', 'doctor'])('says under %s --help what that takes', async (command) => {
    const { code, stdout } = await newWorld().run([command, '--help'])
    expect(code).toBe(0)
    expect(stdout).toMatch(new RegExp(`^Usage: convoke ${command}`))
  })

  test('says its version', async () => {
    const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string }
    expect(await newWorld().run(['--version'])).toMatchObject({ code: 0, stdout: `${version}\n` })
  })

  test.each([
    [['nonsense'], /^error: unknown command 'nonsense'\n/],
    [['serve', '--prot', '1'], /^error: unknown option '--prot'\n/],
    [['tail'], /^error: missing required argument 'session'\n/],
    [['sessions', 'assign', '--from', 'a'], /^error: required option '--to <user>' not specified\n/],
  ])('refuses %j with 1 and shows what there is', async (args, message) => {
    const { code, stdout, stderr } = await newWorld().run(args)
    expect([code, stdout]).toEqual([1, ''])
    expect(stderr).toMatch(message)
    expect(stderr).toContain('Usage: convoke')
  })

  test('says without a server that there is none, in one line, with 1', async () => {
    const url = `http://127.0.0.1:${await freePort()}`
    const world = newWorld()
    const [chat, sessions] = await Promise.all([
      world.run(['chat', '--url', url], { input: 'hello\n' }),
      world.run(['sessions'], { env: { CONVOKE_URL: url } }),
    ])
    const stderr = `convoke: no server answers at ${url}: start one with "convoke serve", or give --url\n`
    expect(chat).toEqual({ code: 1, signal: null, stdout: '', stderr })
    expect(sessions).toEqual({ code: 1, signal: null, stdout: '', stderr: `convoke: no server answers at ${url}\n` })
  })
})

describe('convoke config', () => {
  test('shows what counts, and no secret', async () => {
    const world = newWorld({ providers: { mine: { kind: 'openai', apiKey: 'secret-file' } }, port: 4711 })
    const env = { CONVOKE_API_KEYS: 'ann:secret-key', ANTHROPIC_API_KEY: 'secret-provider', OTHER: 'secret-other' }
    const { code, stdout, stderr } = await world.run(['config', '--port', '4712'], { env })
    expect([code, stderr]).toEqual([0, ''])
    expect(stdout).not.toContain('secret')
    expect(JSON.parse(stdout)).toMatchObject({
      port: 4712,
      data: world.data,
      file: join(world.cwd, 'convoke.config.json'),
      access: { keys: [{ user: 'ann', key: '[redacted]' }] },
      providers: { mine: { kind: 'openai', apiKey: '[redacted]' } },
      apiKeys: { anthropic: '[redacted]' },
    })
  })

  test('refuses a bad one, naming the key', async () => {
    expect(await newWorld().run(['config', '--port', 'x'])).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(/^convoke: configuration key port: /) as unknown,
    })
  })
})

describe('convoke doctor', () => {
  test('finds nothing wrong with a fresh machine', async () => {
    const world = newWorld()
    expect(await world.run(['doctor', '--port', '0'])).toEqual({
      code: 0,
      signal: null,
      stdout:
        `ok    Node ${process.versions.node}\n` +
        `ok    data folder ${world.data} can be written\n` +
        'ok    port 0 on 127.0.0.1 is free\n' +
        'ok    default model demo/convoke\n',
      stderr: '',
    })
  })

  test('says which port is taken', async () => {
    const port = await takenPort()
    const { code, stdout } = await newWorld().run(['doctor', '--port', String(port)])
    expect(code).toBe(1)
    expect(stdout).toMatch(new RegExp(`^FAIL {2}port ${port} on 127\\.0\\.0\\.1 cannot be had: .*EADDRINUSE`, 'm'))
  })

  test('says that a folder cannot be made', async () => {
    const world = newWorld()
    writeFileSync(join(world.folder, 'file'), '')
    const { code, stdout } = await world.run(['doctor', '--port', '0', '--data', join(world.folder, 'file/data')])
    expect(code).toBe(1)
    expect(stdout).toMatch(/^FAIL {2}data folder .*file\/data cannot be written: /m)
  })

  test('says which provider does not answer; only the default model’s matters', async () => {
    const baseURL = `http://127.0.0.1:${await freePort()}/v1`
    const providers = { mine: { kind: 'openai-compatible', baseURL } } as const
    const warned = await newWorld({ providers, models: { default: 'demo/convoke' } }).run(['doctor', '--port', '0'])
    expect(warned.code).toBe(0)
    expect(warned.stdout).toMatch(/^warn {2}provider mine /m)
    const failed = await newWorld({ providers, models: { default: 'mine/model' } }).run(['doctor', '--port', '0'])
    expect(failed.code).toBe(1)
    expect(failed.stdout).toMatch(/^FAIL {2}provider mine /m)
    expect(failed.stdout).toMatch(/^ok {4}default model mine\/model$/m)
  })

  test('refuses a bad configuration in one line', async () => {
    const world = newWorld()
    mkdirSync(join(world.cwd, 'folder'))
    expect(await world.run(['doctor', '--config', 'folder'])).toMatchObject({
      code: 1,
      stdout: '',
      stderr: expect.stringMatching(/^convoke: the configuration file .+\n$/) as unknown,
    })
  })
})
