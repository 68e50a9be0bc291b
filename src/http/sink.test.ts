import { createServer, get, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'
import { responseSink } from './sink.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const turn = () => new Promise<void>((resolve) => setImmediate(resolve))

/** A response whose head is sent, and the peer that gets it. */
async function connected() {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => server.closeAllConnections())
  onTestFinished(() => void server.close())
  const response = new Promise<ServerResponse>((resolve) =>
    server.once('request', (_request, answer) => {
      answer.writeHead(200).flushHeaders()
      resolve(answer)
    }),
  )
  const peer = await new Promise<IncomingMessage>((resolve) => get({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', agent: false }, resolve))
  peer.on('error', () => undefined)
  return { response: await response, peer }
}
const textOf = async (peer: IncomingMessage) => {
  let text = ''
  for await (const chunk of peer.setEncoding('utf8')) text += chunk
  return text
}

describe('what is written', () => {
  test('in one turn of the loop waits for its end, and then goes out together, in order', async () => {
    const { response, peer } = await connected()
    const sink = responseSink(response)
    const text = textOf(peer)
    const before = response.socket?.bytesWritten ?? 0
    for (let count = 0; count < 50; count++) sink.write(bytes(`${count} `))
    expect(response.socket?.bytesWritten).toBe(before)
    await turn()
    expect(response.socket?.bytesWritten).toBeGreaterThan(before + 140)
    sink.end()
    expect(await text).toBe(Array.from({ length: 50 }, (_, index) => `${index} `).join(''))
  })

  test('right before the end is not lost', async () => {
    const { response, peer } = await connected()
    const sink = responseSink(response)
    const text = textOf(peer)
    sink.write(bytes('first '))
    await turn()
    sink.write(bytes('last'))
    sink.end()
    expect(await text).toBe('first last')
  })

  test('is counted until it has left, and the writer is asked to wait while that is much', async () => {
    const { response, peer } = await connected()
    peer.pause()
    const sink = responseSink(response)
    let drains = 0
    const drained = new Promise<void>((resolve) =>
      sink.onDrain(() => {
        drains++
        resolve()
      }),
    )
    expect(sink.write(new Uint8Array(64 * 1024 - 1))).toBe(true)
    expect(sink.buffered()).toBe(64 * 1024 - 1)
    expect(sink.write(new Uint8Array(1))).toBe(false)
    // More than the kernel takes for a peer that does not read.
    for (let count = 0; count < 200; count++) expect(sink.write(new Uint8Array(64 * 1024))).toBe(false)
    expect(sink.buffered()).toBe(201 * 64 * 1024)
    await turn()
    expect([sink.buffered() > 0, drains]).toEqual([true, 0])
    peer.resume()
    await drained
    expect([sink.buffered(), drains]).toEqual([0, 1])
    expect(sink.write(bytes('again'))).toBe(true)
  })

  test('to a peer that has gone goes nowhere', async () => {
    const { response, peer } = await connected()
    const sink = responseSink(response)
    const gone = new Promise<void>((resolve) => sink.onClose(resolve))
    sink.write(bytes('x'))
    peer.destroy()
    await gone
    expect([sink.write(bytes('y')), sink.buffered()]).toEqual([false, expect.any(Number)])
    await turn()
    sink.end()
  })

  test('behind the end goes nowhere', async () => {
    const { response, peer } = await connected()
    const sink = responseSink(response)
    sink.end()
    expect(sink.write(bytes('x'))).toBe(false)
    expect(await textOf(peer)).toBe('')
  })
})

describe('the end of a sink', () => {
  test('is told once, whoever ended it', async () => {
    for (const ending of ['end', 'destroy'] as const) {
      const { response, peer } = await connected()
      peer.resume()
      const sink = responseSink(response)
      let ends = 0
      const over = new Promise<void>((resolve) =>
        sink.onClose(() => {
          ends++
          resolve()
        }),
      )
      sink[ending]()
      await over
      await turn()
      expect(ends).toBe(1)
    }
  })

  test('that is past is told at once', async () => {
    const { response, peer } = await connected()
    const closed = new Promise((resolve) => response.once('close', resolve))
    peer.destroy()
    await closed
    let told = false
    responseSink(response).onClose(() => (told = true))
    expect(told).toBe(true)
  })
})
