/** A raw reader of server-sent events: sees every line, hides nothing, and comes back with its cursor. */
import { Agent, request, type IncomingMessage } from 'node:http'
import { elapsed } from './wait.ts'

/** Pause before it comes back, in ms. */
const PAUSE_MS = 30
/** Statuses of a server that is not ready, or stops. */
const NOT_NOW = new Set([502, 503, 504])

/** A frame: one with data. */
export interface SseFrame {
  readonly id: string | undefined
  readonly event: string | undefined
  readonly data: string
}

/** What to follow, and who is told. */
export interface SseOptions {
  readonly url: () => string
  readonly path: string
  readonly cursor: () => string
  readonly signal: AbortSignal
  readonly onFrame: (frame: SseFrame) => void
  /** The head that a stream begins with. */
  readonly onHead?: (head: string) => void
  /** How long to wait before coming back, as the server says it. */
  readonly onRetry?: (ms: number) => void
  /** A connection is over; whether the server had ended its answer as HTTP wants it. */
  readonly onReturn?: (whole: boolean) => void
  readonly onRefused: (status: number, text: string) => void
}

/** Follows until the signal is aborted, or the server refuses. */
export async function followSse(options: SseOptions): Promise<void> {
  const { signal } = options
  for (; !signal.aborted; await elapsed(PAUSE_MS)) {
    const response = await open(options)
    if (response === undefined) continue
    const status = response.statusCode ?? 0
    if (status !== 200) {
      const text = await readWhole(response)
      if (NOT_NOW.has(status)) continue
      return options.onRefused(status, text)
    }
    const whole = await read(response, options)
    if (!signal.aborted) options.onReturn?.(whole)
  }
}

function open({ url, path, cursor, signal }: SseOptions): Promise<IncomingMessage | undefined> {
  return new Promise((resolve) => {
    const sent = request(`${url()}${path}`, { headers: { 'last-event-id': cursor() }, agent: new Agent(), signal })
    sent.once('response', resolve)
    // Nobody listens there at the moment; or the reader stops.
    sent.on('error', () => resolve(undefined))
    sent.end()
  })
}

async function read(response: IncomingMessage, options: SseOptions): Promise<boolean> {
  let text = ''
  response.setEncoding('utf8')
  try {
    for await (const chunk of response) {
      text += chunk as string
      let from = 0
      for (let end = text.indexOf('\n\n'); end !== -1; end = text.indexOf('\n\n', from)) {
        take(text.slice(from, end), options)
        from = end + 2
      }
      text = text.slice(from)
    }
    return true
  } catch (error) {
    if (error instanceof SseError) throw error
    // The connection broke: what stands behind the last blank line was never a frame.
    return false
  }
}

async function readWhole(response: IncomingMessage): Promise<string> {
  let text = ''
  try {
    for await (const chunk of response.setEncoding('utf8')) text += chunk as string
  } catch {
    // The status says enough.
  }
  return text
}

class SseError extends Error {}

function take(block: string, options: SseOptions): void {
  const fields = new Map<string, string>()
  for (const line of block.split('\n')) {
    const [, name, value = ''] = /^(id|event|data|retry|): (.*)$/.exec(line) ?? []
    if (name === undefined) throw new SseError(`a stream holds the line ${JSON.stringify(line)}`)
    if (fields.has(name)) throw new SseError(`a block holds two lines ${name}: ${block}`)
    fields.set(name, value)
  }
  const head = /^head (\S+)$/.exec(fields.get('') ?? '')?.[1]
  if (head !== undefined) options.onHead?.(head)
  const retry = fields.get('retry')
  if (retry !== undefined) options.onRetry?.(Number(retry))
  const data = fields.get('data')
  if (data !== undefined) options.onFrame({ id: fields.get('id'), event: fields.get('event'), data })
}
