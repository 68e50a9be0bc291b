import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import type { ConfigInput } from './config-schema.ts'
import { clientSettings, isLoopback, loadConfig, redact, type ConfigSources } from './config.ts'

let cwd: string
let home: string
beforeEach(() => {
  const folder = mkdtempSync(join(tmpdir(), 'convoke-config-'))
  cwd = join(folder, 'work')
  home = join(folder, 'home')
  mkdirSync(cwd)
  mkdirSync(home)
  onTestFinished(() => rmSync(folder, { recursive: true }))
})

interface Given {
  readonly files?: Readonly<Record<string, string>>
  readonly env?: Readonly<Record<string, string>>
  readonly flags?: ConfigInput
  readonly file?: string
  readonly searchFile?: boolean
}

/** Loads with files below the working folder, or with `~/` below the home folder. */
function load({ files = {}, env = {}, flags = {}, ...rest }: Given = {}) {
  for (const [name, text] of Object.entries(files)) {
    const path = name.startsWith('~/') ? join(home, name.slice(2)) : join(cwd, name)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, text)
  }
  return loadConfig({ env: { HOME: home, ...env }, cwd, flags, ...rest } satisfies ConfigSources)
}

const invalid = (message: string | RegExp) => ({ code: 'config_invalid', message: expect.stringMatching(message) as unknown })

describe('without anything said', () => {
  test('the defaults are safe and documented', async () => {
    const { environment, ...config } = await load()
    expect(config).toEqual({
      data: join(home, '.local/share/convoke'),
      host: '127.0.0.1',
      port: 4096,
      listeners: [],
      agents: [],
      tools: [],
      noAuth: false,
      access: { keys: [] },
      approvals: { mode: 'custom', rules: {}, default: 'ask' },
      limits: { requestMs: 30_000, bodyBytes: 2_097_152, streams: 10_000, modelIdleMs: 300_000 },
      models: { aliases: {}, catalog: {}, discover: true },
      providers: {},
      workspace: { roots: [] },
      retention: { deltaHours: 1 },
      shutdownMs: 10_000,
      log: 'warn',
      apiKeys: {},
    })
    expect(environment).toEqual({ HOME: home })
  })

  test('XDG_DATA_HOME moves the data folder; a relative one is meant from the working folder', async () => {
    expect((await load({ env: { XDG_DATA_HOME: '/srv/data' } })).data).toBe('/srv/data/convoke')
    expect((await load({ flags: { data: 'here' } })).data).toBe(join(cwd, 'here'))
  })
})

describe('what is said later wins', () => {
  const files = { 'convoke.config.json': '{"port": 1001, "host": "127.0.0.1", "models": {"default": "a/file", "discover": false}}' }
  const env = { CONVOKE_PORT: '1002', CONVOKE_MODEL: 'a/env' }

  test('a file over the defaults', async () => {
    expect(await load({ files })).toMatchObject({ port: 1001, models: { default: 'a/file', discover: false }, file: join(cwd, 'convoke.config.json') })
  })

  test('the environment over a file, key by key', async () => {
    expect(await load({ files, env })).toMatchObject({ port: 1002, models: { default: 'a/env', discover: false } })
  })

  test('flags over the environment, key by key; what is undefined says nothing', async () => {
    const flags = { port: '1003', data: undefined, models: { default: 'a/flag' } } as unknown as ConfigInput
    expect(await load({ files, env, flags })).toMatchObject({ port: 1003, models: { default: 'a/flag', discover: false } })
  })

  test('a list as a whole', async () => {
    const config = await load({
      files: { 'convoke.config.json': '{"access": {"keys": [{"user": "ann", "key": "11111111"}, {"user": "bob", "key": "22222222"}]}}' },
      env: { CONVOKE_API_KEYS: 'cat:33333333' },
    })
    expect(config.access.keys).toEqual([{ user: 'cat', key: '33333333' }])
  })
})

describe('a configuration file', () => {
  test.each([
    ['convoke.config.ts', 'const port: number = 2001\nexport default { port }'],
    ['convoke.config.js', 'export default { port: 2001 }'],
    ['convoke.config.json', '{"port": 2001}'],
  ])('may be %s', async (name, text) => {
    expect(await load({ files: { [name]: text } })).toMatchObject({ port: 2001, file: join(cwd, name) })
  })

  test('is looked for here first, then in the user’s folder; ts before js before json', async () => {
    const names = ['convoke.config.ts', 'convoke.config.js', 'convoke.config.json']
    const places = [...names, ...names.map((name) => `~/.config/convoke/${name}`)]
    const text = (name: string, port: number) => (name.endsWith('.json') ? `{"port": ${port}}` : `export default { port: ${port} }`)
    const files = Object.fromEntries(places.map((name, index) => [name, text(name, index + 1)]))
    const ports: number[] = []
    for (const name of places) {
      ports.push((await load({ files })).port)
      const path = name.startsWith('~/') ? join(home, name.slice(2)) : join(cwd, name)
      rmSync(path)
      delete files[name]
    }
    expect(ports).toEqual([1, 2, 3, 4, 5, 6])
    expect((await load()).port).toBe(4096)
  })

  test('may stand in XDG_CONFIG_HOME', async () => {
    const xdg = join(home, 'elsewhere')
    expect((await load({ files: { '~/elsewhere/convoke/convoke.config.json': '{"port": 9}' }, env: { XDG_CONFIG_HOME: xdg } })).port).toBe(9)
  })

  test('that is named is the only one, by flag before CONVOKE_CONFIG', async () => {
    const files = { 'convoke.config.json': '{"port": 1, "log": "debug"}', 'a.json': '{"port": 2}', 'b.json': '{"port": 3}' }
    expect(await load({ files, env: { CONVOKE_CONFIG: 'a.json' } })).toMatchObject({ port: 2, log: 'warn' })
    expect(await load({ files, env: { CONVOKE_CONFIG: 'a.json' }, file: 'b.json' })).toMatchObject({ port: 3, file: join(cwd, 'b.json') })
  })

  test('is not looked for where nobody asked for it, but a named one is read', async () => {
    const files = { 'convoke.config.json': '{"port": 1}' }
    expect(await load({ files, searchFile: false })).toMatchObject({ port: 4096 })
    expect(await load({ files, searchFile: false, file: 'convoke.config.json' })).toMatchObject({ port: 1 })
  })

  test.each<[string, Given]>([
    ['named by a flag', { file: 'none.json' }],
    ['named by CONVOKE_CONFIG', { env: { CONVOKE_CONFIG: 'none.json' } }],
  ])('%s must exist', async (_how, given) => {
    await expect(load(given)).rejects.toMatchObject(invalid(`there is no configuration file ${join('.*', 'none.json')}`))
  })

  test.each([
    ['x.json', '{"port": '],
    ['x.json', '[1]'],
    ['x.json', 'null'],
    ['x.json', '"text"'],
    ['x.js', 'export default'],
    ['x.js', 'throw new Error("mine")'],
    ['x.js', 'export const port = 1'],
  ])('%s that holds %s is refused, naming the file', async (name, text) => {
    await expect(load({ files: { [name]: text }, file: name })).rejects.toMatchObject(invalid(`configuration file .*${name} cannot be read: .+`))
  })
})

describe('the environment', () => {
  test.each<[string, string, object]>([
    ['CONVOKE_DATA', '/srv/x', { data: '/srv/x' }],
    ['CONVOKE_HOST', 'localhost', { host: 'localhost' }],
    ['CONVOKE_PORT', '0', { port: 0 }],
    ['CONVOKE_LOG', 'debug', { log: 'debug' }],
    ['CONVOKE_SHUTDOWN_MS', '250', { shutdownMs: 250 }],
    ['CONVOKE_NO_AUTH', '1', { noAuth: true }],
    ['CONVOKE_NO_AUTH', 'true', { noAuth: true }],
    ['CONVOKE_NO_AUTH', '0', { noAuth: false }],
    ['CONVOKE_MODEL', 'a/b', { models: { default: 'a/b' } }],
    ['CONVOKE_APPROVALS', 'all', { approvals: { mode: 'all' } }],
    ['CONVOKE_API_KEYS', 'ann:12345678', { access: { keys: [{ user: 'ann', key: '12345678' }] } }],
    [
      'CONVOKE_API_KEYS',
      ' ann : 12345678 , bob:with:colons',
      {
        access: {
          keys: [
            { user: 'ann', key: '12345678' },
            { user: 'bob', key: 'with:colons' },
          ],
        },
      },
    ],
    ['ANTHROPIC_API_KEY', 'k', { apiKeys: { anthropic: 'k' } }],
    ['OPENAI_API_KEY', 'k', { apiKeys: { openai: 'k' } }],
    ['GOOGLE_GENERATIVE_AI_API_KEY', 'k', { apiKeys: { google: 'k' } }],
  ])('%s=%s is taken', async (name, value, expected) => {
    expect(await load({ env: { [name]: value } })).toMatchObject(expected)
  })

  test('a variable that is empty counts as unset', async () => {
    const names = ['DATA', 'HOST', 'PORT', 'LOG', 'SHUTDOWN_MS', 'NO_AUTH', 'MODEL', 'APPROVALS', 'API_KEYS', 'CONFIG'].map((name) => `CONVOKE_${name}`)
    const empty = Object.fromEntries([...names, 'ANTHROPIC_API_KEY', 'XDG_DATA_HOME', 'XDG_CONFIG_HOME'].map((name) => [name, '']))
    expect(await load({ env: empty })).toEqual(await load())
  })

  test.each<[string, string, RegExp]>([
    ['CONVOKE_PORT', 'http', /^configuration key port: /],
    ['CONVOKE_PORT', '65536', /^configuration key port: /],
    ['CONVOKE_LOG', 'loud', /^configuration key log: /],
    ['CONVOKE_SHUTDOWN_MS', '-1', /^configuration key shutdownMs: /],
    ['CONVOKE_APPROVALS', 'some', /^configuration key approvals\.mode: /],
    ['CONVOKE_API_KEYS', 'ann:short', /^configuration key access\.keys\.0\.key: /],
    ['CONVOKE_API_KEYS', 'a-key-without-user', /^CONVOKE_API_KEYS must be user:key, comma-separated$/],
    ['CONVOKE_API_KEYS', ':12345678', /^CONVOKE_API_KEYS must be user:key, comma-separated$/],
    ['CONVOKE_API_KEYS', 'ann:12345678,', /^CONVOKE_API_KEYS must be user:key, comma-separated$/],
  ])('%s=%s is refused, naming what is wrong', async (name, value, message) => {
    await expect(load({ env: { [name]: value } })).rejects.toMatchObject(invalid(message))
  })

  test('clients learn where the server is, and their key', () => {
    expect(clientSettings({})).toEqual({ url: 'http://127.0.0.1:4096' })
    expect(clientSettings({ CONVOKE_URL: '', CONVOKE_API_KEY: '' })).toEqual({ url: 'http://127.0.0.1:4096' })
    expect(clientSettings({ CONVOKE_URL: 'http://x', CONVOKE_API_KEY: 'k' })).toEqual({ url: 'http://x', key: 'k' })
  })
})

/** `{a: {b: value}}` for `a.b`. */
function at(path: string, value: unknown): ConfigInput {
  return path.split('.').reduceRight<unknown>((inner, key) => ({ [key]: inner }), value) as ConfigInput
}

const key = (extra: object) => [{ user: 'u', key: '12345678', ...extra }]

describe('every bound of the schema', () => {
  test.each<[string, unknown, unknown]>([
    ['port', 0, -1],
    ['port', 65_535, 65_536],
    ['port', 1, 1.5],
    ['host', 'localhost', ''],
    ['data', '/d', ''],
    ['listeners', Array.from({ length: 16 }, () => ({ port: 0 })), Array.from({ length: 17 }, () => ({ port: 0 }))],
    ['listeners', [{ port: 65_535, host: '::1', optional: true, dialects: ['v1'] }], [{ port: 65_536 }]],
    ['listeners', [{ port: '0' }], [{ host: 'localhost' }]],
    ['listeners', [{ port: 0, host: 'localhost' }], [{ port: 0, host: '' }]],
    ['listeners', [{ port: 0 }], [{ port: 0, dialects: [] }]],
    ['listeners', [{ port: 0 }], [{ port: 0, dialects: ['mine'] }]],
    ['agents', ['a'.repeat(1000)], ['a'.repeat(1001)]],
    ['agents', [{ name: 'mine', run: () => undefined }], [{ name: 'mine' }]],
    ['agents', Array.from({ length: 100 }, () => 'a'), Array.from({ length: 101 }, () => 'a')],
    ['tools', ['t'], ['']],
    ['tools', [{ name: 'mine', open: () => undefined }], [{ name: 7, open: () => undefined }]],
    ['tools', Array.from({ length: 200 }, () => 't'), Array.from({ length: 201 }, () => 't')],
    ['shutdownMs', 0, -1],
    ['shutdownMs', 600_000, 600_001],
    ['limits.requestMs', 100, 99],
    ['limits.requestMs', 3_600_000, 3_600_001],
    ['limits.bodyBytes', 1024, 1023],
    ['limits.bodyBytes', 268_435_456, 268_435_457],
    ['limits.streams', 1, 0],
    ['retention.days', 0.01, 0],
    ['retention.days', 36_500, 36_501],
    ['retention.bytesMax', 1_048_576, 1_048_575],
    ['retention.deltaHours', 0, -1],
    ['retention.deltaHours', 87_600, 87_601],
    ['limits.streams', 100_000, 100_001],
    ['models.demoPaceMs', 0, -1],
    ['models.demoPaceMs', 10_000, 10_001],
    ['models.default', 'm', ''],
    ['models.discover', false, 'no'],
    ['approvals.mode', 'none', 'never'],
    ['approvals.default', 'deny', 'maybe'],
    ['approvals.rules', { bash: 'ask' }, { bash: 'perhaps' }],
    ['log', 'silent', 'quiet'],
    ['noAuth', true, 'yes'],
    ['workspace.roots', Array.from({ length: 100 }, () => '/r'), Array.from({ length: 101 }, () => '/r')],
    ['cors.origins', Array.from({ length: 100 }, () => 'o'), Array.from({ length: 101 }, () => 'o')],
    ['cors.origins', ['o'.repeat(500)], ['o'.repeat(501)]],
    ['cors.origins', ['o'], ['']],
    ['access.keys', Array.from({ length: 1000 }, () => key({})[0]), Array.from({ length: 1001 }, () => key({})[0])],
    ['access.keys', key({ user: 'u'.repeat(200) }), key({ user: 'u'.repeat(201) })],
    ['access.keys', key({ user: 'u' }), key({ user: '' })],
    ['access.keys', key({ key: '12345678' }), key({ key: '1234567' })],
    ['access.keys', key({ key: 'k'.repeat(1000) }), key({ key: 'k'.repeat(1001) })],
    ['access.keys', key({ name: 'n'.repeat(200) }), key({ name: 'n'.repeat(201) })],
    ['access.keys', key({ scopes: ['sessions:read', 'sessions:write', 'approvals:decide', 'admin'] }), key({ scopes: ['root'] })],
    ['access.keys', key({ expires: '2030-01-01T00:00:00+02:00' }), key({ expires: '2030-01-01' })],
    ['models.catalog', { 'p/m': { context: 1, output: 1, cost: { input: 0, output: 0 } } }, { 'p/m': { context: 0 } }],
    ['models.catalog', { 'p/m': {} }, { 'p/m': { output: 0 } }],
    ['models.catalog', { 'p/m': {} }, { 'p/m': { cost: { input: -1, output: 0 } } }],
    ['models.catalog', { 'p/m/n': {} }, { m: {} }],
    ['providers', { ['n'.repeat(64)]: { kind: 'openai' } }, { ['n'.repeat(65)]: { kind: 'openai' } }],
    ['providers', { 'a.b-c_1': { kind: 'openai-compatible', baseURL: 'http://x' } }, { 'a/b': { kind: 'openai' } }],
    ['providers', { p: { kind: 'google' } }, { p: { kind: 'ours' } }],
    ['providers', { p: { kind: 'google', baseURL: 'https://x' } }, { p: { kind: 'google', baseURL: 'x' } }],
    ['providers', { p: { kind: 'google', apiKey: 'k' } }, { p: { kind: 'google', apiKey: '' } }],
  ])('%s: %j is taken, %j is refused by name', async (path, good, bad) => {
    await load({ flags: at(path, good) })
    await expect(load({ flags: at(path, bad) })).rejects.toMatchObject(invalid(new RegExp(`^configuration key ${path.replaceAll('.', '\\.')}`)))
  })

  test.each(['prot', 'limits.streem', 'models.catalog.p/m.price', 'access.key', 'cors.origin', 'workspace.root', 'approvals.ttl'])(
    'the unknown key %s is refused by name',
    async (path) => {
      await expect(load({ flags: at(path, 1) })).rejects.toMatchObject(invalid(`^configuration key ${path}: unknown key$`))
    },
  )

  test('an unknown key of a file is refused naming the file too', async () => {
    const files = { 'convoke.config.json': '{"prot": 1}' }
    await expect(load({ files })).rejects.toMatchObject(invalid('key prot: unknown key .*convoke.config.json'))
  })

  test('a rule for a part of a command is refused, saying that this version has none', async () => {
    const flags = at('approvals.rules', { 'bash::git': 'approve' })
    await expect(load({ flags })).rejects.toMatchObject(invalid('approvals.rules.bash::git: rules for parts of a command are not supported by this version'))
  })
})

describe('what is not safe', () => {
  const remote = ['0.0.0.0', '::', '192.168.1.7', 'example.com', '::ffff:127.0.0.1', '127.0.0.1.example.com']

  test.each(remote)('host %s is refused without keys, and taken with one or with noAuth', async (host) => {
    await expect(load({ flags: { host } })).rejects.toMatchObject(invalid(`^host ${host} can be reached by others: .*--no-auth`))
    expect((await load({ flags: { host, noAuth: true } })).host).toBe(host)
    expect((await load({ flags: { host, access: { keys: [{ user: 'u', key: '12345678' }] } } })).host).toBe(host)
  })

  test('one listener that others can reach is enough to be refused', async () => {
    const listeners = [{ port: 0 }, { port: 0, host: '0.0.0.0' }]
    await expect(load({ flags: { listeners } })).rejects.toMatchObject(invalid('^host 0\\.0\\.0\\.0 can be reached by others: '))
    expect((await load({ flags: { listeners, noAuth: true } })).listeners).toHaveLength(2)
  })

  test.each(['localhost', '127.0.0.1', '127.8.8.8', '::1', '[::1]'])('host %s is only this machine', async (host) => {
    expect(isLoopback(host)).toBe(true)
    expect((await load({ flags: { host } })).host).toBe(host)
  })

  test('credentials for every origin are refused by name', async () => {
    await expect(load({ flags: { cors: { origins: ['https://a', '*'], credentials: true } } })).rejects.toMatchObject(
      invalid('^configuration key cors.credentials: cannot be together with origins \\*$'),
    )
    expect((await load({ flags: { cors: { origins: ['*'] } } })).cors?.origins).toEqual(['*'])
    expect((await load({ flags: { cors: { origins: ['https://a'], credentials: true } } })).cors?.credentials).toBe(true)
  })
})

describe('the configuration as it may be shown', () => {
  test('holds no secret and no environment, and everything else', async () => {
    const config = await load({
      env: { OPENAI_API_KEY: 'secret-one', OTHER: 'secret-two' },
      flags: {
        access: { keys: [{ name: 'laptop', user: 'ann', key: 'secret-three' }] },
        providers: { mine: { kind: 'openai', apiKey: 'secret-four', baseURL: 'http://127.0.0.1:1/v1' }, plain: { kind: 'google' } },
      },
    })
    const shown = redact(config)
    expect(JSON.stringify(shown)).not.toContain('secret')
    expect(shown).toMatchObject({
      port: 4096,
      apiKeys: { openai: '[redacted]' },
      access: { keys: [{ name: 'laptop', user: 'ann', key: '[redacted]' }] },
      providers: { mine: { kind: 'openai', apiKey: '[redacted]', baseURL: 'http://127.0.0.1:1/v1' }, plain: { kind: 'google' } },
    })
    expect(shown).not.toHaveProperty('environment')
    expect(config.access.keys[0]?.key).toBe('secret-three')
  })

  test('names agents and tools that are objects', async () => {
    const agents = ['./mine.js', { name: 'mine', run: () => undefined }]
    const tool = { name: 'tool', open: () => undefined }
    const config = await load({ flags: { agents, tools: [tool] } })
    expect(redact(config)).toMatchObject({ agents: ['./mine.js', 'mine'], tools: ['tool'] })
  })

  test('a password in a provider’s address is hidden too', async () => {
    const config = await load({ flags: { providers: { mine: { kind: 'openai', baseURL: 'https://me:secret-five@host/v1' } } } })
    expect(redact(config)['providers']).toEqual({ mine: { kind: 'openai', baseURL: 'https://[redacted]@host/v1' } })
  })
})

describe('what does not go together', () => {
  test('a key has one user', async () => {
    await expect(load({ env: { CONVOKE_API_KEYS: 'ann:longlonglong,bob:longlonglong' } })).rejects.toMatchObject(invalid('ann and bob have the same key'))
    await expect(load({ env: { CONVOKE_API_KEYS: 'ann:longlonglong,ann:longlonglong' } })).resolves.toBeDefined()
  })

  test('listeners and a port that is given beside them', async () => {
    const files = { 'convoke.config.json': '{"listeners":[{"port":5102}]}' }
    await expect(load({ files, flags: { port: 5177 } })).rejects.toMatchObject(invalid('listeners'))
    await expect(load({ files, flags: { host: '127.0.0.1' } })).rejects.toMatchObject(invalid('listeners'))
    expect((await load({ files })).listeners).toMatchObject([{ port: 5102 }])
  })
})
