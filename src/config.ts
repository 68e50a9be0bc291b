/**
 * The only reader of the environment and of configuration files.
 *
 * File, then `CONVOKE_*` environment, then flags; later ones win. One schema; a bad value stops the start and names its key.
 */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { ConfigSchema, type ConfigInput, type ConfigValues } from './config-schema.ts'
import { ConvokeError } from './domain/errors.ts'

/** The effective configuration. */
export interface Config extends ConfigValues {
  readonly data: string
  /** Keys of model providers, from the environment. */
  readonly apiKeys: { readonly anthropic?: string; readonly openai?: string; readonly google?: string }
  /** What tool processes may see. */
  readonly environment: Readonly<Record<string, string | undefined>>
  /** The file that was read, if one was. */
  readonly file?: string
}

/** Where to look. */
export interface ConfigSources {
  readonly env: Readonly<Record<string, string | undefined>>
  readonly cwd: string
  /** An explicit file; it must exist. */
  readonly file?: string | undefined
  /** Whether to look for a file where none is named. Default true. */
  readonly searchFile?: boolean
  /** Values that win over all others. */
  readonly flags: ConfigInput
}

const NAMES = ['convoke.config.ts', 'convoke.config.js', 'convoke.config.json'] as const

/** Loads and checks the configuration. @throws {ConvokeError} `config_invalid`, naming the key */
export async function loadConfig(sources: ConfigSources): Promise<Config> {
  const env = withoutEmpty(sources.env)
  const file = findFile(sources, env)
  const fromFile = file === undefined ? {} : await readConfigFile(file)
  const merged = merge(merge(fromFile, fromEnvironment(env)), sources.flags as Record<string, unknown>)
  const values = check(merged, file)
  const config: Config = {
    ...values,
    data: resolve(sources.cwd, values.data ?? join(env['XDG_DATA_HOME'] ?? join(env['HOME'] ?? homedir(), '.local', 'share'), 'convoke')),
    apiKeys: {
      ...(env['ANTHROPIC_API_KEY'] === undefined ? {} : { anthropic: env['ANTHROPIC_API_KEY'] }),
      ...(env['OPENAI_API_KEY'] === undefined ? {} : { openai: env['OPENAI_API_KEY'] }),
      ...(env['GOOGLE_GENERATIVE_AI_API_KEY'] === undefined ? {} : { google: env['GOOGLE_GENERATIVE_AI_API_KEY'] }),
    },
    environment: env,
    ...(file === undefined ? {} : { file }),
  }
  requireSafe(config)
  requireSense(config, sources.flags)
  return config
}

/** Where clients find the server, and with which key. */
export function clientSettings(env: Readonly<Record<string, string | undefined>>): { readonly url: string; readonly key?: string } {
  const { CONVOKE_URL: url, CONVOKE_API_KEY: key } = withoutEmpty(env)
  return { url: url ?? 'http://127.0.0.1:4096', ...(key === undefined ? {} : { key }) }
}

/** The configuration as it may be shown: keys and environment are left out. */
export function redact(config: Config): Record<string, unknown> {
  const { apiKeys, environment: _environment, ...shown } = config
  const hidden = '[redacted]'
  return {
    ...shown,
    access: { keys: config.access.keys.map((key) => ({ ...key, key: hidden })) },
    agents: config.agents.map(nameOf),
    tools: config.tools.map(nameOf),
    providers: Object.fromEntries(
      Object.entries(config.providers).map(([name, provider]) => {
        const { apiKey, baseURL } = provider
        const address = baseURL === undefined ? {} : { baseURL: baseURL.replace(/^([^/]*\/\/)[^/]*@/, `$1${hidden}@`) }
        return [name, { ...provider, ...address, ...(apiKey === undefined ? {} : { apiKey: hidden }) }]
      }),
    ),
    apiKeys: Object.fromEntries(Object.keys(apiKeys).map((name) => [name, hidden])),
  }
}

function nameOf(part: string | { readonly name: string }): string {
  return typeof part === 'string' ? part : part.name
}

/** Whether an address can be reached only from this machine. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host === '[::1]' || /^127(\.\d{1,3}){3}$/.test(host)
}

/** An empty environment variable counts as unset. */
function withoutEmpty(env: Readonly<Record<string, string | undefined>>): Readonly<Record<string, string | undefined>> {
  return Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined && value !== ''))
}

function findFile(sources: ConfigSources, env: Readonly<Record<string, string | undefined>>): string | undefined {
  const explicit = sources.file ?? env['CONVOKE_CONFIG']
  if (explicit !== undefined) {
    const path = resolve(sources.cwd, explicit)
    if (!existsSync(path)) throw new ConvokeError('config_invalid', `there is no configuration file ${path}`)
    return path
  }
  if (sources.searchFile === false) return undefined
  const folders = [sources.cwd, join(env['XDG_CONFIG_HOME'] ?? join(env['HOME'] ?? homedir(), '.config'), 'convoke')]
  return folders.flatMap((folder) => NAMES.map((name) => join(folder, name))).find((path) => existsSync(path))
}

async function readConfigFile(path: string): Promise<Record<string, unknown>> {
  try {
    const value: unknown = path.endsWith('.json')
      ? JSON.parse(await readFile(path, 'utf8'))
      : ((await import(pathToFileURL(path).href)) as { default: unknown }).default
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
    throw new Error('it does not hold an object')
  } catch (error) {
    throw new ConvokeError('config_invalid', `the configuration file ${path} cannot be read: ${error instanceof Error ? error.message : String(error)}`)
  }
}

function fromEnvironment(env: Readonly<Record<string, string | undefined>>): Record<string, unknown> {
  const set = (name: string, put: (value: string) => Record<string, unknown>) => (env[name] === undefined ? {} : put(env[name]))
  return {
    ...set('CONVOKE_DATA', (data) => ({ data })),
    ...set('CONVOKE_HOST', (host) => ({ host })),
    ...set('CONVOKE_PORT', (port) => ({ port })),
    ...set('CONVOKE_LOG', (log) => ({ log })),
    ...set('CONVOKE_SHUTDOWN_MS', (shutdownMs) => ({ shutdownMs })),
    ...set('CONVOKE_NO_AUTH', (value) => ({ noAuth: value === '1' || value === 'true' })),
    ...set('CONVOKE_MODEL', (model) => ({ models: { default: model } })),
    ...set('CONVOKE_APPROVALS', (mode) => ({ approvals: { mode } })),
    ...set('CONVOKE_API_KEYS', (keys) => ({ access: { keys: parseKeys(keys) } })),
  }
}

function parseKeys(text: string): readonly { user: string; key: string }[] {
  return text.split(',').map((pair) => {
    const colon = pair.indexOf(':')
    if (colon < 1) throw new ConvokeError('config_invalid', 'CONVOKE_API_KEYS must be user:key, comma-separated')
    return { user: pair.slice(0, colon).trim(), key: pair.slice(colon + 1).trim() }
  })
}

/** Objects are merged key by key, everything else is replaced. `undefined` leaves what is there. */
function merge(base: Record<string, unknown>, over: Record<string, unknown>): Record<string, unknown> {
  const merged: Record<string, unknown> = { ...base }
  for (const [key, value] of Object.entries(over)) {
    if (value === undefined) continue
    const both = isObject(merged[key]) && isObject(value)
    merged[key] = both ? merge(merged[key] as Record<string, unknown>, value as Record<string, unknown>) : value
  }
  return merged
}

function isObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function check(values: Record<string, unknown>, file: string | undefined): ConfigValues {
  const result = ConfigSchema.safeParse(values)
  if (result.success) return result.data
  const issue = result.error.issues[0]
  const unknown = issue?.code === 'unrecognized_keys' ? issue.keys.join(', ') : ''
  const key = [...(issue?.path ?? []), ...(unknown === '' ? [] : [unknown])].join('.')
  // What is wrong with a name that the operator chose stands one level deeper.
  const found = issue?.code === 'invalid_key' ? (issue.issues[0]?.message ?? issue.message) : issue?.message
  const why = unknown === '' ? found : 'unknown key'
  throw new ConvokeError('config_invalid', `configuration key ${key}: ${why}${file === undefined ? '' : ` (file ${file}, environment or flags)`}`)
}

/** The addresses that `config` asks for. */
export function listenersOf(config: ConfigValues): readonly { readonly host: string; readonly port: number; readonly optional: boolean }[] {
  return config.listeners.length > 0 ? config.listeners : [{ host: config.host, port: config.port, optional: false }]
}

/** What each key allows and all together do not. */
function requireSense(config: Config, flags: ConfigInput): void {
  if (config.listeners.length > 0 && (flags.host !== undefined || flags.port !== undefined)) {
    throw new ConvokeError('config_invalid', 'configuration key listeners: the addresses stand there; host and port cannot be given besides')
  }
  const users = new Map<string, string>()
  for (const { key, user } of config.access.keys) {
    if ((users.get(key) ?? user) !== user)
      throw new ConvokeError('config_invalid', `configuration key access.keys: ${users.get(key)} and ${user} have the same key`)
    users.set(key, user)
  }
}

function requireSafe(config: Config): void {
  const reachable = listenersOf(config).find(({ host }) => !isLoopback(host))
  if (reachable !== undefined && config.access.keys.length === 0 && !config.noAuth) {
    throw new ConvokeError(
      'config_invalid',
      `host ${reachable.host} can be reached by others: configure access.keys (or CONVOKE_API_KEYS=user:key), or give --no-auth to let everybody in`,
    )
  }
  if (config.cors?.credentials === true && config.cors.origins.includes('*')) {
    throw new ConvokeError('config_invalid', 'configuration key cors.credentials: cannot be together with origins *')
  }
}
