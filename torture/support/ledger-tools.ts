/** Tools of the harness' own, loaded by the server under torture: each writes to the ledger before it acts and when it has. */
import { appendFileSync } from 'node:fs'
import { z } from 'zod'
import { defineTool } from '../../src/index.ts'

const LEDGER = process.env['TORTURE_LEDGER'] ?? '/dev/null'

const input = z.object({ ms: z.int().min(0).max(60_000) })

function ledgerTool(name: string, how: { readonly safe: boolean; readonly readOnly?: boolean }) {
  return defineTool({
    name,
    description: `Writes to the ledger, waits, and answers. ${how.safe ? 'May be repeated.' : 'Must not be repeated.'}`,
    input,
    ...how,
    async run({ ms }, context) {
      const { toolCallId, signal } = context
      const write = (at: string) => appendFileSync(LEDGER, `${JSON.stringify({ call: toolCallId, tool: name, at })}\n`)
      write('begin')
      context.progress(`${name} works`)
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms)
        signal.addEventListener('abort', () => {
          clearTimeout(timer)
          resolve()
        })
      })
      write('end')
      return `ok ${toolCallId}`
    },
  })
}

/** `look` and `note` may be repeated, `pay` and `launch` must not be; `launch` is to be allowed by a person. */
export default [
  ledgerTool('look', { safe: true, readOnly: true }),
  ledgerTool('note', { safe: true }),
  ledgerTool('pay', { safe: false }),
  ledgerTool('launch', { safe: false }),
]
