/** Tools and agents of one's own: given as objects, or named as modules that export them. */
import { isAbsolute, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Config } from './config.ts'
import type { Tool } from './domain/tool.ts'
import type { Agent } from './runtime/agent.ts'
import type { AgentParts } from './agent/parts.ts'
import { BUILTIN_AGENT } from './agent/builtin.ts'
import { ownAgent } from './agent/own.ts'
import { isDefinedAgent } from './runtime/define.ts'
import { ConvokeError } from './domain/errors.ts'

/** The configured tools, behind the built-in ones. @throws {ConvokeError} `config_invalid` for what is no tool, and for a name that is taken */
export async function withOwnTools(builtin: readonly Tool[], config: Config): Promise<readonly Tool[]> {
  const own = await load<Tool>('tools', config, ['open', 'check', 'timeoutMs'])
  return requireUnique('tools', [...builtin, ...own])
}

/** The configured agents. @throws {ConvokeError} `config_invalid` for what is no agent, and for a name that is taken */
export async function ownAgents(config: Config, parts: AgentParts): Promise<readonly Agent[]> {
  const own = await load<Agent>('agents', config, ['run'])
  if (own.some(({ name }) => name === BUILTIN_AGENT)) throw taken('agents', BUILTIN_AGENT)
  return requireUnique('agents', own).map((agent: object) => (isDefinedAgent(agent) ? ownAgent(agent, parts) : (agent as Agent)))
}

async function load<Part extends { readonly name: string }>(key: 'agents' | 'tools', config: Config, methods: readonly string[]): Promise<Part[]> {
  const found: Part[] = []
  for (const entry of config[key]) {
    const exported = typeof entry === 'string' ? await importFrom(key, entry, config) : entry
    for (const part of Array.isArray(exported) ? (exported as unknown[]) : [exported]) {
      if (!isPart(part, methods))
        throw new ConvokeError('config_invalid', `configuration key ${key}: ${describe(entry)} is none; it needs name, ${methods.join(', ')}`)
      found.push(part as Part)
    }
  }
  return found
}

/** The default export of a module: a path is taken from the configuration file's folder, anything else is a package. */
async function importFrom(key: string, name: string, config: Config): Promise<unknown> {
  const isPath = name.startsWith('.') || isAbsolute(name)
  const base = config.file === undefined ? process.cwd() : resolve(config.file, '..')
  try {
    const loaded = (await import(isPath ? pathToFileURL(resolve(base, name)).href : name)) as { readonly default?: unknown }
    return loaded.default
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error)
    throw new ConvokeError('config_invalid', `configuration key ${key}: ${name} cannot be loaded: ${why}`, { cause: error })
  }
}

function isPart(value: unknown, methods: readonly string[]): boolean {
  if (typeof value !== 'object' || value === null) return false
  const part = value as Readonly<Record<string, unknown>>
  return typeof part['name'] === 'string' && methods.every((method) => typeof part[method] === 'function')
}

function requireUnique<Part extends { readonly name: string }>(key: string, parts: readonly Part[]): readonly Part[] {
  const repeated = parts.find((part, index) => parts.findIndex(({ name }) => name === part.name) !== index)
  if (repeated !== undefined) throw taken(key, repeated.name)
  return parts
}

function taken(key: string, name: string): ConvokeError {
  return new ConvokeError('config_invalid', `configuration key ${key}: there is a ${name} already`)
}

function describe(entry: string | { readonly name: string }): string {
  return typeof entry === 'string' ? entry : entry.name
}
