/** Random requests for routes of an OpenAPI document: mostly right in all but one thing. */
import fc from 'fast-check'
import { anyText, mutated, valuesOf, type Document, type Operation, type Parameter } from './openapi.ts'

/** A request as it goes out. */
export interface FuzzRequest {
  readonly method: string
  /** Path and query, percent-encoded. */
  readonly target: string
  /** Names and values in turn; names may repeat. */
  readonly headers: readonly string[]
  readonly body: Uint8Array | undefined
}

/** What exists, so that requests can get behind the first check. */
export interface Known {
  readonly key: string
  /** The server's own origin, and the agent that sessions have. */
  readonly origin: string
  readonly agent: string
  /** Ids of sessions by what may be done to them. */
  readonly sessions: readonly string[]
  readonly deletable: readonly string[]
  readonly runs: readonly string[]
  readonly calls: readonly string[]
  readonly cursors: readonly string[]
}

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'PROPFIND'] as const
const TYPES = [
  'application/json; charset=utf-8',
  'APPLICATION/JSON',
  'application/merge-patch+json',
  'text/plain',
  'application/jsonx',
  '',
  'multipart/form-data; boundary=x',
] as const
const UNKNOWN = '01900000-0000-7000-8000-ffffffffffff'
/** Requests that open a stream are slower than others: fewer of them. */
const STREAM_WEIGHT = 1
const WEIGHT = 4

/** Requests at any of `operations`. */
export function anyRequest(document: Document, operations: readonly Operation[], known: Known): fc.Arbitrary<FuzzRequest> {
  const weighted = operations.map((operation) => ({
    weight: Object.values(operation.responses).some(({ content }) => content?.['text/event-stream'] !== undefined) ? STREAM_WEIGHT : WEIGHT,
    arbitrary: requestTo(document, operation, known),
  }))
  return fc.oneof(...weighted)
}

function requestTo(document: Document, operation: Operation, known: Known): fc.Arbitrary<FuzzRequest> {
  return fc
    .record({
      method: often(fc.constant(operation.method), fc.constantFrom(...METHODS), 20),
      path: pathTo(operation, known),
      query: queryFor(operation, known),
      headers: headersFor(operation, known),
      body: operation.body === undefined ? fc.constant(undefined) : bodyFor(document, operation, known),
      type: often(fc.constant('application/json'), fc.constantFrom(...TYPES), 20),
      chunked: fc.boolean(),
    })
    .map(({ method, path, query, headers, body, type, chunked }) => {
      const carries = body !== undefined && method !== 'GET' && method !== 'HEAD'
      const length = chunked ? ['transfer-encoding', 'chunked'] : ['content-length', String(body?.length)]
      return {
        method,
        target: `${path}${query}`,
        headers: [...headers, ...(carries ? ['content-type', type, ...length] : [])],
        body: carries ? body : undefined,
      }
    })
}

/** `usual` in all but one of `oneIn` cases. */
function often<A, B>(usual: fc.Arbitrary<A>, seldom: fc.Arbitrary<B>, oneIn: number): fc.Arbitrary<A | B> {
  return fc.oneof({ weight: oneIn - 1, arbitrary: usual }, { weight: 1, arbitrary: seldom })
}

function pathTo(operation: Operation, known: Known): fc.Arbitrary<string> {
  const own = operation.method === 'DELETE' ? known.deletable : known.sessions
  const odd = fc.oneof(
    fc.constantFrom(
      UNKNOWN,
      UNKNOWN.toUpperCase(),
      '%zz',
      '%ff',
      '%00',
      '..',
      '.',
      '',
      '%2f',
      '%2e%2e',
      '0',
      UNKNOWN.slice(1),
      `{${UNKNOWN}}`,
      'x'.repeat(300),
    ),
    anyText.map(encoded),
  )
  const ids = often(fc.constantFrom(...own.flatMap((id) => [id, id, id.toUpperCase()])), odd, 6)
  const calls = often(fc.constantFrom(...known.calls), odd, 3)
  return fc.tuple(ids, calls).map(([id, call]) => operation.path.replace('{id}', id).replace('{tool_call_id}', call))
}

function queryFor(operation: Operation, known: Known): fc.Arbitrary<string> {
  const values = (parameter: Parameter): fc.Arbitrary<string> => {
    if (parameter.schema.enum !== undefined) return often(fc.constantFrom(...parameter.schema.enum.map(String)), anyText.map(encoded), 5)
    const numbers = ['0', '1', '2', '7', '1000', '1001', '-1', '1e3', '0x1', '1.5', '9007199254740991', '9007199254740993', '18446744073709551616', '%201', '']
    return fc.oneof({ weight: 3, arbitrary: fc.constantFrom(...numbers) }, { weight: 3, arbitrary: fc.constantFrom(...known.cursors) }, anyText.map(encoded))
  }
  const named = operation.parameters
    .filter((parameter) => parameter.in === 'query')
    .map((parameter) => values(parameter).map((value) => `${parameter.name}=${value}`))
  const streams = operation.parameters.some(({ name }) => name === 'until')
  const parts = fc.oneof(
    fc.constant('&&='),
    anyText.map((text) => `unknown=${encoded(text)}`),
    fc.constantFrom('%zz=%ff', 'limit', 'a[]=1', '='),
    ...named.flatMap((one) => [one, one, one]),
  )
  return fc.array(parts, { maxLength: 4 }).map((list) => {
    const all = streams && list.length % 2 === 0 ? [...list, 'until=run_end'] : list
    return all.length === 0 ? '' : `?${all.join('&')}`
  })
}

function headersFor(operation: Operation, known: Known): fc.Arbitrary<readonly string[]> {
  const auth = often(
    fc.constantFrom(['authorization', `Bearer ${known.key}`], ['x-api-key', known.key]),
    fc.oneof(
      fc.constantFrom([], ['authorization', known.key], ['authorization', `bearer ${known.key}`], ['authorization', 'Bearer '], ['x-api-key', '']),
      anyText.map((text) => ['authorization', `Bearer ${headerText(text)}`]),
    ),
    15,
  )
  const extra = fc.oneof(
    anyText.map((text) => ['idempotency-key', headerText(text)]),
    fc.integer({ min: 0, max: 50 }).map((number) => ['idempotency-key', `key-${number}`]),
    anyText.map((text) => ['x-request-id', headerText(text)]),
    fc.constantFrom(...known.cursors, '99999999999999999999', '-1', '1.5').map((cursor) => ['last-event-id', cursor]),
    fc.constantFrom('*/*', 'text/html', 'application/xml;q=0', ';;').map((accept) => ['accept', accept]),
    often(fc.constant(known.origin), fc.constantFrom('http://localhost', 'http://evil.example', 'null', 'nonsense'), 4).map((origin) => ['origin', origin]),
    fc.constantFrom('gzip, br', 'identity;q=0').map((value) => ['accept-encoding', value]),
    fc.constant(['if-none-match', '*']),
    anyText.map((text) => ['x-anything', headerText(text)]),
  )
  const most = operation.method === 'GET' ? 2 : 3
  return fc.tuple(auth, fc.array(extra, { maxLength: most })).map(([own, more]) => [...own, ...more.flat()])
}

function bodyFor(document: Document, operation: Operation, known: Known): fc.Arbitrary<Uint8Array> {
  const texts = (name: string) => {
    if (name === 'run_id') return often(fc.constantFrom(...known.runs), fc.constant(UNKNOWN), 4)
    if (name === 'agent') return often(fc.constant(known.agent), anyText, 3)
    if (name === 'model') return often(fc.constant('demo/convoke'), anyText, 3)
    if (name === 'key') return fc.oneof(fc.constantFrom(...known.calls), anyText)
    if (name === 'cwd') return fc.constantFrom('/', '/tmp', 'relative', '/nowhere/at/all', '/tmp\0x')
    if (name === 'role') return often(fc.constant('user'), fc.constantFrom('assistant', 'tool', 'system'), 4)
    return undefined
  }
  const valid = valuesOf(document, operation.body ?? {}, texts)
  const json = fc.oneof({ weight: 3, arbitrary: valid }, { weight: 5, arbitrary: valid.chain((value) => mutated(value)) })
  const bytes = json.map((value) => Buffer.from(JSON.stringify(value) ?? ''))
  const broken = fc.oneof(
    fc.tuple(bytes, fc.double({ min: 0, max: 1, noNaN: true })).map(([whole, part]) => whole.subarray(0, Math.floor(whole.length * part))),
    fc
      .tuple(bytes, fc.nat())
      .map(([whole, at]) => Buffer.concat([whole.subarray(0, at % (whole.length + 1)), Buffer.from([0xff, 0xc0]), whole.subarray(at % (whole.length + 1))])),
    fc
      .constantFrom('NaN', '{"title":01}', "{'title':'x'}", '\uFEFF{"title":"x"}', '{"title":"x"} x', '[', '"', '[1,2', '{"a":1,}', '\x00')
      .map((text) => Buffer.from(text)),
    fc
      .constantFrom('['.repeat(100_000), '{"a":'.repeat(50_000), `{"title":${'9'.repeat(10_000)}}`, '{"title":"a","title":"b","__proto__":{"title":"c"}}')
      .map((text) => Buffer.from(text)),
    fc.uint8Array({ maxLength: 40 }),
  )
  return often(bytes, broken, 8)
}

/** Percent-encoded, lone surrogates too, which `encodeURIComponent` would refuse. */
function encoded(text: string): string {
  return encodeURIComponent(text.toWellFormed())
}

/** What may stand in a header: the rest is left out, since Node's client would not send it. */
function headerText(text: string): string {
  return text.replaceAll(/[^\t\x20-\x7e\x80-\xff]/g, '')
}
