/** The addresses of one server: each with the same routes, behind guards of its own. */
import type { Access } from './access/keys.ts'
import type { MiddlewareHandler } from 'hono'
import type { Config } from './config.ts'
import type { ServerEvents } from './server-events.ts'
import type { V1Context } from './dialect/v1/context.ts'
import type { Listener } from './http/listener.ts'
import { ConvokeError } from './domain/errors.ts'
import { isLoopback, listenersOf } from './config.ts'
import { v1Routes } from './dialect/v1/routes.ts'
import { openV1Socket } from './dialect/v1/socket.ts'
import { createHttpApp } from './http/app.ts'
import { listen } from './http/listener.ts'
import { createUpgrader } from './http/upgrade.ts'
import { systemClock } from './system/clock.ts'
import { systemRandom } from './system/random.ts'

/** What all listeners share. */
export interface ServingOptions {
  readonly config: Config
  readonly middleware: () => readonly MiddlewareHandler[]
  readonly emit: <Name extends keyof ServerEvents>(name: Name, payload: Parameters<ServerEvents[Name]>[0]) => void
}

/** A listener that is open. */
export interface OpenListener {
  readonly url: string
  close(graceMs: number): Promise<void>
  /** Cuts off what is still open. */
  cut(): void
}

type Address = ReturnType<typeof listenersOf>[number]

/** Opens all listeners of the configuration, in order. If one that is not optional cannot be had, those before it are closed and the system's error is thrown. */
export async function openListeners(context: V1Context, access: Access, options: ServingOptions): Promise<readonly OpenListener[]> {
  const open: OpenListener[] = []
  for (const address of listenersOf(options.config)) {
    try {
      const listener = await openListener(context, access, options, address)
      open.push({ url: urlOf(address.host, listener), close: (graceMs) => listener.close(graceMs), cut: () => listener.cut() })
    } catch (error) {
      if (!address.optional) {
        await Promise.all(open.map((listener) => listener.close(0)))
        throw error
      }
      context.telemetry.log('warn', 'an optional listener cannot be had', { host: address.host, port: address.port, error: String(error) })
    }
  }
  if (open.length === 0) throw new ConvokeError('config_invalid', 'configuration key listeners: none of the addresses can be had')
  return open
}

function openListener(context: V1Context, access: Access, options: ServingOptions, address: Address): Promise<Listener> {
  const { config, emit } = options
  const guard = { loopback: isLoopback(address.host), origins: config.cors?.origins ?? [] }
  const app = createHttpApp({
    routes: v1Routes(context),
    access,
    guard,
    cors: config.cors,
    clock: systemClock,
    random: systemRandom,
    telemetry: context.telemetry,
    bodyBytesMax: config.limits.bodyBytes,
    requestMs: config.limits.requestMs,
    middleware: options.middleware,
    onRequest: (report) => emit('request', report),
    onError: (error, requestId) => {
      context.telemetry.log('error', 'a request failed', { requestId, error: error instanceof Error ? (error.stack ?? error.message) : String(error) })
      emit('error', error)
    },
  })
  const upgrader = createUpgrader({
    access,
    guard,
    random: systemRandom,
    clock: systemClock,
    bodyBytesMax: config.limits.bodyBytes,
    open: (request, path, principal) => openV1Socket(context, request, path, principal),
  })
  return listen({
    host: address.host,
    port: address.port,
    fetch: (request, env) => app.fetch(request, env),
    requestMs: config.limits.requestMs,
    onUpgrade: upgrader,
  })
}

function urlOf(host: string, listener: Listener): string {
  return `http://${host.includes(':') ? `[${host.replaceAll(/[[\]]/g, '')}]` : host}:${listener.address.port}`
}
