/** Says of an answer that it is an earlier one's. */
export function replayHeaders(result: { readonly replayed: boolean }): Record<string, string> {
  return result.replayed ? { 'idempotency-replayed': 'true' } : {}
}
