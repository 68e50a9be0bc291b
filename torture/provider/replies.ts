/** How a provider answers wrongly. */
import type { ServerResponse } from 'node:http'
import { errorBody, refuse, type FakeReply } from '../../test/support/fake-provider.ts'
import { eventsOf, type FakeAnswer, type FakeWire } from '../../test/support/fake-wire.ts'

/** One way to fail. */
export interface Fault {
  readonly name: string
  /** How request `n` of the run (from 1) is answered; `undefined` is an answer in good order. */
  readonly reply: (n: number, wire: FakeWire) => FakeReply | undefined
  /** How the run ends: `completed`, or a code; one of several where it depends on how quick the machine is. */
  readonly ends: string | readonly string[]
  /** Requests that the run makes, where that is documented. */
  readonly requests?: number
  /** Calls that the tool must have seen. */
  readonly runs?: number
  /** What the assistant's last message says. */
  readonly text?: string
}

/** An answer of two pieces. */
export const HELLO: FakeAnswer = { blocks: [{ text: ['Hel', 'lo'] }] }
/** Events of each wire up to and with the first text. */
export const UP_TO_TEXT = { openai: 4, 'openai-compatible': 2, anthropic: 4, google: 1 } as const
/** Head of a stream. */
export const SSE = { 'content-type': 'text/event-stream' }

/** These very bytes, then the end of the answer, a reset, or nothing more. */
export const raw =
  (bytes: string | Buffer, then: 'end' | 'cut' | 'silence' = 'end', headers: Readonly<Record<string, string>> = SSE): FakeReply =>
  (response) => {
    response.writeHead(200, headers)
    if (then === 'cut') response.write(bytes, () => response.socket?.resetAndDestroy())
    else if (then === 'silence') response.write(bytes)
    else response.end(bytes)
  }
/** What is no answer of HTTP at all. */
export const unframed =
  (bytes: string): FakeReply =>
  (response) =>
    void response.socket?.end(bytes)
/** Sends `head`, then `piece` until nobody takes it. */
export const endless =
  (head: string, piece: string): FakeReply =>
  (response: ServerResponse) => {
    response.writeHead(200, SSE)
    response.write(head)
    const more = () => {
      while (!response.destroyed && response.write(piece));
    }
    response.on('drain', more)
    more()
  }
/** Sends `piece` every `everyMs` until nobody takes it. */
export const dripping =
  (piece: string, everyMs: number, pieces = Infinity): FakeReply =>
  (response) => {
    response.writeHead(200, SSE)
    let left = pieces
    const timer = setInterval(() => {
      if (response.destroyed || left-- <= 0) {
        clearInterval(timer)
        response.end()
      } else response.write(piece)
    }, everyMs)
  }
/** One event of a stream. */
export const frame = (event: object | string) =>
  `${typeof event === 'object' && 'type' in event ? `event: ${String(event.type)}\n` : ''}data: ${typeof event === 'string' ? event : JSON.stringify(event)}\n\n`
/** A whole answer as its bytes. */
export const text = (wire: FakeWire, answer: FakeAnswer) => eventsOf(wire, answer).map(frame).join('')
/** One piece of chat completions. */
export const chunk = (delta: unknown, finish: unknown = null) =>
  frame({ id: 'c', object: 'chat.completion.chunk', created: 0, model: 'm', choices: [{ index: 0, delta, finish_reason: finish }] })
/** The last line of chat completions. */
export const DONE = 'data: [DONE]\n\n'
/** A call of the tool under torture. */
export const note = (id: string, n: number | string = 1) => ({ call: id, name: 'note', input: [JSON.stringify({ n })] })
/** A piece with calls in it. */
export const callDelta = (calls: unknown) => chunk({ tool_calls: calls })
/** Bytes in pieces of `size`. */
export const inPieces = (bytes: Buffer, size: number): FakeReply => {
  return (response) => {
    response.writeHead(200, SSE)
    let at = 0
    const more = () => {
      if (at >= bytes.length) return response.end()
      response.write(bytes.subarray(at, (at += size)))
      setImmediate(more)
    }
    more()
  }
}

/** Fails `times` times, then is well. */
export const first =
  (times: number, reply: FakeReply): Fault['reply'] =>
  (n) =>
    n > times ? undefined : reply
/** The same in the words of each wire. */
export const firstBy =
  (times: number, reply: (wire: FakeWire) => FakeReply): Fault['reply'] =>
  (n, wire) =>
    n > times ? undefined : reply(wire)

/** A refusal with a status, in the shape of each wire. */
export const status =
  (code: number, headers: Readonly<Record<string, string>> = {}) =>
  (wire: FakeWire): FakeReply =>
    refuse(code, errorBody(wire, `status ${code}`), headers)
