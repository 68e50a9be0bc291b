/** `convoke tail`: a session's events as they come. */
import { createClient } from '../client/index.ts'
import { clientSettings } from '../config.ts'
import { Renderer } from './render.ts'

/** Follows until Ctrl-C, or until the end of the run under `--until-end`. */
export async function tail(
  session: string,
  flags: { readonly url?: string; readonly from?: string; readonly json?: boolean; readonly untilEnd?: boolean },
): Promise<number> {
  const { url, key } = clientSettings(process.env)
  const client = createClient({ url: flags.url ?? url, key })
  // `--from N` shows the event at N too.
  const after = flags.from === undefined ? undefined : Math.max(0, Number(flags.from) - 1)
  if (after !== undefined && !Number.isSafeInteger(after)) throw new Error('--from is a position: a whole number')
  const stop = new AbortController()
  process.on('SIGINT', () => stop.abort())
  const renderer = new Renderer({ ansi: process.stdout.isTTY })
  const events = client.events(session, { all: true, signal: stop.signal, untilRunEnd: flags.untilEnd === true, ...(after === undefined ? {} : { after }) })
  for await (const event of events) process.stdout.write(flags.json === true ? `${JSON.stringify(event)}\n` : renderer.render(event))
  return 0
}
