/**
 * What an idle reader of an event stream holds in the server. A process of its own, so that it can collect its garbage before it looks.
 * Arguments: `ours` or `floor`, and how many readers. Prints bytes of resident memory per reader.
 */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Server } from '../../src/server.ts'
import { newSession } from './http.ts'
import { newFolder, remove } from './log.ts'

const [side, count] = [process.argv[2], Number(process.argv[3])]
const collect = (globalThis as { gc?: () => void }).gc
if (collect === undefined) throw new Error('start this with --expose-gc')

const url = side === 'ours' ? await ours() : await floor()
// The first readers pay for code and pools.
const warm = await readers(count)
warm.kill()
const before = await settled()
const child = await readers(count)
console.log(((await settled()) - before) / count)
child.kill()
process.exit(0)

async function ours(): Promise<string> {
  const folder = newFolder()
  process.on('exit', () => remove(folder))
  const server = new Server({ port: 0, data: folder, models: { discover: false } })
  await server.start()
  return `${server.url}/v1/sessions/${await newSession(server.url)}/events`
}

async function floor(): Promise<string> {
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(': hello\n\n')
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
}

/** Another process that opens readers and keeps them. */
async function readers(wanted: number) {
  const opener = fork(fileURLToPath(new URL('./open-readers.ts', import.meta.url)), [url, String(wanted)])
  await once(opener, 'message')
  return opener
}

async function settled(): Promise<number> {
  await pause(500)
  collect?.()
  collect?.()
  await pause(100)
  return process.memoryUsage.rss()
}
