/** An error that the server answered, or that kept us from it. */
export class ConvokeClientError extends Error {
  /** The server's stable code; `unreachable` when no answer came, `bad_answer` when it was not the server's. */
  readonly code: string
  /** HTTP status; 0 when no answer came. */
  readonly status: number
  readonly requestId: string | undefined
  /** When to try again, in ms. */
  readonly retryAfterMs: number | undefined

  constructor(facts: { code: string; message: string; status: number; requestId?: string | undefined; retryAfterMs?: number | undefined; cause?: unknown }) {
    super(facts.message, facts.cause === undefined ? undefined : { cause: facts.cause })
    this.name = 'ConvokeClientError'
    this.code = facts.code
    this.status = facts.status
    this.requestId = facts.requestId
    this.retryAfterMs = facts.retryAfterMs
  }
}

/** The error of an answer that is none of 2xx. */
export async function errorOf(response: Response): Promise<ConvokeClientError> {
  const text = await response.text().catch(() => '')
  const body = parse(text)
  const seconds = Number(response.headers.get('retry-after') ?? Number.NaN)
  return new ConvokeClientError({
    code: typeof body?.code === 'string' ? body.code : 'bad_answer',
    message: typeof body?.error === 'string' ? body.error : `the server answered ${response.status}`,
    status: response.status,
    requestId: response.headers.get('x-request-id') ?? undefined,
    retryAfterMs: Number.isFinite(seconds) && seconds >= 0 ? seconds * 1000 : undefined,
  })
}

function parse(text: string): { code?: unknown; error?: unknown } | undefined | null {
  try {
    return JSON.parse(text) as { code?: unknown; error?: unknown } | null
  } catch {
    // Not this server's words: a proxy's, perhaps. The status says enough.
    return undefined
  }
}
