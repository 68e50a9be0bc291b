/** Whatever comes over a socket is answered once, in the published shape, and the socket goes on (P13). `CONVOKE_FUZZ_SEED` repeats a run. */
import fc from 'fast-check'
import { expect, onTestFinished, test } from 'vitest'
import { ask } from '../support/http.ts'
import { anyJson, anyText, faultsOf, mutated, valuesOf, type Document } from '../support/openapi.ts'
import { startTestServer } from '../support/server.ts'
import { openSocket, type SocketText } from '../support/socket.ts'

const SEED = Number(process.env['CONVOKE_FUZZ_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const FRAMES = 2000
/** Frames of one socket: no more than it takes at once. */
const AT_ONCE = 50

const isAnswer = (type: unknown) => type === 'ack' || type === 'error'

test(`${FRAMES} random frames are each answered once (seed ${SEED})`, { timeout: 60_000 }, async () => {
  const server = await startTestServer()
  onTestFinished(() => server.close())
  const failures: unknown[] = []
  server.server.on('error', (error) => failures.push(error))
  const document = (await ask(server.url, 'GET', '/v1/openapi.json')).json as Document
  const session = (await ask(server.url, 'POST', '/v1/sessions', { title: 'x' })).json.id
  const run = (await ask(server.url, 'POST', `/v1/sessions/${session}/messages`, { message: { role: 'user', content: 'run true' } })).json.run_id

  const texts = (name: string) => {
    if (name === 'run_id') return fc.constantFrom(run, '01900000-0000-7000-8000-ffffffffffff')
    if (name === 'key' || name === 'tool_call_id') return fc.oneof(fc.constantFrom('demo_1_1', 'demo_2_1', '__proto__'), anyText)
    return name === 'role' ? fc.constant('user') : undefined
  }
  const valid = valuesOf(document, { $ref: '#/components/schemas/SocketCommand' }, texts)
  const frame = fc.oneof(
    { weight: 3, arbitrary: valid.map((value) => JSON.stringify(value)) },
    { weight: 5, arbitrary: valid.chain((value) => mutated(value)).map((value) => JSON.stringify(value) ?? '') },
    { weight: 1, arbitrary: anyJson.map((value) => JSON.stringify(value)) },
    { weight: 1, arbitrary: anyText },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 40 }).map((bytes) => Buffer.from(bytes)) },
  )
  const frames = fc.sample(frame, { seed: SEED, numRuns: FRAMES })
  const all: SocketText[] = []
  for (let sent = 0; sent < frames.length; sent += AT_ONCE) {
    const one = await openSocket(server.url, `/v1/sessions/${session}/ws`)
    const batch = frames.slice(sent, sent + AT_ONCE)
    for (const text of batch) one.say(text)
    let answers = 0
    await one.until(({ type }) => isAnswer(type) && ++answers === batch.length)
    expect(await one.command({ type: 'resume', after: 0 })).toMatchObject({ type: 'ack', position: 0 })
    expect(one.messages.filter(({ type }) => isAnswer(type))).toHaveLength(batch.length + 1)
    all.push(...one.messages)
    one.socket.close()
    await one.closed
  }
  const faults = all.flatMap((message) => faultsOf(document, { $ref: '#/components/schemas/SocketMessage' }, message))
  expect(faults.slice(0, 5), `CONVOKE_FUZZ_SEED=${SEED}`).toEqual([])
  const codes = Map.groupBy(
    all.filter(({ type }) => isAnswer(type)),
    ({ type, code }) => (type === 'ack' ? 'ack' : code),
  )
  expect([codes.has('internal_error'), failures]).toEqual([false, []])
  // Answers of only one kind would prove nothing.
  for (const kind of ['ack', 'invalid_json', 'invalid_body', 'invalid_request', 'run_mismatch']) expect(codes.get(kind)?.length ?? 0, kind).toBeGreaterThan(5)
})
