/** Readers of one session that keep nothing but their place, so that a thousand of them fit into one process. */
import { request, type IncomingMessage } from 'node:http'
import { WebSocket } from 'ws'

/** A reader. */
export interface Reader {
  /** The last position that came. */
  readonly position: number
  /** What was wrong with the order, as sentences. */
  readonly wrong: readonly string[]
  /** Resolves when `position` has come. */
  until(position: number): Promise<void>
  pause(): void
  resume(): void
  close(): void
}

/** Called with each position and its event's time in ms. */
export type OnEvent = (position: number, atMs: number) => void

/** Follows one cursor: every position once, in order. */
class Place {
  position: number
  readonly wrong: string[] = []
  #waiting: { readonly position: number; readonly resolve: () => void; readonly reject: (error: Error) => void }[] = []
  #over: Error | undefined

  constructor(after: number) {
    this.position = after
  }

  take(position: number): void {
    if (position !== this.position + 1 && this.wrong.length < 3) this.wrong.push(`${position} came after ${this.position}`)
    this.position = position
    this.#waiting = this.#waiting.filter((waiter) => {
      if (waiter.position > position) return true
      waiter.resolve()
      return false
    })
  }

  until(position: number): Promise<void> {
    if (this.position >= position) return Promise.resolve()
    if (this.#over !== undefined) return Promise.reject(this.#over)
    return new Promise((resolve, reject) => this.#waiting.push({ position, resolve, reject }))
  }

  end(why: string): void {
    this.#over ??= new Error(`${why} at position ${this.position}`)
    for (const { reject } of this.#waiting.splice(0)) reject(this.#over)
  }
}

/** Opens a stream of events. */
export async function openReader(url: string, session: string, after: number, onEvent?: OnEvent): Promise<Reader> {
  const place = new Place(after)
  const sent = request(`${url}/v1/sessions/${session}/events?after=${after}&events=all`, { agent: false })
  sent.end()
  const response = await new Promise<IncomingMessage>((resolve, reject) => sent.once('response', resolve).once('error', reject))
  sent.on('error', () => undefined)
  response.on('error', () => undefined)
  if (response.statusCode !== 200) {
    response.resume()
    throw new Error(`a stream was answered ${response.statusCode}`)
  }
  let text = ''
  response.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
    const end = text.lastIndexOf('\n\n')
    if (end === -1) return
    for (const block of text.slice(0, end).split('\n\n')) takeBlock(block, place, onEvent)
    text = text.slice(end + 2)
  })
  response.once('close', () => place.end('the stream ended'))
  return readerOf(place, { pause: () => response.pause(), resume: () => response.resume(), close: () => sent.destroy() })
}

function takeBlock(block: string, place: Place, onEvent: OnEvent | undefined): void {
  const id = /(?:^|\n)id: (\d+)\n/.exec(block)?.[1]
  if (id === undefined) return
  place.take(Number(id))
  if (onEvent === undefined) return
  onEvent(Number(id), Date.parse(/"timestamp":"([^"]+)"/.exec(block)?.[1] ?? ''))
}

/** Opens a socket. */
export async function openSocketReader(url: string, session: string, after: number): Promise<Reader> {
  const place = new Place(after)
  const socket = new WebSocket(`${url.replace('http', 'ws')}/v1/sessions/${session}/ws?after=${after}&events=all`)
  // The first events may come with the handshake.
  socket.on('message', (data) => {
    const id = /^\{"type":"event","name":"\w+","id":(\d+)/.exec((data as Buffer).subarray(0, 100).toString())?.[1]
    if (id !== undefined) place.take(Number(id))
  })
  await new Promise<void>((resolve, reject) => socket.once('open', resolve).once('error', reject))
  socket.on('error', () => undefined)
  socket.once('close', () => place.end('the socket closed'))
  return readerOf(place, { pause: () => socket.pause(), resume: () => socket.resume(), close: () => socket.terminate() })
}

function readerOf(place: Place, { pause, resume, close }: { pause: () => void; resume: () => void; close: () => void }): Reader {
  return {
    get position() {
      return place.position
    },
    wrong: place.wrong,
    until: (position) => place.until(position),
    pause,
    resume,
    close,
  }
}
