/** Follow a session through a broken connection, and allow a tool call on the way: each event comes once, in order. */
import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClient } from '../../src/client/index.ts'
import { Server } from '../../src/index.ts'

/** Bytes of an event stream after which its connection breaks, once. */
const BREAK_AFTER_BYTES = 1000

const folder = await mkdtemp(join(tmpdir(), 'convoke-example-'))
const workspace = join(folder, 'workspace')
await mkdir(workspace)
const server = new Server({ port: 0, data: join(folder, 'data'), models: { default: 'demo/convoke', demoPaceMs: 5, discover: false } })
try {
  await server.start()
  const client = createClient({ url: server.url, fetch: breaksOnce(fetch) })
  const session = await client.createSession({ title: 'followed', cwd: workspace })
  await client.sendMessage(session.id, 'write notes.txt: remember the milk')

  const positions: number[] = []
  const texts: string[] = []
  let reconnects = 0
  let end: string | undefined
  // `all` sends every stored event, so that a hole would show.
  for await (const event of client.events(session.id, { after: 0, all: true, untilRunEnd: true, onReconnect: () => void reconnects++ })) {
    positions.push(event.position)
    if (event.name === 'text_complete') texts.push(String(event.payload['text']))
    if (event.name === 'waiting_for_tool_approval') await allowAll(session.id)
    end = event.name
  }
  console.log(texts.join('\n'))

  assert.equal(end, 'run_completed')
  assert.equal(reconnects, 1)
  assert.deepEqual(
    positions,
    positions.map((_, index) => index + 1),
  )
  assert.equal(texts[0], 'I will use write.')
  assert.equal(await readFile(join(workspace, 'notes.txt'), 'utf8'), 'remember the milk\n')
  console.log(`${positions.length} events, each once, over ${reconnects + 1} connections`)

  async function allowAll(id: string): Promise<void> {
    const { run_id, tool_calls } = await client.pendingTools(id)
    // Nothing waits any more where somebody else was faster.
    if (run_id === null) return
    for (const call of tool_calls) console.log(`allowing ${call.name} ${JSON.stringify(call.arguments)}`)
    await client.decide(id, run_id, Object.fromEntries(tool_calls.map((call) => [call.id, { action: 'accept' as const }])))
  }
} finally {
  await server.stop()
  await rm(folder, { recursive: true, force: true })
}

/** A `fetch` whose first event stream breaks in the middle, as a network does. A program of your own leaves this out. */
function breaksOnce(real: typeof fetch): typeof fetch {
  let broken = false
  return async (input, init) => {
    const response = await real(input, init)
    if (broken || response.body === null || response.headers.get('content-type')?.startsWith('text/event-stream') !== true) return response
    broken = true
    let bytes = 0
    const breaking = new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        bytes += chunk.length
        if (bytes > BREAK_AFTER_BYTES) controller.error(new TypeError('the connection broke'))
        else controller.enqueue(chunk)
      },
    })
    return new Response(response.body.pipeThrough(breaking), response)
  }
}
