/** The models that this server can call. Nothing is imported and no network is waited for until a model is called. */
import type { Clock, Telemetry } from '../domain/ports.ts'
import type { Model, ModelInfo, ModelRegistry } from '../domain/model.ts'
import type { ProviderConfig } from './provider.ts'
import { ConvokeError } from '../domain/errors.ts'
import { MODEL_IDLE_MS } from './bounds.ts'
import { catalogOf, DEFAULT_MODELS, unknownModel } from './catalog.ts'
import { DEMO_INFO, DEMO_MODEL, demoModel } from './demo.ts'
import { discover, type Discovered } from './discover.ts'
import { probeProvider } from './probe.ts'
import { loadProvider, type ModelMaker } from './provider.ts'
import { sdkModel } from './sdk-model.ts'

/** Characters of a model's name. */
const NAME_CHARS_MAX = 200
/** Models that are kept made; then they are made anew. */
const MODELS_KEPT_MAX = 256

/** What the registry is made from. */
export interface RegistryOptions {
  readonly providers: Readonly<Record<string, ProviderConfig>>
  readonly defaultModel?: string | undefined
  readonly aliases: Readonly<Record<string, string>>
  readonly catalog: Readonly<
    Record<string, { readonly context?: number | undefined; readonly output?: number | undefined; readonly cost?: ModelInfo['cost'] | undefined }>
  >
  /** Keys from the environment: each makes its provider available by itself. */
  readonly apiKeys: { readonly anthropic?: string | undefined; readonly openai?: string | undefined; readonly google?: string | undefined }
  readonly clock: Clock
  readonly telemetry: Telemetry
  /** Pace of the demo model, in ms per word. */
  readonly demoPaceMs?: number | undefined
  /** Look for local servers in the background. Default true. */
  readonly discover?: boolean
  /** How long a model may say nothing, in ms. Default `MODEL_IDLE_MS`. */
  readonly idleMs?: number
}

/** Builds the registry. @throws {ConvokeError} `invalid_model` for a configured default that cannot be resolved */
export function createModelRegistry(options: RegistryOptions): ModelRegistry {
  const providers = new Map<string, ProviderConfig>(keyed(options.apiKeys))
  for (const [name, config] of Object.entries(options.providers)) providers.set(name, { ...providers.get(name), ...config })
  const makers = new Map<string, Promise<ModelMaker>>()
  const made = new Map<string, Model>()
  const demo = demoModel(options.clock, options.demoPaceMs)
  const stop = new AbortController()
  let local: readonly Discovered[] = []
  if (options.discover !== false) {
    discover(options.clock, stop.signal)
      .then((found) => (local = found))
      .catch((error: unknown) => options.telemetry.log('debug', 'looking for local models failed', { error: String(error) }))
  }
  const providerOf = (name: string): ProviderConfig | undefined => providers.get(name) ?? local.find((found) => found.provider === name)?.config
  const info = (id: string): ModelInfo | undefined => {
    const { provider, model } = split(id)
    const known = listOf(provider, providers.get(provider)).find((entry) => entry.id === model)
    return catalogued(options, id, known)
  }
  const firstAvailable = [...providers].flatMap(([name, config]) => (config.kind === 'openai-compatible' ? [] : [`${name}/${DEFAULT_MODELS[config.kind]}`]))[0]
  // The configured default may be an alias or an id alone: then it is of the first available provider itself.
  const configured = options.defaultModel === undefined ? '' : split(aliased(options, options.defaultModel)).provider
  const defaultProvider = configured === '' ? split(firstAvailable ?? DEMO_MODEL).provider : configured
  const registry: ModelRegistry = {
    get defaultModel() {
      return options.defaultModel === undefined ? (firstAvailable ?? DEMO_MODEL) : registry.resolve(options.defaultModel)
    },
    list() {
      const listed = [...providers].flatMap(([name, config]) => listOf(name, config)).map((entry) => info(`${entry.provider}/${entry.id}`) ?? entry)
      const extra = Object.keys(options.catalog)
        .filter((id) => providers.has(split(id).provider))
        .filter((id) => !listed.some((entry) => `${entry.provider}/${entry.id}` === id))
        .map((id) => info(id) ?? unknownModel(split(id).provider, split(id).model))
      return [...listed, ...extra, ...local.flatMap((found) => found.models), DEMO_INFO]
    },
    resolve(name) {
      const target = aliased(options, name)
      if (target === '' || target.length > NAME_CHARS_MAX) throw new ConvokeError('invalid_model', 'a model is named provider/id')
      if (!target.includes('/')) return `${defaultProvider}/${target}`
      const { provider, model } = split(target)
      if ((provider !== 'demo' && providerOf(provider) === undefined) || model === '')
        throw unknownProvider(provider, [...providers.keys(), ...local.map((found) => found.provider), 'demo'])
      return target
    },
    info,
    async get(id): Promise<Model> {
      const { provider, model } = split(id)
      if (provider === 'demo') return demo
      const known = made.get(id)
      if (known !== undefined) return known
      const config = providerOf(provider)
      if (config === undefined) throw unknownProvider(provider, [...providers.keys(), 'demo'])
      const maker = makers.get(provider) ?? loadProvider(provider, config)
      makers.set(provider, maker)
      // What could not be loaded is tried again by the next call.
      maker.catch(() => makers.delete(provider))
      const idle = { clock: options.clock, ms: options.idleMs ?? MODEL_IDLE_MS }
      const fresh = sdkModel(id, (await maker)(model), { info: info(id), nowMs: () => options.clock.nowMs(), secret: config.apiKey, idle })
      // Providers build schemas for each model object: kept, a call costs a third less.
      if (made.size >= MODELS_KEPT_MAX) made.clear()
      made.set(id, fresh)
      return fresh
    },
    check: (signal) => Promise.all([...providers].map(async ([provider, config]) => ({ provider, ...(await probeProvider(config, signal)) }))),
    close: () => stop.abort(),
  }
  if (options.defaultModel !== undefined) registry.resolve(options.defaultModel)
  return registry
}

function keyed(keys: RegistryOptions['apiKeys']): readonly (readonly [string, ProviderConfig])[] {
  const kinds = ['anthropic', 'openai', 'google'] as const
  return kinds.flatMap((kind) => (keys[kind] === undefined ? [] : [[kind, { kind, apiKey: keys[kind] }] as const]))
}

function listOf(name: string, config: ProviderConfig | undefined): readonly ModelInfo[] {
  if (name === 'demo') return [DEMO_INFO]
  return config === undefined ? [] : catalogOf(config.kind, name)
}

function aliased(options: RegistryOptions, name: string): string {
  return Object.hasOwn(options.aliases, name) ? (options.aliases[name] ?? name) : name
}

function catalogued(options: RegistryOptions, id: string, known: ModelInfo | undefined): ModelInfo | undefined {
  const own = Object.hasOwn(options.catalog, id) ? options.catalog[id] : undefined
  if (own === undefined) return known
  const { provider, model } = split(id)
  const base = known ?? unknownModel(provider, model)
  const limit = { context: own.context ?? base.limit.context, output: own.output ?? base.limit.output }
  return { ...base, limit, ...(own.cost === undefined ? {} : { cost: own.cost }) }
}

function split(id: string): { readonly provider: string; readonly model: string } {
  const slash = id.indexOf('/')
  return slash === -1 ? { provider: '', model: id } : { provider: id.slice(0, slash), model: id.slice(slash + 1) }
}

function unknownProvider(provider: string, known: readonly string[]): ConvokeError {
  return new ConvokeError('invalid_model', `there is no model provider ${JSON.stringify(provider)}; known are ${[...new Set(known)].join(', ')}`)
}
