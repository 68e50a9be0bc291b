/** Following a session over connections that fail in every way that a network has. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { once } from 'node:events'
import { describe, expect, onTestFinished, test } from 'vitest'
import { followEvents, SILENCE_MS, type ClientEvent, type EventsOptions } from './events.ts'
import { PAUSE_MS, PAUSE_MS_MAX, type Connection } from './request.ts'

const SESSION = 'a session'
const LENGTH = 6

/** The frame of the event at `position`, as the server writes it. */
function frame(position: number, last: number = LENGTH): string {
  const tag = position === last ? 'RunCompleted' : 'TextDelta'
  const name = position === last ? 'run_completed' : 'text_delta'
  const data = { id: position, session_id: SESSION, run_id: 'r', timestamp: '2026-01-01T00:00:00.000Z', event: { [tag]: { delta: `wört ${position} 🦉` } } }
  return `id: ${position}\nevent: ${name}\ndata: ${JSON.stringify(data)}\n\n`
}

function streamFrom(after: number): string {
  const frames = Array.from({ length: Math.max(0, LENGTH - after) }, (_, index) => frame(after + index + 1))
  return `retry: 2000\n: head ${LENGTH}\n\n${frames.join('')}`
}

/** What one connection meets. `undefined` is a sound answer. */
type Fate =
  | undefined
  | { readonly cutAt: number }
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>>; readonly body?: string }
  | { readonly text: string; readonly hold?: boolean }
  | 'no head'
  | 'refused'

interface Flaky {
  readonly connection: Connection
  /** The `after` of each connection; `null` for none. */
  readonly asked: (string | null)[]
  readonly requests: IncomingMessage[]
  readonly responses: ServerResponse[]
  readonly sockets: Set<Socket>
  /** The timer's delays, except those of the watchdog. */
  readonly pauses: number[]
  /** Watchdogs that are armed. */
  readonly watchdogs: (() => void)[]
  /** Resolves when connection number `count` was accepted. */
  readonly connected: (count: number) => Promise<void>
}

/** A server whose connections meet `fates` in turn, then sound ones; pauses pass at once. */
async function flakyServer(fates: readonly Fate[]): Promise<Flaky> {
  const asked: (string | null)[] = []
  const requests: IncomingMessage[] = []
  const responses: ServerResponse[] = []
  const sockets = new Set<Socket>()
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '', 'http://x')
    asked.push(url.searchParams.get('after'))
    requests.push(request)
    responses.push(response)
    answer(request, response, fates[asked.length - 1])
    server.emit('served')
  })
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket)).on('error', () => undefined)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.close()
    server.closeAllConnections()
  })
  const pauses: number[] = []
  const watchdogs: (() => void)[] = []
  const after = (delayMs: number, fn: () => void) => {
    if (delayMs === SILENCE_MS) {
      watchdogs.push(fn)
      return () => void watchdogs.splice(watchdogs.indexOf(fn), 1)
    }
    pauses.push(delayMs)
    const soon = setImmediate(fn)
    return () => clearImmediate(soon)
  }
  const connected = async (count: number) => {
    while (asked.length < count) await once(server, 'served')
  }
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return { connection: { url, after }, asked, requests, responses, sockets, pauses, watchdogs, connected }
}

function answer(request: IncomingMessage, response: ServerResponse, fate: Fate): void {
  if (fate === 'no head') return
  if (fate === 'refused') return void request.socket.destroy()
  if (fate !== undefined && 'status' in fate) return void response.writeHead(fate.status, fate.headers).end(fate.body)
  response.writeHead(200, { 'content-type': 'text/event-stream' })
  if (fate !== undefined && 'text' in fate) {
    response.write(fate.text)
    if (fate.hold !== true) response.end()
    return
  }
  const after = Number(new URL(request.url ?? '', 'http://x').searchParams.get('after') ?? LENGTH)
  const bytes = Buffer.from(streamFrom(after))
  if (fate === undefined) return void response.write(bytes)
  response.write(bytes.subarray(0, fate.cutAt), () => request.socket.destroy())
}

async function collect(events: AsyncIterable<ClientEvent>, count = Number.POSITIVE_INFINITY): Promise<ClientEvent[]> {
  const found: ClientEvent[] = []
  for await (const event of events) {
    found.push(event)
    if (found.length >= count) break
  }
  return found
}

const positions = (events: readonly ClientEvent[]) => events.map(({ position }) => position)
const follow = (flaky: Flaky, options: EventsOptions = {}) => followEvents(flaky.connection, SESSION, options)
const ALL = Array.from({ length: LENGTH }, (_, index) => index + 1)

describe('a session is followed', () => {
  test('from a cursor to the end of the run, each event in the wire’s words', async () => {
    const flaky = await flakyServer([])
    const events = await collect(follow({ ...flaky, connection: { ...flaky.connection, key: 'secret-key' } }, { after: 4, all: true, untilRunEnd: true }))
    expect(events).toEqual([
      { position: 5, name: 'text_delta', runId: 'r', timestamp: '2026-01-01T00:00:00.000Z', payload: { delta: 'wört 5 🦉' } },
      { position: 6, name: 'run_completed', runId: 'r', timestamp: '2026-01-01T00:00:00.000Z', payload: { delta: 'wört 6 🦉' } },
    ])
    const [request] = flaky.requests
    expect(request?.url).toBe('/v1/sessions/a%20session/events?events=all&until=run_end&after=4')
    expect(request?.headers).toMatchObject({ accept: 'text/event-stream', authorization: 'Bearer secret-key' })
  })

  test('without a cursor from now on, asking for no position', async () => {
    const flaky = await flakyServer([{ text: `: head 8\n\n${frame(9, 9)}`, hold: true }])
    expect(positions(await collect(follow(flaky), 1))).toEqual([9])
    expect(flaky.requests[0]?.url).toBe('/v1/sessions/a%20session/events?')
  })

  test('until 204 says that nothing is left to wait for', async () => {
    const flaky = await flakyServer([{ status: 204 }])
    expect(await collect(follow(flaky, { after: LENGTH, untilRunEnd: true }))).toEqual([])
  })

  test('past the end of a run when nobody asked for its end', async () => {
    const flaky = await flakyServer([{ text: frame(1, 1) + frame(2, 9), hold: true }])
    expect(positions(await collect(follow(flaky, { after: 0 }), 2))).toEqual([1, 2])
  })
})

describe('C1: each event after the cursor comes once, in order', () => {
  test('wherever the connection is cut', async () => {
    const bytes = Buffer.byteLength(streamFrom(0))
    for (let cutAt = 0; cutAt < bytes; cutAt += 7) {
      const flaky = await flakyServer([{ cutAt }, { cutAt: bytes - cutAt }])
      expect(positions(await collect(follow(flaky, { after: 0, untilRunEnd: true }))), `cut at ${cutAt}`).toEqual(ALL)
    }
  })

  test('through every kind of broken connection', async () => {
    const fates: Fate[] = [
      'refused',
      { status: 502, body: '<html>bad gateway</html>' },
      { cutAt: 200 },
      { text: '' },
      { status: 504 },
      { text: '<html>a proxy’s own page</html>' },
      { text: `${frame(2)}event: text_delta\ndata: {"broken\n\n${frame(3)}` },
      { text: 'event: text_delta\ndata: {"id":3}\n\n' },
      { text: 'data\ndata: 7\n\n' },
    ]
    const flaky = await flakyServer(fates)
    expect(positions(await collect(follow(flaky, { after: 1, untilRunEnd: true })))).toEqual([2, 3, 4, 5, 6])
    expect(flaky.asked.length).toBe(fates.length + 1)
  })

  test('what stands before an unreadable frame is taken, and asked for no more', async () => {
    const flaky = await flakyServer([{ text: `${frame(1)}${frame(2)}data: {\n\n${frame(3)}` }])
    expect(positions(await collect(follow(flaky, { after: 0, untilRunEnd: true })))).toEqual(ALL)
    expect(flaky.asked).toEqual(['0', '2'])
  })

  test('what a server repeats is dropped', async () => {
    const flaky = await flakyServer([{ text: frame(1) + frame(2) + frame(1) + frame(2) + frame(3) }, { text: ALL.map((position) => frame(position)).join('') }])
    expect(positions(await collect(follow(flaky, { after: 0, untilRunEnd: true })))).toEqual(ALL)
  })

  test.each([
    ['is cut', { text: ': head 4\n\n', hold: true }],
    ['ends', { text: ': head 4\n\n' }],
  ])('a reader without a cursor stays where it began when its first connection %s before any event', async (_how, fate) => {
    const flaky = await flakyServer([fate])
    const events = collect(follow(flaky, { untilRunEnd: true }))
    await flaky.connected(1)
    for (const socket of flaky.sockets) if ('hold' in fate) setImmediate(() => socket.destroy())
    expect(positions(await events)).toEqual([5, 6])
    expect(flaky.asked).toEqual([null, '4'])
  })

  test('half a comment about the head is not believed', async () => {
    const flaky = await flakyServer([{ text: ': head 12' }, { text: frame(1, 1) }])
    expect(positions(await collect(follow(flaky, { untilRunEnd: true })))).toEqual([1])
    expect(flaky.asked).toEqual([null, null])
  })

  test('a gap is told, and the reader goes on from the newest event', async () => {
    const gap = `event: gap_detected\ndata: {"requested_after_id":99,"oldest_available_id":1,"newest_available_id":3}\n\n`
    const flaky = await flakyServer([{ text: gap }])
    const events = await collect(follow(flaky, { after: 99, untilRunEnd: true }))
    expect(events[0]).toEqual({
      position: 0,
      name: 'gap_detected',
      runId: null,
      timestamp: '',
      payload: { requested_after_id: 99, oldest_available_id: 1, newest_available_id: 3 },
    })
    expect(positions(events)).toEqual([0, 4, 5, 6])
    expect(flaky.asked).toEqual(['99', '3'])
  })
})

test('a reader that comes back names the log that its position belongs to', async () => {
  const asked: string[] = []
  const server = createServer((request, response) => {
    asked.push(new URL(request.url ?? '', 'http://x').search)
    response.writeHead(200, { 'content-type': 'text/event-stream', 'convoke-log-id': 'log-one' })
    response.end(asked.length === 1 ? `: head 1\n\n${frame(1)}` : `: head ${LENGTH}\n\n${frame(LENGTH)}`)
  }).listen(0, '127.0.0.1')
  onTestFinished(() => void server.close())
  await once(server, 'listening')
  const after = (delayMs: number, fn: () => void) => {
    if (delayMs < SILENCE_MS) setImmediate(fn)
    return () => undefined
  }
  const connection = { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, after }
  expect(positions(await collect(followEvents(connection, SESSION, { after: 0, untilRunEnd: true })))).toEqual([1, LENGTH])
  expect(asked).toEqual(['?until=run_end&after=0', '?until=run_end&after=1&log=log-one'])
})

describe('C2: a silent connection is made anew', () => {
  test.each<[string, Fate, number[]]>([
    ['before it has answered', 'no head', [1, 2, 3, 4, 5, 6]],
    ['in the middle of a frame', { text: frame(1) + frame(2).slice(0, 60), hold: true }, ALL],
  ])('%s', async (_when, fate, expected) => {
    const flaky = await flakyServer([fate])
    let reconnects = 0
    const events = follow(flaky, { after: 0, untilRunEnd: true, onReconnect: () => reconnects++ })
    const first = fate === 'no head' ? [] : [(await events.next()).value as ClientEvent]
    const rest = collect(events)
    await flaky.connected(1)
    expect(flaky.watchdogs).toHaveLength(1)
    for (const bark of flaky.watchdogs.slice()) bark()
    expect(positions([...first, ...(await rest)])).toEqual(expected)
    expect(reconnects).toBe(1)
    expect(flaky.watchdogs).toEqual([])
  })

  test('the watchdog is wound up anew by each piece that arrives, a comment too', async () => {
    const flaky = await flakyServer([{ text: ': ka\n\n', hold: true }])
    const armed: number[] = []
    const stop = new AbortController()
    const after: Connection['after'] = (delayMs, fn) => {
      armed.push(delayMs)
      if (armed.length === 6) stop.abort()
      else if (armed.length > 1) setImmediate(() => flaky.responses[0]?.write(': ka\n\n'))
      return flaky.connection.after!(delayMs, fn)
    }
    expect(await collect(followEvents({ ...flaky.connection, after }, SESSION, { after: 0, signal: stop.signal }))).toEqual([])
    expect(armed).toEqual([45_000, 45_000, 45_000, 45_000, 45_000, 45_000])
  })

  test('somebody who takes their time over an event is not taken for silence', async () => {
    const flaky = await flakyServer([])
    const events = follow(flaky, { after: 0 })
    await events.next()
    expect(flaky.watchdogs).toEqual([])
    await events.return()
  })
})

describe('C3: what waiting cannot mend is thrown', () => {
  test.each([
    [401, 'unauthorized'],
    [403, 'forbidden'],
    [404, 'not_found'],
    [400, 'invalid_cursor'],
    [500, 'internal_error'],
  ])('%i %s', async (status, code) => {
    const body = JSON.stringify({ code, error: 'what is wrong' })
    const flaky = await flakyServer([{ status, body, headers: { 'x-request-id': 'req_7' } }])
    await expect(collect(follow(flaky, { after: 0 }))).rejects.toMatchObject({
      name: 'ConvokeClientError',
      status,
      code,
      message: 'what is wrong',
      requestId: 'req_7',
    })
    expect(flaky.asked).toHaveLength(1)
    expect(flaky.watchdogs).toEqual([])
  })

  test('also when it begins while the session is followed', async () => {
    const flaky = await flakyServer([{ text: frame(1) }, { status: 404, body: '{"code":"not_found"}' }])
    const events = follow(flaky, { after: 0 })
    expect((await events.next()).value).toMatchObject({ position: 1 })
    await expect(events.next()).rejects.toMatchObject({ code: 'not_found', message: 'the server answered 404' })
  })
})

describe('between two connections', () => {
  test('the pause grows, and is short again after an event', async () => {
    const none = Array.from({ length: 7 }, (): Fate => 'refused')
    const flaky = await flakyServer([...none, { text: frame(1) }])
    await collect(follow(flaky, { after: 0, untilRunEnd: true }))
    const full = [1, 2, 4, 8, 16, 32, 32].map((factor) => Math.min(PAUSE_MS * factor, PAUSE_MS_MAX))
    expect(flaky.pauses).toHaveLength(8)
    for (const [index, ms] of [...full, PAUSE_MS].entries()) {
      expect(flaky.pauses[index]).toBeGreaterThanOrEqual(ms / 2)
      expect(flaky.pauses[index]).toBeLessThanOrEqual(ms)
    }
  })

  test.each([
    ['3', 3000],
    ['0', 0],
    ['86400', 60_000],
  ])('a server that says Retry-After: %s is left alone for %i ms', async (retryAfter, ms) => {
    const flaky = await flakyServer([{ status: 503, headers: { 'retry-after': retryAfter } }])
    expect(positions(await collect(follow(flaky, { after: 0, untilRunEnd: true })))).toEqual(ALL)
    expect(flaky.pauses).toEqual([ms])
  })

  test('whoever listens is told of each new try', async () => {
    const flaky = await flakyServer(['refused', { text: frame(1) }, { cutAt: 3 }])
    let told = 0
    await collect(follow(flaky, { after: 0, untilRunEnd: true, onReconnect: () => told++ }))
    expect(told).toBe(3)
  })
})

describe('an abort ends it at once, without a word, and leaves nothing behind', () => {
  async function closed(flaky: Flaky): Promise<void> {
    const open = [...flaky.sockets].filter((socket) => !socket.destroyed)
    await Promise.all(open.map((socket) => new Promise((resolve) => socket.once('close', resolve))))
    expect(flaky.watchdogs).toEqual([])
  }

  test('before it begins', async () => {
    const flaky = await flakyServer([])
    expect(await collect(follow(flaky, { after: 0, signal: AbortSignal.abort() }))).toEqual([])
    expect(flaky.asked).toEqual([])
  })

  test.each<[string, Fate]>([
    ['while the server does not answer', 'no head'],
    ['while the stream is quiet', { text: ': ka\n\n', hold: true }],
  ])('%s', async (_when, fate) => {
    const flaky = await flakyServer([fate])
    const stop = new AbortController()
    const events = collect(follow(flaky, { after: 0, signal: stop.signal }))
    await flaky.connected(1)
    stop.abort()
    expect(await events).toEqual([])
    await closed(flaky)
  })

  test('between two events', async () => {
    const flaky = await flakyServer([])
    const stop = new AbortController()
    const events = follow(flaky, { after: 0, signal: stop.signal })
    await events.next()
    stop.abort()
    expect(positions(await collect(events)).length).toBeLessThan(LENGTH)
    await closed(flaky)
  })

  test('in a pause, whose timer is taken back', async () => {
    const stop = new AbortController()
    const timers = new Set<() => void>()
    const after: Connection['after'] = (delayMs, fn) => {
      timers.add(fn)
      if (delayMs !== SILENCE_MS) setImmediate(() => stop.abort())
      return () => void timers.delete(fn)
    }
    const { connection } = await flakyServer(['refused'])
    expect(await collect(followEvents({ ...connection, after }, SESSION, { after: 0, signal: stop.signal }))).toEqual([])
    expect(timers.size).toBe(0)
  })

  test('from the very note that a new try begins', async () => {
    const flaky = await flakyServer(['refused'])
    const stop = new AbortController()
    expect(await collect(follow(flaky, { after: 0, signal: stop.signal, onReconnect: () => stop.abort() }))).toEqual([])
    expect([flaky.asked.length, flaky.pauses]).toEqual([1, []])
  })

  test('and so does whoever stops to take events', async () => {
    const flaky = await flakyServer([])
    expect(await collect(follow(flaky, { after: 0 }), 2)).toHaveLength(2)
    await closed(flaky)
  })
})
