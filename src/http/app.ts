/**
 * The HTTP application: middleware in the house's order, then routes.
 *
 * Outermost first: request id, access log, CORS, body limit, host and origin, the user's own middleware, authentication, routes, errors.
 * Authentication comes before a body is read; every answer carries the request id, errors too.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Hono, type Context, type MiddlewareHandler } from 'hono'
import type { Access } from '../access/keys.ts'
import type { Clock, Random, Telemetry } from '../domain/ports.ts'
import type { Principal } from '../domain/principal.ts'
import type { GuardOptions } from './guard.ts'
import type { Answer, Route } from './route.ts'
import { ConvokeError, ERROR_CODES, type ErrorCode } from '../domain/errors.ts'
import { requireBounded } from './body.ts'
import { makeCall } from './call.ts'
import { corsHeaders, type CorsOptions } from './cors.ts'
import { problemOf } from './errors.ts'
import { guard } from './guard.ts'
import { newRequestId, requestIdOf } from './request-id.ts'

/** What Node's server hands to the application. */
export interface NodeBindings {
  readonly incoming: IncomingMessage
  readonly outgoing: ServerResponse
}
interface Variables {
  requestId: string
  url: URL
  principal: Principal
  extraHeaders: Record<string, string>
}
type Env = { Bindings: NodeBindings; Variables: Variables }

/** A finished request, for logs and the `Server` class's event. */
export interface RequestReport {
  readonly method: string
  readonly path: string
  readonly status: number
  /** From the first byte to the end of the answer, in ms; for a stream to the stream's end. */
  readonly duration: number
  readonly requestId: string
}

/** What the application is made of. */
export interface HttpOptions {
  readonly routes: readonly Route[]
  readonly access: Access
  readonly guard: GuardOptions
  readonly cors: CorsOptions | undefined
  readonly clock: Clock
  readonly random: Random
  readonly telemetry: Telemetry
  /** Bytes of a request body. */
  readonly bodyBytesMax: number
  /** Longest time of a request that neither streams nor waits, in ms. */
  readonly requestMs: number
  /** The user's own middleware, outermost first; read anew for each request. */
  readonly middleware: () => readonly MiddlewareHandler[]
  readonly onRequest: (report: RequestReport) => void
  readonly onError: (error: unknown, requestId: string) => void
}

/** Builds the application. */
export function createHttpApp(options: HttpOptions): Hono<Env> {
  const app = new Hono<Env>()
  // One middleware, not five: each layer of promises costs every request.
  app.use('*', (c, next) => admit(c, next, options))
  for (const route of options.routes) app.on(route.method.toUpperCase(), honoPath(route.path), (c) => answer(c, route, options))
  app.notFound((c) => fail(c, notFound(options.routes, c.req.method, c.get('url').pathname), options))
  app.onError((error, c) => fail(c as Context<Env>, error, options))
  return app
}

/** What comes before every route, in the house's order, and the headers that go on every answer. */
async function admit(c: Context<Env>, next: () => Promise<void>, options: HttpOptions): Promise<void> {
  identify(c, options)
  const own = options.middleware()
  if (crossOrigin(c, options)) c.res = new Response(null, { status: 204 })
  else {
    requireBounded(c.env.incoming, options.bodyBytesMax)
    guard((name) => c.req.header(name), options.guard)
    const answered = await (own.length === 0 ? next() : runOwn(own, c, next)).catch(requireError)
    // A copy: the headers of a redirect, or of what was fetched elsewhere, cannot be added to.
    if (answered instanceof Response) c.res = new Response(answered.body, answered)
  }
  if (c.res === SENT) return
  for (const [name, value] of Object.entries(c.get('extraHeaders'))) c.res.headers.set(name, value)
}

function identify(c: Context<Env>, options: HttpOptions): void {
  const requestId = requestIdOf(c.req.header('x-request-id')) ?? newRequestId(options.random)
  c.set('requestId', requestId)
  c.set('extraHeaders', { 'x-request-id': requestId })
  const url = new URL(c.req.url)
  c.set('url', url)
  reportEnd(options, c.env.outgoing, { method: c.req.method, path: url.pathname, requestId })
}

/** Notes the headers that a page of another origin needs. Answers whether that is all it asked for. */
function crossOrigin(c: Context<Env>, options: HttpOptions): boolean {
  if (options.cors === undefined) return false
  const { headers, preflight } = corsHeaders(options.cors, c.req.method, (name) => c.req.header(name))
  Object.assign(c.get('extraHeaders'), headers)
  return preflight
}

/** Hono hands only an `Error` to its error handler; anything else would leave the application. */
function requireError(thrown: unknown): never {
  throw thrown instanceof Error ? thrown : new Error('something was thrown that is no error', { cause: thrown })
}

/** Tells of an answer when it has ended. A stream's takes hours: nothing of its request but these few words is held until then. */
function reportEnd(options: HttpOptions, outgoing: ServerResponse, facts: Pick<RequestReport, 'method' | 'path' | 'requestId'>): void {
  const startedMs = options.clock.monotonicMs()
  outgoing.once('close', () => options.onRequest({ ...facts, status: outgoing.statusCode, duration: options.clock.monotonicMs() - startedMs }))
}

/** Runs middlewares that may have been added after the first request, as an onion. */
function runOwn(own: readonly MiddlewareHandler[], c: Context<Env>, next: () => Promise<void>): Promise<Response | void> {
  const run = async (index: number): Promise<Response | void> => {
    const middleware = own[index]
    if (middleware === undefined) {
      // Hono's `next` resolves with its context, whatever its type says: that is no answer.
      await next()
      return undefined
    }
    const response = await middleware(c, async () => {
      const inner = await run(index + 1)
      if (inner !== undefined) c.res = inner
    })
    return response ?? undefined
  }
  return run(0)
}

async function answer(c: Context<Env>, route: Route, options: HttpOptions): Promise<Response> {
  const header = (name: string) => c.req.header(name)
  const handle = (principal: Principal | undefined) =>
    route.handle(
      makeCall({
        principal,
        requestId: c.get('requestId'),
        url: c.get('url'),
        param: (name) => c.req.param(name) ?? '',
        header,
        incoming: c.env.incoming,
        outgoing: c.env.outgoing,
        extraHeaders: c.get('extraHeaders'),
        bodyBytesMax: options.bodyBytesMax,
        method: route.method,
      }),
    )
  const authenticate = async () => (route.public === true ? undefined : options.access.authenticate(header))
  const result = route.unbounded === true ? await handle(await withinTime(authenticate(), options)) : await withinTime(authenticate().then(handle), options)
  if (result === 'streaming') return new Response(null, { headers: ALREADY_SENT })
  return options.middleware().length === 0 ? send(c, result) : toResponse(result)
}

const ALREADY_SENT = { 'x-hono-already-sent': 'true' }
/** Stands for an answer that was written to the socket already. Shared, so never changed. */
const SENT = new Response(null, { headers: ALREADY_SENT })

/** Writes an answer that no middleware waits for: the way through a `Response` and its body stream costs as much as all the rest. */
function send(c: Context<Env>, answered: Answer): Response {
  const { status, json, text } = answered
  const body = json === undefined ? text : JSON.stringify(json)
  const length = body === undefined ? (status === 204 ? {} : { 'content-length': '0' }) : { 'content-length': String(Buffer.byteLength(body)) }
  c.env.outgoing.writeHead(status, { ...headersOf(answered), ...length, ...c.get('extraHeaders') })
  c.env.outgoing.end(body)
  return SENT
}

function toResponse(answered: Answer): Response {
  const { status, json, text } = answered
  return new Response(json === undefined ? (text ?? null) : JSON.stringify(json), { status, headers: headersOf(answered) })
}

function headersOf({ json, text, headers }: Answer): Record<string, string> {
  if (json !== undefined) return { 'content-type': 'application/json', 'cache-control': 'private, no-cache', ...headers }
  return text === undefined ? { ...headers } : { 'content-type': 'text/plain; charset=utf-8', ...headers }
}

async function withinTime<T>(work: Promise<T>, options: HttpOptions): Promise<T> {
  let takeBack: () => void = () => undefined
  const late = new Promise<never>((_, reject) => {
    takeBack = options.clock.after(options.requestMs, () => reject(new ConvokeError('request_timeout', `the request took longer than ${options.requestMs} ms`)))
  })
  try {
    return await Promise.race([work, late])
  } finally {
    takeBack()
  }
}

function fail(c: Context<Env>, error: unknown, options: HttpOptions): Response {
  const requestId = c.get('requestId') ?? 'req_unknown'
  const { status, body, headers } = problemOf(error, { requestId, path: c.get('url').pathname })
  if (isFault(error)) options.onError(error, requestId)
  if (error instanceof ConvokeError && error.code === 'method_not_allowed') headers['allow'] = allowed(options.routes, c.get('url').pathname).join(', ')
  // What is left of a body that was refused must not be read as the next request.
  if (status === 413) headers['connection'] = 'close'
  return new Response(body, { status, headers: { ...headers, ...c.get('extraHeaders') } })
}

/** What a server that has enough to do, or stops, answers. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set(['overloaded', 'shutting_down', 'too_many_streams'])

/** Whether somebody should look at it. What a busy server refuses is in the access log; a line for each would make it busier. */
function isFault(error: unknown): boolean {
  if (!(error instanceof ConvokeError)) return true
  return ERROR_CODES[error.code].fault === 'server' && !REFUSALS.has(error.code)
}

function notFound(routes: readonly Route[], method: string, path: string): ConvokeError {
  if (allowed(routes, path).length > 0) return new ConvokeError('method_not_allowed', `${method} is not allowed here`)
  return new ConvokeError('route_not_found', 'there is nothing at this path')
}

/** Methods that exist at `path`. */
function allowed(routes: readonly Route[], path: string): readonly string[] {
  const found = routes.filter((route) => new RegExp(`^${route.path.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(path))
  const methods = new Set(found.map((route) => route.method.toUpperCase()))
  if (methods.has('GET')) methods.add('HEAD')
  return [...methods]
}

function honoPath(path: string): string {
  return path.replaceAll(/\{(\w+)\}/g, ':$1')
}
