/** Cross-origin rules (Fetch standard, "CORS protocol"). */

/** Who may ask from another origin. */
export interface CorsOptions {
  /** Exact origins, or `*`. */
  readonly origins: readonly string[]
  readonly methods?: readonly string[] | undefined
  readonly allowedHeaders?: readonly string[] | undefined
  /** Not together with `*`: that is refused when the configuration is read. */
  readonly credentials?: boolean | undefined
}

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS']
const ALLOWED = ['Content-Type', 'Authorization', 'X-API-Key', 'X-Request-Id', 'Last-Event-ID', 'Idempotency-Key', 'If-Match', 'If-None-Match']
const EXPOSED = ['ETag', 'Location', 'Link', 'Retry-After', 'X-Request-Id', 'Idempotency-Replayed', 'Convoke-Log-Id']
/** How long a browser may remember a preflight, in s. */
const MAX_AGE_S = 600

/** The headers for one request, and whether it is a preflight, which ends with them. */
export function corsHeaders(
  options: CorsOptions,
  method: string,
  header: (name: string) => string | undefined,
): { readonly headers: Record<string, string>; readonly preflight: boolean } {
  const origin = header('origin')
  const headers: Record<string, string> = options.origins.includes('*') ? {} : { vary: 'Origin' }
  const preflight = method === 'OPTIONS' && header('access-control-request-method') !== undefined
  if (origin === undefined) return { headers, preflight: false }
  if (!options.origins.includes('*') && !options.origins.includes(origin)) return { headers, preflight }
  headers['access-control-allow-origin'] = options.origins.includes('*') ? '*' : origin
  if (options.credentials === true) headers['access-control-allow-credentials'] = 'true'
  if (!preflight) return { headers: { ...headers, 'access-control-expose-headers': EXPOSED.join(', ') }, preflight }
  headers['access-control-allow-methods'] = (options.methods ?? METHODS).join(', ')
  headers['access-control-allow-headers'] = (options.allowedHeaders ?? ALLOWED).join(', ')
  headers['access-control-max-age'] = String(MAX_AGE_S)
  return { headers, preflight }
}
