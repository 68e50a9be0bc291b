/** An agent of one's own: collects changes, writes notes, asks a person, publishes. Each step notes in a ledger outside that it ran. */
import { appendFile } from 'node:fs/promises'
import { StepInterrupted, defineAgent } from '../../src/index.ts'

const NOTES = 'Version 2 is faster, smaller and it keeps what you typed.'.split(' ')
/** What the steps really did, whatever happened to the process. */
const did = (what: string) => appendFile(process.env['LEDGER'] ?? 'ledger.txt', `${what}\n`)
const moment = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

export default defineAgent({
  name: 'release',
  async run(ctx) {
    // Looking may be done again, so a crash in it costs nothing but time.
    const changes = await ctx.step('collect', { repeatable: true }, async () => {
      await did('collect')
      return ['faster', 'smaller', 'keeps what you typed']
    })

    // What a step emits is seen as it comes, and is a message when the step has its result.
    await ctx.step('draft', { repeatable: true, input: changes }, async ({ emit, attempt }) => {
      await did(`draft, try ${attempt}`)
      for (const [index, word] of NOTES.entries()) {
        await emit(index === 0 ? word : ` ${word}`)
        await moment(50)
      }
    })

    const { action, by } = await ctx.approve('may publish', { name: 'publish', arguments: { version: 2, changes }, reason: 'Shall I publish this?' })
    if (action !== 'accept') return 'I did not publish it.'

    try {
      // Publishing twice would hurt: this is never done again when it is unknown whether it was done.
      await ctx.step('publish', () => did('publish'))
    } catch (error) {
      if (error instanceof StepInterrupted) return 'The server stopped while I published: please look whether it is out.'
      throw error
    }
    return `Published, as ${by} said.`
  },
})
