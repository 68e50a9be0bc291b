/** Finds model servers on this machine: Ollama and LM Studio at their usual ports. In the background; listed, never the default. */
import type { Clock } from '../domain/ports.ts'
import type { ModelInfo } from '../domain/model.ts'
import type { ProviderConfig } from './provider.ts'
import { unknownModel } from './catalog.ts'

/** How long a local server may take to answer, in ms. */
const PROBE_MS = 1500
/** Models that are listed of one server. */
const MODELS_MAX = 200
/** Bytes of an answer. */
const ANSWER_BYTES_MAX = 1024 * 1024

const PLACES = [
  { provider: 'ollama', base: 'http://127.0.0.1:11434/v1' },
  { provider: 'lmstudio', base: 'http://127.0.0.1:1234/v1' },
] as const

/** A server that answered. */
export interface Discovered {
  readonly provider: string
  readonly config: ProviderConfig
  readonly models: readonly ModelInfo[]
}

/** Asks both places at once. One that does not answer in time, or not sensibly, is not there. */
export async function discover(clock: Clock, stop: AbortSignal): Promise<readonly Discovered[]> {
  const found = await Promise.all(PLACES.map((place) => probe(place.provider, place.base, clock, stop)))
  return found.filter((entry) => entry !== undefined)
}

async function probe(provider: string, base: string, clock: Clock, stop: AbortSignal): Promise<Discovered | undefined> {
  const late = new AbortController()
  const takeBack = clock.after(PROBE_MS, () => late.abort())
  try {
    const response = await fetch(`${base}/models`, { signal: AbortSignal.any([stop, late.signal]) })
    if (!response.ok) return undefined
    const ids = idsOf(await boundedText(response))
    return { provider, config: { kind: 'openai-compatible', baseURL: base }, models: ids.map((id) => unknownModel(provider, id)) }
  } catch {
    // Nothing listens there: the usual case.
    return undefined
  } finally {
    takeBack()
  }
}

async function boundedText(response: Response): Promise<string> {
  let text = ''
  const decoder = new TextDecoder()
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    text += decoder.decode(chunk, { stream: true })
    if (text.length > ANSWER_BYTES_MAX) throw new Error('the answer is too long')
  }
  return text
}

function idsOf(text: string): readonly string[] {
  const value = JSON.parse(text) as { data?: unknown }
  const rows = Array.isArray(value.data) ? value.data : []
  return rows.slice(0, MODELS_MAX).flatMap((row: unknown) => {
    const id = typeof row === 'object' && row !== null && 'id' in row ? row.id : undefined
    return typeof id === 'string' && id !== '' ? [id] : []
  })
}
