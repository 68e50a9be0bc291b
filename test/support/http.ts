/** Small HTTP helpers for tests. */

/** An answer, read whole. */
export interface TestAnswer {
  readonly status: number
  readonly headers: Headers
  // A test looks into bodies of any shape.
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly json: any
  readonly text: string
}

/** Sends a request; an object body goes as JSON. */
export async function ask(url: string, method: string, path: string, body?: unknown, headers: Record<string, string> = {}): Promise<TestAnswer> {
  const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body)
  const type = text === undefined ? {} : { 'content-type': 'application/json' }
  const response = await fetch(`${url}${path}`, { method, headers: { ...type, ...headers }, ...(text === undefined ? {} : { body: text }) })
  const answer = await response.text()
  return { status: response.status, headers: response.headers, text: answer, json: answer.startsWith('{') ? JSON.parse(answer) : undefined }
}

/** One frame of an event stream. */
export interface TestFrame {
  readonly id: string | undefined
  readonly event: string | undefined
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly data: any
}

/** Frames of a stream, comments left out, until it ends or `done` says so. */
export async function frames(
  url: string,
  headers: Record<string, string> = {},
  done: (frame: TestFrame) => boolean = () => false,
): Promise<readonly TestFrame[]> {
  const stop = new AbortController()
  const response = await fetch(url, { headers, signal: stop.signal })
  if (response.status !== 200) throw new Error(`the stream answered ${response.status}`)
  const found: TestFrame[] = []
  let text = ''
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk
    for (let end = text.indexOf('\n\n'); end !== -1; end = text.indexOf('\n\n')) {
      const frame = parseFrame(text.slice(0, end))
      text = text.slice(end + 2)
      if (frame === undefined) continue
      found.push(frame)
      if (done(frame)) {
        stop.abort()
        return found
      }
    }
  }
  return found
}

function parseFrame(text: string): TestFrame | undefined {
  const field = (name: string) =>
    text
      .split('\n')
      .find((line) => line.startsWith(`${name}: `))
      ?.slice(name.length + 2)
  const data = field('data')
  return data === undefined ? undefined : { id: field('id'), event: field('event'), data: JSON.parse(data) }
}
