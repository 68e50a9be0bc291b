/** A server inside a program: start it, talk to it, stop it. */
import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClient } from '../../src/client/index.ts'
import { Server } from '../../src/index.ts'

const data = await mkdtemp(join(tmpdir(), 'convoke-example-'))
const server = new Server({ port: 0, data, models: { default: 'demo/convoke', demoPaceMs: 0, discover: false } })
const created: string[] = []
server.on('session_created', ({ id }) => void created.push(id))
try {
  await server.start()
  console.log(`listening on ${server.url}`)
  const client = createClient({ url: server.url })

  const session = await client.createSession({ title: 'embedded' })
  assert.deepEqual(created, [session.id])

  const { run_id } = await client.sendMessage(session.id, 'hello from a program')
  // `after: 0` is the beginning of the session, so it does not matter whether the run has ended meanwhile.
  for await (const event of client.events(session.id, { after: 0, untilRunEnd: true })) {
    if (event.name === 'text_delta') process.stdout.write(String(event.payload['delta']))
    if (event.name === 'run_completed') assert.equal(event.runId, run_id)
    assert.notEqual(event.name, 'run_error')
  }
  process.stdout.write('\n')

  // Who has seen the end of a run may read its messages at once: both were written in one transaction.
  const { messages } = await client.listMessages(session.id)
  assert.deepEqual(
    messages.map((message) => message.role),
    ['user', 'assistant'],
  )
  assert.deepEqual(messages[1]?.content, [{ type: 'text', text: 'This is the demo model of Convoke, not a real one. You said: hello from a program' }])
} finally {
  await server.stop()
  await rm(data, { recursive: true, force: true })
}
console.log('stopped')
