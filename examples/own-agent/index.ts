/** An own agent in a server that is killed twice, with SIGKILL, in the middle: the answer is whole, and no step ran twice that may not. */
import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { createClient } from '../../src/client/index.ts'

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url))
const folder = await mkdtemp(join(tmpdir(), 'convoke-example-'))
const ledger = join(folder, 'ledger.txt')
const config = join(folder, 'convoke.config.json')
await writeFile(config, JSON.stringify({ data: join(folder, 'data'), agents: [here('agent.ts')], models: { discover: false } }))

/** Starts the server as a process of its own. */
async function serve(port: number): Promise<{ readonly child: ChildProcess; readonly url: string }> {
  const child = spawn(process.execPath, [here('../../bin/convoke.js'), 'serve', '--json', '--config', config, '--port', String(port)], {
    env: { ...process.env, LEDGER: ledger },
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  for await (const line of createInterface({ input: child.stdout })) {
    if (line.startsWith('{"listening"')) return { child, url: (JSON.parse(line) as { readonly listening: string }).listening }
  }
  throw new Error('the server did not start')
}

let server = await serve(0)
const { url } = server

/** `kill -9`, and another process in its place. */
async function killAndRestart(): Promise<void> {
  server.child.kill('SIGKILL')
  await once(server.child, 'exit')
  console.log('\n-- killed; starting again')
  server = await serve(Number(new URL(url).port))
}

try {
  const client = createClient({ url })
  const session = await client.createSession({ title: 'a release', agent: 'release' })
  await client.sendMessage(session.id, 'publish version 2')

  const kills = new Set<string>()
  const positions: number[] = []
  let shown: { readonly position: number; readonly text: string }[] = []
  // The client reconnects by itself, and goes on behind the last event that it saw.
  for await (const event of client.events(session.id, { after: 0, all: true, untilRunEnd: true })) {
    positions.push(event.position)
    const { payload } = event
    if (event.name === 'text_delta') {
      process.stdout.write(String(payload['delta']))
      shown.push({ position: event.position, text: String(payload['delta']) })
      if (shown.length === 4 && !kills.has('draft')) {
        kills.add('draft')
        await killAndRestart()
      }
    }
    // What the dead process had said of its draft does not count: it is written again, from the beginning.
    if (event.name === 'retry_attempt') shown = shown.filter(({ position }) => position < Number(payload['superseded_from']))
    if (event.name === 'waiting_for_tool_approval') {
      kills.add('question')
      await killAndRestart()
      await answer(session.id)
    }
    if (event.name === 'text_complete') process.stdout.write('\n')
    assert.notEqual(event.name, 'run_error')
  }

  assert.deepEqual([...kills], ['draft', 'question'])
  assert.deepEqual(
    positions,
    positions.map((_, index) => index + 1),
  )
  const text = 'Version 2 is faster, smaller and it keeps what you typed.Shall I publish this?Published, as local said.'
  assert.equal(shown.map((piece) => piece.text).join(''), text)
  const { messages } = await client.listMessages(session.id)
  assert.deepEqual(
    messages.map(({ role }) => role),
    ['user', 'assistant', 'assistant', 'tool', 'assistant'],
  )
  const done = (await readFile(ledger, 'utf8')).trim().split('\n')
  assert.deepEqual(done, ['collect', 'draft, try 1', 'draft, try 2', 'publish'])
  console.log(`-- killed twice; steps that ran: ${done.join('; ')}`)

  /** The question outlived the process that asked it. */
  async function answer(id: string): Promise<void> {
    const { run_id, tool_calls } = await client.pendingTools(id)
    const [call] = tool_calls
    assert.ok(run_id !== null && call !== undefined)
    console.log(`-- allowing ${call.name} ${JSON.stringify(call.arguments)}`)
    await client.decide(id, run_id, { [call.id]: { action: 'accept' } })
  }
} finally {
  server.child.kill('SIGKILL')
  await rm(folder, { recursive: true, force: true, maxRetries: 5 })
}
