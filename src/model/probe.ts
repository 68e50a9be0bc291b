/** Whether a provider can be reached with its key: one small request for its list of models. */
import { baseUrlOf, type ProviderConfig } from './provider.ts'

/** What a probe found. */
export interface Probed {
  readonly ok: boolean
  /** For a person. */
  readonly detail: string
}

/** Asks the provider for its models. Never throws: what went wrong is the answer. */
export async function probeProvider(config: ProviderConfig, signal: AbortSignal): Promise<Probed> {
  const base = baseUrlOf(config)
  if (base === undefined) return { ok: false, detail: 'has no baseURL' }
  if (config.apiKey === undefined && config.kind !== 'openai-compatible') return { ok: false, detail: 'has no key' }
  try {
    const response = await fetch(`${base.replace(/\/+$/, '')}/models`, { headers: headersOf(config), signal, redirect: 'manual' })
    await response.body?.cancel()
    if (response.ok) return { ok: true, detail: `answers at ${base}` }
    if (response.status === 401 || response.status === 403) return { ok: false, detail: `refuses the key (${response.status} from ${base})` }
    return { ok: false, detail: `answered ${response.status} at ${base}` }
  } catch {
    return { ok: false, detail: `cannot be reached at ${base}` }
  }
}

function headersOf({ kind, apiKey }: ProviderConfig): Record<string, string> {
  if (apiKey === undefined) return {}
  if (kind === 'anthropic') return { 'x-api-key': apiKey, 'anthropic-version': '2023-06-01' }
  if (kind === 'google') return { 'x-goog-api-key': apiKey }
  return { authorization: `Bearer ${apiKey}` }
}
