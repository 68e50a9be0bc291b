/** A reader of server-sent events that sees every line, comments too, and reads only when it is told to. */
import { arrivals } from './arrivals.ts'
import { Agent, request, type IncomingHttpHeaders, type IncomingMessage } from 'node:http'

/** One block of a stream: what stands between two blank lines. */
export interface Block {
  readonly id?: string
  readonly event?: string
  // A test looks into data of any shape.
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly data?: any
  readonly retry?: string
  readonly comment?: string
}

/** An open stream. */
export interface TestStream {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** Everything so far. */
  readonly blocks: readonly Block[]
  /** Blocks with data so far. */
  readonly frames: readonly Block[]
  /** The first block that `found` holds of, of those that came and will come. @throws when the stream ends without it */
  until(found: (block: Block) => boolean): Promise<Block>
  /** Resolves when the server has ended the stream. */
  readonly ended: Promise<void>
  /** Leaves what comes in the socket. */
  pause(): void
  resume(): void
  /** Goes away. */
  close(): void
}

/** Opens `path` of the server at `url`. */
export async function openStream(url: string, path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<TestStream> {
  const sent = request(`${url}${path}`, { method, headers, agent: new Agent() })
  sent.end()
  const response = await new Promise<IncomingMessage>((resolve, reject) => sent.once('response', resolve).once('error', reject))
  sent.on('error', () => undefined)
  response.on('error', () => undefined)
  const blocks: Block[] = []
  let text = ''
  let over = false
  const { wake, next } = arrivals()
  response.setEncoding('utf8')
  response.on('data', (chunk: string) => {
    text += chunk
    let from = 0
    for (let end = text.indexOf('\n\n'); end !== -1; end = text.indexOf('\n\n', from)) {
      blocks.push(parseBlock(text.slice(from, end)))
      from = end + 2
    }
    text = text.slice(from)
    wake()
  })
  const ended = new Promise<void>((resolve) =>
    response.once('close', () => {
      over = true
      wake()
      resolve()
    }),
  )
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    blocks,
    get frames() {
      return blocks.filter(({ data }) => data !== undefined)
    },
    async until(found) {
      for (let looked = 0; ;) {
        for (; looked < blocks.length; looked++) if (found(blocks[looked] as Block)) return blocks[looked] as Block
        if (over) throw new Error(`the stream ended before the block came: ${JSON.stringify(blocks.slice(-3))}`)
        await next()
      }
    },
    ended,
    pause: () => void response.pause(),
    resume: () => void response.resume(),
    close: () => void sent.destroy(),
  }
}

/** @throws for a line that the format does not know: a client would drop it without a word */
function parseBlock(text: string): Block {
  const block: Record<string, unknown> = {}
  for (const line of text.split('\n')) {
    const [, name = '', value = ''] = /^(id|event|data|retry|): ([^\r]*)$/.exec(line) ?? []
    if (!line.startsWith(`${name}: `)) throw new Error(`a stream holds the line ${JSON.stringify(line)}`)
    const field = name === '' ? 'comment' : name
    if (field in block) throw new Error(`a block holds two lines ${field}: ${text}`)
    block[field] = field === 'data' ? JSON.parse(value) : value
  }
  return block
}
