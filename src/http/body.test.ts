import { IncomingMessage } from 'node:http'
import { Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { JSON_DEPTH_MAX, parseJson, readJson, requireBounded } from './body.ts'

const bytes = (text: string) => new TextEncoder().encode(text)
const SCHEMA = z.object({ title: z.string() })

/** A request whose body comes in `pieces`. */
function incoming(pieces: readonly Uint8Array[], headers: Readonly<Record<string, string>> = { 'content-type': 'application/json' }): IncomingMessage {
  const request = new IncomingMessage(new Socket())
  Object.assign(request.headers, headers)
  for (const piece of pieces) request.push(piece)
  request.complete = true
  request.push(null)
  return request
}
const read = (pieces: readonly Uint8Array[], headers?: Readonly<Record<string, string>>, max = 100) => readJson(incoming(pieces, headers), max, SCHEMA)

describe('a body', () => {
  test('is put together from its pieces, wherever they were cut', async () => {
    const whole = bytes('{"title":"ü€😀"}')
    for (let cut = 0; cut <= whole.length; cut++) {
      const pieces = [whole.subarray(0, cut), whole.subarray(cut)].filter(({ length }) => length > 0)
      expect(await read(pieces)).toEqual({ title: 'ü€😀' })
    }
  })

  test('loses fields that nobody knows', async () => {
    expect(await read([bytes('{"title":"x","new":1,"__proto__":{"title":7}}')])).toEqual({ title: 'x' })
  })

  test.each([
    ['of the limit', 20, true],
    ['over the limit by a byte', 21, false],
  ])('%s in one piece or in many', async (_what, length, fits) => {
    const whole = bytes(JSON.stringify({ title: 'x'.repeat(length - 12) }))
    expect(whole).toHaveLength(length)
    for (const pieces of [[whole], Array.from(whole, (byte) => Uint8Array.of(byte))]) {
      const asked = read(pieces, undefined, 20)
      if (fits) expect(await asked).toHaveProperty('title')
      else await expect(asked).rejects.toMatchObject({ code: 'payload_too_large' })
    }
  })

  test('that breaks off is the caller’s affair', async () => {
    const request = new IncomingMessage(new Socket())
    Object.assign(request.headers, { 'content-type': 'application/json' })
    request.push(bytes('{"ti'))
    const asked = readJson(request, 100, SCHEMA)
    request.destroy(new Error('aborted'))
    await expect(asked).rejects.toMatchObject({ code: 'invalid_request' })
  })

  test.each([
    undefined,
    '',
    'text/plain',
    'application/x-www-form-urlencoded',
    'application/jsonx',
    'text/json',
    'application/+json',
    'xapplication/json',
    'application/json, text/plain',
  ])('of the type %j is not looked at', async (type) => {
    await expect(read([bytes('{"title":"x"}')], type === undefined ? {} : { 'content-type': type })).rejects.toMatchObject({ code: 'unsupported_media_type' })
  })

  test.each(['application/json', 'Application/JSON ; charset=UTF-8', 'application/problem+json', 'application/vnd.x.v1+json;q=1'])(
    'of the type %j is read',
    async (type) => {
      expect(await read([bytes('{"title":"x"}')], { 'content-type': type })).toEqual({ title: 'x' })
    },
  )

  test('that does not fit the schema says where, as pointers', async () => {
    const schema = z.object({ 'a/b': z.object({ '~': z.array(z.int()) }) })
    const asked = readJson(incoming([bytes('{"a/b":{"~":[1,"x"]}}')]), 100, schema)
    await expect(asked).rejects.toMatchObject({ code: 'invalid_body', errors: [{ pointer: '/a~1b/~0/1' }] })
    await expect(read([bytes('7')])).rejects.toMatchObject({ message: expect.stringMatching(/^\/: /) })
  })
})

describe('JSON', () => {
  const nested = (depth: number) => bytes('['.repeat(depth) + ']'.repeat(depth))
  test('is read down to its depth, and no deeper', () => {
    expect(JSON_DEPTH_MAX).toBe(64)
    expect(parseJson(nested(64))).toBeInstanceOf(Array)
    for (const depth of [65, 66, 1000, 500_000]) expect(() => parseJson(nested(depth))).toThrow(expect.objectContaining({ code: 'invalid_json' }))
    expect(() => parseJson(bytes(`${'{"a":'.repeat(65)}1${'}'.repeat(65)}`))).toThrow(/nested deeper than 64/)
    expect(() => parseJson(bytes(`[1,${'['.repeat(64)}${']'.repeat(64)}]`))).toThrow(/nested deeper than 64/)
  })

  test.each([
    ['nothing', Uint8Array.of()],
    ['half of it', bytes('{"a":')],
    ['more than one', bytes('1 2')],
    ['a NUL', Uint8Array.of(0)],
    ['bytes that are no UTF-8', Uint8Array.of(0x22, 0xff, 0x22)],
    ['a letter in too many bytes', Uint8Array.of(0x22, 0xc0, 0xaf, 0x22)],
    ['half a letter', Uint8Array.of(0x22, 0xe2, 0x82, 0x22)],
    ['half a pair', Uint8Array.of(0x22, 0xed, 0xa0, 0x80, 0x22)],
  ])('is not %s', (_what, text) => {
    expect(() => parseJson(text, 'the frame')).toThrow(expect.objectContaining({ code: 'invalid_json', message: expect.stringMatching(/^the frame /) }))
  })

  test('may begin with the mark of UTF-8', () => {
    expect(parseJson(Uint8Array.of(0xef, 0xbb, 0xbf, 0x31))).toBe(1)
  })
})

test.each([
  [undefined, true],
  ['0', true],
  ['100', true],
  ['101', false],
  ['9'.repeat(40), false],
])('a request that announces %s bytes of 100: %s', (length, fits) => {
  const request = incoming([], length === undefined ? {} : { 'content-length': length })
  const check = () => requireBounded(request, 100)
  if (fits) expect(check).not.toThrow()
  else expect(check).toThrow(expect.objectContaining({ code: 'payload_too_large' }))
})
