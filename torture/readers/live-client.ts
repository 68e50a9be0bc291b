/**
 * A client in good order, in a thread of its own so that it measures the server and not the readers beside it: one command after the other until it is
 * told to stop; then it posts how long each took, and what was not acknowledged.
 */
import { setTimeout as pause } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { ask } from '../../test/support/http.ts'

/** Pause between two commands, in ms. */
const COMMAND_EVERY_MS = 15

const { url } = workerData as { readonly url: string }
const latencies: number[] = []
const lost: string[] = []
let over = false
parentPort?.once('message', () => (over = true))
const { json } = await ask(url, 'POST', '/v1/sessions', { title: 'live' })
while (!over) {
  const before = performance.now()
  const answer = await ask(url, 'PATCH', `/v1/sessions/${json.id}`, { title: `live ${latencies.length}` })
  latencies.push(performance.now() - before)
  if (answer.status !== 200) lost.push(`a live command was answered ${answer.status} ${answer.text.slice(0, 200)}`)
  await pause(COMMAND_EVERY_MS)
}
parentPort?.postMessage({ latencies, lost })
