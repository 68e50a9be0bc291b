/** What model calls used, in tokens. */
export interface Usage {
  readonly inputTokens: number
  readonly outputTokens: number
  readonly totalTokens: number
  readonly cachedInputTokens?: number
  readonly cacheWriteTokens?: number
  readonly reasoningTokens?: number
  /** US dollars by the catalogue's prices; absent when the model's prices are unknown. */
  readonly cost?: number
}

/** Usage before any call. */
export const NO_USAGE: Usage = { inputTokens: 0, outputTokens: 0, totalTokens: 0 }

/** The sum of two usages; a detail is present where either side has it. */
export function addUsage(a: Usage, b: Usage): Usage {
  const detail = (key: 'cachedInputTokens' | 'cacheWriteTokens' | 'reasoningTokens' | 'cost') =>
    a[key] === undefined && b[key] === undefined ? {} : { [key]: (a[key] ?? 0) + (b[key] ?? 0) }
  return {
    inputTokens: a.inputTokens + b.inputTokens,
    outputTokens: a.outputTokens + b.outputTokens,
    totalTokens: a.totalTokens + b.totalTokens,
    ...detail('cachedInputTokens'),
    ...detail('cacheWriteTokens'),
    ...detail('reasoningTokens'),
    ...detail('cost'),
  }
}
