/** Facts about well-known models, and each provider's default. Prices are US dollars per million tokens. */
import type { ModelInfo } from '../domain/model.ts'

/** The kinds of provider that can be configured. */
export type ProviderKind = 'anthropic' | 'openai' | 'google' | 'openai-compatible'

/** The model that a provider offers first. */
export const DEFAULT_MODELS: Readonly<Record<Exclude<ProviderKind, 'openai-compatible'>, string>> = {
  anthropic: 'claude-sonnet-4-5',
  openai: 'gpt-5.1',
  google: 'gemini-2.5-pro',
}

type Row = readonly [id: string, name: string, context: number, output: number, input: number, outputPrice: number]

const ROWS: Readonly<Record<Exclude<ProviderKind, 'openai-compatible'>, readonly Row[]>> = {
  anthropic: [
    ['claude-opus-4-5', 'Claude Opus 4.5', 200_000, 64_000, 5, 25],
    ['claude-sonnet-4-5', 'Claude Sonnet 4.5', 200_000, 64_000, 3, 15],
    ['claude-haiku-4-5', 'Claude Haiku 4.5', 200_000, 64_000, 1, 5],
  ],
  openai: [
    ['gpt-5.1', 'GPT-5.1', 400_000, 128_000, 1.25, 10],
    ['gpt-5-mini', 'GPT-5 mini', 400_000, 128_000, 0.25, 2],
  ],
  google: [
    ['gemini-2.5-pro', 'Gemini 2.5 Pro', 1_048_576, 65_536, 1.25, 10],
    ['gemini-2.5-flash', 'Gemini 2.5 Flash', 1_048_576, 65_536, 0.3, 2.5],
  ],
}

/** What the catalogue knows of a provider's models. */
export function catalogOf(kind: ProviderKind, provider: string): readonly ModelInfo[] {
  if (kind === 'openai-compatible') return []
  return ROWS[kind].map(([id, name, context, output, input, outputPrice]) => ({
    id,
    name,
    provider,
    reasoning: true,
    cost: { input, output: outputPrice },
    limit: { context, output },
  }))
}

/** A model of which only the name is known. */
export function unknownModel(provider: string, id: string): ModelInfo {
  return { id, name: id, provider, reasoning: false, limit: { context: 128_000, output: 8_192 } }
}
