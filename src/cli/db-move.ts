/** `convoke db export` and `import`: one session as a file. */
import { createReadStream } from 'node:fs'
import { exportToFile, exportToStream } from '../storage/sqlite/maintenance/export-to.ts'
import { importSession } from '../storage/sqlite/maintenance/import.ts'
import { systemRandom } from '../system/random.ts'
import { logOf, type DataFlags } from './data.ts'

/** The name that means standard input or output. */
const STANDARD = '-'

/** Writes a session to a file, or to standard output. */
export async function exportDb(
  session: string,
  target: string | undefined,
  flags: DataFlags & { readonly force?: boolean; readonly damaged?: boolean },
): Promise<number> {
  const where = await logOf(flags)
  const missing = (path: string) => void process.stderr.write(`convoke: the output file ${path} is not there, and not in the export\n`)
  const options = { ...flags, missing }
  if (target === undefined || target === STANDARD) {
    await exportToStream(where, session, process.stdout, options)
    return 0
  }
  const bytes = await exportToFile(where, session, target, options)
  process.stdout.write(`exported session ${session} to ${target}: ${bytes} bytes\n`)
  return 0
}

/** Reads a session from a file, or from standard input. */
export async function importDb(source: string, flags: DataFlags & { readonly as?: string; readonly newId?: boolean }): Promise<number> {
  if (flags.as !== undefined && flags.newId === true) throw new Error('--as and --new-id cannot be given together')
  const where = await logOf(flags)
  const as = flags.newId === true ? systemRandom.uuid() : flags.as
  const { session, events, outputs, unfinished } = await importSession(where, source === STANDARD ? process.stdin : createReadStream(source), as)
  process.stdout.write(
    `imported session ${session}: ${events} events, ${outputs} output files${unfinished ? '; its run goes on when the server starts' : ''}\n`,
  )
  return 0
}
