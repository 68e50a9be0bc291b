/** A provider of many models on a free port: each model's name says how it fails. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { say } from '../../test/support/fake-provider.ts'
import type { FakeWire } from '../../test/support/fake-wire.ts'
import type { Fault } from './replies.ts'

/** What a message says that is to be answered in good order, whatever the model's fault. */
export const NEXT = 'next please'

/** A model under torture. */
export interface FaultyModel {
  readonly wire: FakeWire
  readonly fault: Fault
  /** Requests so far, without those of `NEXT`. */
  requests: number
  /** The last request of `NEXT`, as it came. */
  next?: string
  /** Told of each request. */
  onRequest?: () => void
}

/** The provider. */
export interface ModelServer {
  readonly url: string
  readonly models: Map<string, FaultyModel>
  close(): Promise<void>
}

/** Starts it. */
export async function startModelServer(): Promise<ModelServer> {
  const models = new Map<string, FaultyModel>()
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    response.on('error', () => undefined)
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('error', () => undefined)
    request.on('end', () => {
      const body = Buffer.concat(chunks).toString()
      const name = /models\/([^:]+):/.exec(request.url ?? '')?.[1] ?? (JSON.parse(body) as { readonly model: string }).model
      const model = models.get(name)
      if (model === undefined) return void response.writeHead(404).end()
      if (body.includes(NEXT)) {
        model.next = body
        return say(model.wire, { blocks: [{ text: ['well'] }] })(response)
      }
      model.requests++
      const reply = model.fault.reply(model.requests, model.wire) ?? say(model.wire, { blocks: [{ text: ['fi', 'ne'] }] })
      reply(response)
      model.onRequest?.()
    })
  })
  server.on('clientError', (_error, socket) => socket.destroy())
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    models,
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
