/** Provider packages, each imported when one of its models is first called. */
import type { LanguageModelV4 } from '@ai-sdk/provider'
import { ConvokeError } from '../domain/errors.ts'
import type { ProviderKind } from './catalog.ts'
import { boundedFetch } from './bounds.ts'

/** A provider as it is configured. */
export interface ProviderConfig {
  readonly kind: ProviderKind
  readonly baseURL?: string | undefined
  readonly apiKey?: string | undefined
}

/** Where providers listen. Always said, since the packages would otherwise look into the environment, which `config.ts` alone reads. */
export const BASE_URLS: Readonly<Record<Exclude<ProviderKind, 'openai-compatible'>, string>> = {
  anthropic: 'https://api.anthropic.com/v1',
  openai: 'https://api.openai.com/v1',
  google: 'https://generativelanguage.googleapis.com/v1beta',
}

/** The address of a provider, if it has one. */
export function baseUrlOf(config: ProviderConfig): string | undefined {
  return config.baseURL ?? (config.kind === 'openai-compatible' ? undefined : BASE_URLS[config.kind])
}

/** A maker of the provider's models. */
export type ModelMaker = (id: string) => LanguageModelV4

/**
 * Imports the package of a provider.
 *
 * @throws {ConvokeError} `model_auth` without a key: the package would take one from the environment, which may belong to another address
 */
export async function loadProvider(name: string, config: ProviderConfig): Promise<ModelMaker> {
  if (config.kind !== 'openai-compatible' && config.apiKey === undefined) throw new ConvokeError('model_auth', `the model provider ${name} has no key`)
  const settings = { baseURL: baseUrlOf(config) ?? '', fetch: boundedFetch, ...(config.apiKey === undefined ? {} : { apiKey: config.apiKey }) }
  switch (config.kind) {
    case 'anthropic': {
      const provider = (await import('@ai-sdk/anthropic')).createAnthropic(settings)
      return (id) => provider.languageModel(id)
    }
    case 'openai': {
      const provider = (await import('@ai-sdk/openai')).createOpenAI(settings)
      return (id) => provider.languageModel(id)
    }
    case 'google': {
      const provider = (await import('@ai-sdk/google')).createGoogleGenerativeAI(settings)
      return (id) => provider.languageModel(id)
    }
    case 'openai-compatible': {
      const provider = (await import('@ai-sdk/openai-compatible')).createOpenAICompatible({
        name,
        includeUsage: true,
        ...settings,
      })
      return (id) => provider.languageModel(id)
    }
  }
}
