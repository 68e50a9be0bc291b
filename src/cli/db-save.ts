/** `convoke db backup`, `restore` and `compact`. */
import { backUp } from '../storage/sqlite/maintenance/backup.ts'
import { compact } from '../storage/sqlite/maintenance/compact.ts'
import { restore } from '../storage/sqlite/maintenance/restore.ts'
import { systemClock } from '../system/clock.ts'
import { systemRandom } from '../system/random.ts'
import { logOf, type DataFlags } from './data.ts'

/** Saves the log to one file. */
export async function backupDb(target: string, flags: DataFlags & { readonly force?: boolean }): Promise<number> {
  const { sessions, events, outputs, bytes } = await backUp(await logOf(flags), target, flags)
  process.stdout.write(`saved to ${target}: ${sessions} sessions, ${events} events, ${outputs} output files, ${bytes} bytes\n`)
  return 0
}

/** Makes the log of a backup the log of the data folder. */
export async function restoreDb(source: string, flags: DataFlags & { readonly force?: boolean; readonly damaged?: boolean }): Promise<number> {
  const where = await logOf(flags)
  const stamp = new Date(systemClock.nowMs()).toISOString().replaceAll(/[:.]/g, '-')
  const report = ({ session, text }: { readonly session?: string; readonly text: string }) =>
    void process.stderr.write(`FAIL  ${session === undefined ? '' : `session ${session}: `}${text}\n`)
  const { sessions, events, outputs, kept, logId } = await restore(where, source, { ...flags, stamp, newLogId: systemRandom.uuid(), report })
  process.stdout.write(`restored to ${where.folder}: ${sessions} sessions, ${events} events, ${outputs} output files; new log id ${logId}\n`)
  if (kept !== undefined) process.stdout.write(`what was there is kept in ${kept}\n`)
  return 0
}

/** Writes the log anew without what was removed from it. */
export async function compactDb(flags: DataFlags): Promise<number> {
  const { folder } = await logOf(flags)
  const { pruned, bytesBefore, bytesAfter } = await compact(folder, systemClock.nowMs())
  process.stdout.write(`compacted ${folder}: ${bytesBefore} bytes before, ${bytesAfter} after; ${pruned} old idempotency keys forgotten\n`)
  return 0
}
