import type { CommandResult } from '../../command/service.ts'

/** Says of an answer that it is an earlier one's. */
export function replayHeaders(result: CommandResult): Record<string, string> {
  return result.replayed ? { 'idempotency-replayed': 'true' } : {}
}
