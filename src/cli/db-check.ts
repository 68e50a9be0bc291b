/** `convoke db check`. */
import { checkLog } from '../storage/sqlite/maintenance/check.ts'
import { requireWholeLog } from '../storage/sqlite/maintenance/open.ts'
import { logOf, type DataFlags } from './data.ts'
import { clean } from './render.ts'

/** Looks whether the log is sound; one line per finding. Exit code 1 if it is not. */
export async function checkDb(flags: DataFlags & { readonly json?: boolean }): Promise<number> {
  const write = (value: object, text: string) => process.stdout.write(flags.json === true ? `${JSON.stringify(value)}\n` : `${text}\n`)
  const where = await logOf(flags)
  await requireWholeLog(where.folder)
  const totals = checkLog(where, (finding) => {
    const { session, text } = finding
    write({ finding }, `FAIL  ${session === undefined ? '' : `session ${session}: `}${clean(text).replaceAll('\n', ' ')}`)
  })
  const { findings, sessions, events, batches, idempotency, damaged, unknown } = totals
  const looked = `${sessions} sessions, ${events} events in ${batches} batches, ${idempotency} idempotency keys`
  const newer = unknown === 0 ? '' : `; ${unknown} events are of types that this version does not know`
  const verdict = findings === 0 ? 'ok    the log is sound' : `FAIL  findings: ${findings}, damaged events: ${damaged}`
  write({ totals }, `${verdict}: ${looked}${newer}`)
  return findings === 0 ? 0 : 1
}
