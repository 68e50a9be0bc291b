/** A client that costs little: kept connections, no parsing beyond what is asked. */
import { Agent, request, type IncomingMessage } from 'node:http'

const agent = new Agent({ keepAlive: true, maxSockets: 4096, scheduling: 'lifo' })

/** Sends a request and resolves with the answer's head. */
export function open(url: string, method = 'GET', body?: string, kept: Agent = agent): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
    const sent = request(url, { method, agent: kept, headers }, resolve)
    sent.on('error', reject)
    sent.end(body)
  })
}

/** Sends a request and reads the whole answer as JSON. @throws for a status above 299 */
export async function json<T>(url: string, method = 'GET', body?: object): Promise<T> {
  const response = await open(url, method, body === undefined ? undefined : JSON.stringify(body))
  const chunks: Buffer[] = []
  for await (const chunk of response) chunks.push(chunk as Buffer)
  const text = Buffer.concat(chunks).toString()
  if ((response.statusCode ?? 0) > 299) throw new Error(`${method} ${url} answered ${response.statusCode}: ${text}`)
  return JSON.parse(text) as T
}

/** Makes a session and answers its id. */
export async function newSession(base: string): Promise<string> {
  return (await json<{ id: string }>(`${base}/v1/sessions`, 'POST', { title: 'bench' })).id
}

/** Says something in a session. */
export function say(base: string, session: string, content: string): Promise<{ run_id: string; position: number }> {
  return json(`${base}/v1/sessions/${session}/messages`, 'POST', { message: { role: 'user', content } })
}
