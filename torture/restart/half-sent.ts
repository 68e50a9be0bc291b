/** A command whose sending began before a stop and ends in it: it must be refused as `shutting_down`, and change nothing. */
import { connect } from 'node:net'
import { once } from 'node:events'

/** How long its answer may take, in ms. */
const ANSWER_MS = 5_000

const CONTINUE = 'HTTP/1.1 100 Continue\r\n\r\n'

/** A request that is half sent. */
export interface HalfSent {
  /** Sends the rest; what is wrong with the answer, nothing where it is right. */
  finish(): Promise<readonly string[]>
  drop(): void
}

/** Sends the head of a session's creation. */
export async function sendHalf(url: string, title: string): Promise<HalfSent> {
  const { port, host } = new URL(url)
  const socket = connect(Number(port), '127.0.0.1')
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  const body = JSON.stringify({ title })
  const head = `POST /v1/sessions HTTP/1.1\r\nhost: ${host}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\nexpect: 100-continue\r\n\r\n`
  let answer = ''
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  socket.setEncoding('utf8').on('data', (chunk: string) => (answer += chunk))
  socket.write(head)
  // The server has read the head: from here on the connection is a request's, and no stop may cut it.
  while (!answer.includes(CONTINUE))
    await Promise.race([once(socket, 'data'), closed.then(() => Promise.reject(new Error('the server did not take the head')))])
  answer = answer.replace(CONTINUE, '')
  return {
    async finish() {
      socket.write(body)
      const late = setTimeout(() => socket.destroy(), ANSWER_MS)
      await closed
      clearTimeout(late)
      return judgeAnswer(answer)
    },
    drop: () => void socket.destroy(),
  }
}

/** What is wrong with the raw answer to a command while the server stops. */
export function judgeAnswer(answer: string): readonly string[] {
  const status = /^HTTP\/1\.1 (\d+)/.exec(answer)?.[1]
  const right = status === '503' && answer.includes('"code":"shutting_down"') && /^retry-after: \d+\r$/im.test(answer)
  return right ? [] : [`P14: a command that was sent while the server stopped was answered ${JSON.stringify(answer.slice(0, 300))}`]
}
