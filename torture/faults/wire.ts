/** The few requests that the parts about faults from outside make. */
import { json } from '../../bench/support/http.ts'
import { eventually } from '../support/wait.ts'
import { nameOf, type Shown } from './log-check.ts'

/** All events of a session up to its head of now. */
export async function logOf(url: string, id: string, signal?: AbortSignal): Promise<readonly Shown[]> {
  const { position } = await json<{ position: number }>(`${url}/v1/sessions/${id}`)
  const stop = new AbortController()
  const response = await fetch(`${url}/v1/sessions/${id}/events?after=0&events=all`, {
    signal: signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]),
  })
  const log: Shown[] = []
  let text = ''
  const decoder = new TextDecoder()
  for await (const chunk of response.body as ReadableStream<Uint8Array>) {
    text += decoder.decode(chunk, { stream: true })
    for (let end = text.indexOf('\n\n'); end !== -1; end = text.indexOf('\n\n')) {
      const data = /^data: (.*)$/m.exec(text.slice(0, end))?.[1]
      text = text.slice(end + 2)
      if (data !== undefined) log.push(JSON.parse(data) as Shown)
    }
    if (log.length >= position) break
  }
  stop.abort()
  return log
}

/** Resolves when `runs` runs of a session have ended. */
export async function runsEnded(url: string, id: string, runs: number, ms: number): Promise<void> {
  await eventually(ms, `the end of run ${runs}`, async () => {
    const { session } = await json<{ session: { run_status: { state: string } } }>(`${url}/v1/sessions/${id}`)
    if (session.run_status.state !== 'idle' && session.run_status.state !== 'failed') return undefined
    const log = await logOf(url, id)
    return log.filter((shown) => ['RunCompleted', 'RunError'].includes(nameOf(shown))).length >= runs ? true : undefined
  })
}
