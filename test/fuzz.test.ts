/**
 * Whatever is asked at any documented route is answered as the document says (P13).
 *
 * Requests are made from the document's own schemas and then spoilt. `CONVOKE_FUZZ_SEED` repeats a run, `CONVOKE_FUZZ_REQUESTS` sets its length.
 */
import fc from 'fast-check'
import { Agent, request, type IncomingMessage } from 'node:http'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ask, frames } from './support/http.ts'
import { anyRequest, type FuzzRequest, type Known } from './support/fuzz.ts'
import { faultsOf, operationsOf, type Document, type Operation } from './support/openapi.ts'
import { startTestServer, type TestServer } from './support/server.ts'

const SEED = Number(process.env['CONVOKE_FUZZ_SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const REQUESTS = Number(process.env['CONVOKE_FUZZ_REQUESTS'] ?? 10_000)
/** Connections at once. */
const LANES = 8
const KEY = 'the-key-of-ann'
const ANN = { authorization: `Bearer ${KEY}` }
const BOB = { authorization: 'Bearer the-key-of-bob' }

let server: TestServer
let document: Document
let operations: readonly Operation[]
const serverErrors: unknown[] = []
const agent = new Agent({ keepAlive: true, maxSockets: LANES })

beforeAll(async () => {
  const keys = [
    { user: 'ann', key: KEY },
    { user: 'bob', key: 'the-key-of-bob' },
  ]
  server = await startTestServer({ access: { keys } })
  server.server.on('error', (error) => serverErrors.push(error))
  document = (await ask(server.url, 'GET', '/v1/openapi.json')).json
  operations = operationsOf(document)
})
afterAll(async () => {
  agent.destroy()
  await server.close()
})

/** Sessions in all states, and somebody else's. */
async function prepare(): Promise<Known> {
  const create = async (headers: Record<string, string>) => (await ask(server.url, 'POST', '/v1/sessions', { title: 'known' }, headers)).json.id as string
  const say = (id: string, content: string) => ask(server.url, 'POST', `/v1/sessions/${id}/messages`, { message: { role: 'user', content } }, ANN)
  const [idle, done, foreign, ...waiting] = await Promise.all([create(ANN), create(ANN), create(BOB), create(ANN), create(ANN), create(ANN)])
  const deletable = await Promise.all([create(ANN), create(ANN), create(ANN)])
  const runs = [(await say(done, 'hello')).json.run_id as string]
  await frames(`${server.url}/v1/sessions/${done}/events?after=0&until=run_end`, ANN)
  const calls: string[] = []
  for (const id of waiting) {
    runs.push((await say(id, 'run true and run false')).json.run_id)
    const asked = await frames(`${server.url}/v1/sessions/${id}/events?after=0`, ANN, ({ event }) => event === 'waiting_for_tool_approval')
    calls.push(...asked.at(-1)!.data.event.WaitingForToolApproval.pending_tool_call_ids)
  }
  const page = (await ask(server.url, 'GET', '/v1/sessions?limit=2', undefined, ANN)).json.next_cursor
  const cursors = [page, 'm0', 'm2', 'mzzzzzzzzzz', '0', '3', 'f0.0', 'f0.1', 'f3.1', 'fzzzzzzzzzzz.zzzzzz', '1.01900000-0000-7000-8000-ffffffffffff', '']
  const { agent: name } = (await ask(server.url, 'GET', `/v1/sessions/${idle}`, undefined, ANN)).json.session
  return { key: KEY, origin: server.url, agent: name, sessions: [idle, done, foreign, ...waiting], deletable, runs, calls, cursors }
}

interface Answered {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly text: string
}

/** Sends a request and reads the answer; of a stream that stays open only the first frame. */
function send({ method, target, headers, body }: FuzzRequest): Promise<Answered> {
  return new Promise((resolve, reject) => {
    const { host } = new URL(server.url)
    const sent = request(server.url, { agent, method, path: target, headers: ['host', host, 'connection', 'keep-alive', ...headers] })
    sent.on('error', reject)
    sent.on('response', (response) => {
      let text = ''
      const done = () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text })
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        text += chunk
        if (response.headers['content-type']?.startsWith('text/event-stream') !== true || !text.includes('\n\n')) return
        done()
        sent.destroy()
      })
      response.on('end', done)
      response.on('error', reject)
    })
    sent.end(body)
  })
}

const template = (path: string) => new RegExp(`^${path.replaceAll('.', '\\.').replaceAll(/\{\w+\}/g, '[^/]+')}$`)

/** What is wrong with an answer, by the document. */
function verdict(asked: FuzzRequest, answered: Answered): readonly string[] {
  const path = new URL(`http://localhost${asked.target}`).pathname
  const here = operations.filter((operation) => template(operation.path).test(path))
  const operation = here.find(({ method }) => method === (asked.method === 'HEAD' ? 'GET' : asked.method))
  const faults: string[] = []
  const wrong = (fault: string) => void faults.push(fault)
  const { status, headers, text } = answered
  if (status >= 500) wrong(`the server failed with ${status}: ${text}`)
  if (typeof headers['x-request-id'] !== 'string') wrong('no request id')
  if (operation === undefined) {
    // Refusals that come before anybody looks at the route.
    const early = [400, 403, 413, 431]
    const expected = here.length === 0 ? 404 : 405
    if (status !== expected && !early.includes(status)) wrong(`${status} where nothing is`)
    if (status === 405 && headers.allow === undefined) wrong('405 without Allow')
    if (asked.method !== 'HEAD') faults.push(...problemFaults(answered))
    return faults
  }
  const documented = operation.responses[status]
  if (documented === undefined) return [...faults, `${operation.operationId} does not document ${status}: ${text}`]
  if (asked.method === 'HEAD') return text === '' ? faults : [...faults, 'HEAD with a body']
  if (status >= 400) return [...faults, ...problemFaults(answered, (documented as { description?: string }).description)]
  const [type, content] = Object.entries(documented.content ?? {})[0] ?? []
  if (type === undefined) return text === '' ? faults : [...faults, 'a body where none is documented']
  if (headers['content-type']?.split(';')[0] !== type) wrong(`${headers['content-type']} is not ${type}`)
  if (type === 'text/event-stream' && !/^retry: 2000\n: head \S+\n\n/.test(text)) wrong(`a stream begins with ${text.slice(0, 80)}`)
  return type === 'application/json' ? [...faults, ...faultsOf(document, content?.schema ?? {}, JSON.parse(text))] : faults
}

function problemFaults({ status, headers, text }: Answered, codes?: string): readonly string[] {
  if (headers['content-type'] !== 'application/problem+json') return [`an error of type ${headers['content-type']}: ${text.slice(0, 200)}`]
  const problem = JSON.parse(text)
  const faults = [...faultsOf(document, { $ref: '#/components/schemas/Problem' }, problem)]
  faults.push(...faultsOf(document, { $ref: '#/components/schemas/ErrorCode' }, problem.code))
  if (problem.status !== status) faults.push(`the body says ${problem.status}, the line ${status}`)
  if (problem.request_id !== headers['x-request-id']) faults.push('the request id of the body is another one')
  if (codes !== undefined && !codes.split(', ').includes(problem.code)) faults.push(`${problem.code} is not among the documented ${codes}`)
  return faults
}

const shown = ({ method, target, headers, body }: FuzzRequest) =>
  `${method} ${target.slice(0, 300)}\n${JSON.stringify(headers)}\n${body === undefined ? '' : JSON.stringify(Buffer.from(body).toString('latin1').slice(0, 500))}`

test(`${REQUESTS} random requests are answered as the document says (seed ${SEED})`, { timeout: 60_000 }, async () => {
  const known = await prepare()
  const requests = fc.sample(anyRequest(document, operations, known), { seed: SEED, numRuns: REQUESTS })
  const seen = new Map<string, number>()
  const failures: string[] = []
  let next = 0
  const lane = async () => {
    for (let one = requests[next++]; one !== undefined && failures.length < 5; one = requests[next++]) {
      const asked = one
      try {
        const answered = await send(asked)
        const faults = verdict(asked, answered)
        seen.set(String(answered.status), (seen.get(String(answered.status)) ?? 0) + 1)
        if (faults.length > 0) failures.push(`${faults.join('\n')}\n${shown(asked)}`)
      } catch (error) {
        failures.push(`${String(error)}\n${shown(asked)}`)
      }
    }
  }
  await Promise.all(Array.from({ length: LANES }, lane))
  expect(failures, `CONVOKE_FUZZ_SEED=${SEED}`).toEqual([])
  expect(serverErrors).toEqual([])
  expect((await ask(server.url, 'GET', '/v1/health')).json.status).toBe('ok')
  for (const id of known.sessions.slice(0, 2)) {
    const head = (await ask(server.url, 'GET', `/v1/sessions/${id}`, undefined, ANN)).json.position
    const log = await frames(`${server.url}/v1/sessions/${id}/events?after=0&events=all`, ANN, ({ data }) => data.id === head)
    expect(log.map(({ data }) => data.id)).toEqual(log.map((_, index) => index + 1))
  }
  const foreign = (await ask(server.url, 'GET', `/v1/sessions/${known.sessions[2]}`, undefined, BOB)).json
  expect([foreign.position, foreign.session.title]).toEqual([1, 'known'])
  // A run that was refused at the door every time would prove nothing.
  for (const status of ['200', '201', '204', '400', '401', '404', '405', '409', '415', '422'])
    expect(seen.get(status) ?? 0, status).toBeGreaterThan(REQUESTS / 1000)
})
