/** Who may talk to a loopback listener: protects against pages in a browser that reach for it (DNS rebinding, cross-site sockets). */
import { ConvokeError } from '../domain/errors.ts'

const LOOPBACK_HOST = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/

/** What a listener checks. */
export interface GuardOptions {
  /** Whether the listener is bound to loopback: then `Host` must name it. */
  readonly loopback: boolean
  /** Origins that may ask besides those on the same host; `*` for all. */
  readonly origins: readonly string[]
}

/** @throws {ConvokeError} `forbidden_host`, `forbidden_origin` */
export function guard(header: (name: string) => string | undefined, options: GuardOptions): void {
  const host = header('host')
  if (options.loopback && (host === undefined || !LOOPBACK_HOST.test(hostName(host)))) {
    throw new ConvokeError('forbidden_host', 'this server answers only to localhost')
  }
  const origin = header('origin')
  if (origin === undefined || options.origins.includes('*') || options.origins.includes(origin)) return
  if (options.loopback && !isOwn(origin, host)) throw new ConvokeError('forbidden_origin', 'this origin is not allowed')
}

/** Whether an origin may open a socket: cross-site sockets are not held back by CORS, so everybody's are checked. @throws {ConvokeError} `forbidden_origin` */
export function guardSocket(header: (name: string) => string | undefined, options: GuardOptions): void {
  guard(header, options)
  const origin = header('origin')
  if (origin === undefined || options.origins.includes('*') || options.origins.includes(origin)) return
  if (!isOwn(origin, header('host'))) throw new ConvokeError('forbidden_origin', 'this origin is not allowed')
}

function isOwn(origin: string, host: string | undefined): boolean {
  try {
    return new URL(origin).host === host?.toLowerCase()
  } catch {
    // `null` and nonsense are nobody's origin.
    return false
  }
}

function hostName(host: string): string {
  return host.toLowerCase().replace(/:\d+$/, '')
}
