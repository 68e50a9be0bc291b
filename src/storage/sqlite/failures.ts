import { ConvokeError } from '../../domain/errors.ts'

/** SQLite's error as ours: `store_failed` where the disk failed, else `store_unknown`. */
export function failureOf(error: unknown): ConvokeError {
  const message = error instanceof Error ? error.message : String(error)
  return new ConvokeError(isDiskFailure(error) ? 'store_failed' : 'store_unknown', `the log could not be written: ${message}`, { cause: error })
}

/** SQLite's codes for an input or output error, a damaged file, and one that is no database. A full disk is none of them: it may have room again. */
const DISK_FAILURES: ReadonlySet<number> = new Set([10, 11, 26])

/** Whether an error of SQLite means that the disk cannot be trusted any more. */
export function isDiskFailure(error: unknown): boolean {
  const code = error instanceof Error && 'errcode' in error ? error.errcode : undefined
  // The low byte is the primary code (sqlite.org/rescode.html).
  return typeof code === 'number' && DISK_FAILURES.has(code & 0xff)
}
