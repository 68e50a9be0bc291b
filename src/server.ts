/**
 * The public `Server` class, and the only place that picks concrete parts.
 */
import type { MiddlewareHandler } from 'hono'
import type { Config } from './config.ts'
import type { ServerEvents } from './server-events.ts'
import type { ConfigInput } from './config-schema.ts'
import type { TokenHandler } from './access/keys.ts'
import { isLoopback, loadConfig } from './config.ts'
import { ConvokeError } from './domain/errors.ts'
import { assemble, type Assembly } from './assembly.ts'

/** Who may ask: nobody is asked for a key, or tokens, or a handler decides. Both mean the user `local`. */
export type AuthOption = false | { readonly enabled: boolean; readonly tokens?: readonly string[]; readonly handler?: TokenHandler }

/** The configuration, and what an embedding program may say besides. */
export interface ServerOptions extends Omit<ConfigInput, 'cors'> {
  readonly cors?:
    | ConfigInput['cors']
    | {
        readonly origin: string | readonly string[]
        readonly methods?: readonly string[]
        readonly allowedHeaders?: readonly string[]
        readonly credentials?: boolean
      }
  readonly auth?: AuthOption
  readonly rateLimit?: { readonly maxRequests?: number; readonly maxSessions?: number; readonly windowMs?: number }
  /** Configuration file; by default none is looked for. */
  readonly config?: string
  /** Whether to look for a configuration file in the usual places. Default false: an embedding program says everything itself. */
  readonly searchConfig?: boolean
  /** Wait this long for a dying process that holds the data folder, in ms. */
  readonly lockWaitMs?: number
}

/** A Convoke server in this process. */
export class Server {
  readonly #options: ServerOptions
  readonly #middleware: MiddlewareHandler[] = []
  readonly #listeners = new Map<keyof ServerEvents, Set<(payload: never) => void>>()
  #assembly: Promise<Assembly> | undefined
  #running: Assembly | undefined

  /** @throws {ConvokeError} `config_invalid` for options that cannot be had */
  constructor(options: ServerOptions = {}) {
    if (options.rateLimit !== undefined) throw new ConvokeError('config_invalid', 'rateLimit is not supported by this version')
    const auth = options.auth
    if (typeof auth === 'object' && auth.enabled && (auth.tokens ?? []).filter((token) => token !== '').length === 0 && auth.handler === undefined) {
      throw new ConvokeError('config_invalid', 'auth needs tokens or a handler')
    }
    const cors = corsOf(options.cors)
    if (cors?.credentials === true && cors.origins?.includes('*') === true)
      throw new ConvokeError('config_invalid', 'cors cannot allow credentials to every origin')
    this.#options = options
  }

  /** Where the server listens. @throws {Error} before `start` */
  get url(): string {
    if (this.#running === undefined) throw new Error('the server is not started')
    return this.#running.url
  }

  /** Resolves when requests can be answered. Rejects for a taken port, a data folder in use, a bad configuration; and when it runs already. */
  async start(): Promise<void> {
    if (this.#assembly !== undefined) throw new Error('the server is started already')
    this.#assembly = this.#assemble()
    try {
      this.#running = await this.#assembly
    } catch (error) {
      this.#assembly = undefined
      throw error
    }
  }

  /** Stops gracefully; repeatable. `start` may follow. */
  async stop(): Promise<void> {
    const assembly = this.#assembly
    if (assembly === undefined) return
    const running = await assembly.catch(() => undefined)
    try {
      await running?.stop()
    } finally {
      if (this.#assembly === assembly) {
        this.#assembly = undefined
        this.#running = undefined
      }
    }
  }

  /** Adds a middleware, also while the server runs; the first added is outermost. Around a stream `await next()` returns at its head. */
  use(middleware: MiddlewareHandler): this {
    this.#middleware.push(middleware)
    return this
  }

  /** Listens. A listener that throws hurts nobody. `request` tells of an answer when it has ended, a stream's too. */
  on<Name extends keyof ServerEvents>(name: Name, listener: ServerEvents[Name]): this {
    const set = this.#listeners.get(name) ?? new Set()
    set.add(listener as (payload: never) => void)
    this.#listeners.set(name, set)
    return this
  }

  async #assemble(): Promise<Assembly> {
    const { auth, cors, rateLimit: _rateLimit, config: file, lockWaitMs, searchConfig, ...values } = this.#options
    const keyed = typeof auth === 'object' && auth.enabled
    const flags: ConfigInput = { ...values, ...(cors === undefined ? {} : { cors: corsOf(cors) }), ...(auth !== undefined ? { noAuth: true } : {}) }
    const config: Config = await loadConfig({ env: process.env, cwd: process.cwd(), file, flags, searchFile: searchConfig === true })
    return assemble({
      config,
      lockWaitMs: lockWaitMs ?? 0,
      tokens: keyed ? (auth.tokens ?? []) : [],
      ...(keyed && auth.handler !== undefined ? { handler: auth.handler } : {}),
      open: keyed ? false : config.access.keys.length === 0 && (auth === false || config.noAuth || isLoopback(config.host)),
      middleware: () => this.#middleware,
      emit: (name, payload) => this.#emit(name, payload),
      onLost: (error) => this.#fail(error),
    })
  }

  /** Without its log a server can promise nothing: it says so and stops, so that another can take over. */
  #fail(error: Error): void {
    this.#emit('failed', error)
    this.stop().catch((failure: unknown) => this.#emit('error', failure))
  }

  #emit<Name extends keyof ServerEvents>(name: Name, payload: Parameters<ServerEvents[Name]>[0]): void {
    for (const listener of this.#listeners.get(name) ?? []) {
      try {
        listener(payload as never)
      } catch (error) {
        if (name !== 'error') this.#emit('error', error)
      }
    }
  }
}

function corsOf(cors: ServerOptions['cors']): ConfigInput['cors'] {
  if (cors === undefined || !('origin' in cors)) return cors as ConfigInput['cors']
  const { origin, methods, allowedHeaders, credentials } = cors
  return {
    origins: typeof origin === 'string' ? [origin] : [...origin],
    ...(methods === undefined ? {} : { methods: [...methods] }),
    ...(allowedHeaders === undefined ? {} : { allowedHeaders: [...allowedHeaders] }),
    ...(credentials === undefined ? {} : { credentials }),
  }
}
