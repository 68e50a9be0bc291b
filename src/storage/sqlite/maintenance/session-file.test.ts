import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { LINE_BYTES_MAX, linesOf, parseHeader } from './session-file.ts'

async function* pieces(bytes: Uint8Array, cuts: readonly number[]): AsyncGenerator<Uint8Array> {
  let from = 0
  for (const cut of [...cuts.map((at) => at % (bytes.length + 1)).toSorted((a, b) => a - b), bytes.length]) {
    const piece = Buffer.from(bytes.subarray(from, cut))
    yield piece
    // Who reads a file may use the same memory again.
    piece.fill(0)
    from = cut
  }
}

async function all(chunks: AsyncIterable<Uint8Array>) {
  const lines: { readonly text: string; readonly bytes: Uint8Array }[] = []
  for await (const line of linesOf(chunks)) lines.push(line)
  return lines
}

describe('lines of a stream', () => {
  test('are the same however it is cut, with every byte', async () => {
    const line = fc.string({ unit: 'binary' }).map((text) => text.toWellFormed().replaceAll('\n', ''))
    await fc.assert(
      fc.asyncProperty(fc.array(line), fc.boolean(), fc.array(fc.nat({ max: 10_000 })), async (texts, ends, cuts) => {
        const text = texts.join('\n') + (ends && texts.length > 0 ? '\n' : '')
        const found = await all(pieces(Buffer.from(text), cuts))
        const expected = texts.length > 0 && !ends && texts.at(-1) === '' ? texts.slice(0, -1) : texts
        expect(found.map((entry) => entry.text)).toEqual(expected)
        expect(Buffer.concat(found.map(({ bytes }) => bytes)).toString()).toBe(text)
      }),
    )
  })

  test('that are no UTF-8 are refused by number', async () => {
    await expect(all(pieces(Buffer.from([0x61, 0x0a, 0xff, 0x0a]), []))).rejects.toThrow('line 2: it is no UTF-8')
  })

  test('that are too long are refused before they are held', async () => {
    let asked = 0
    async function* endless() {
      for (; ; asked++) yield new Uint8Array(1024 * 1024).fill(0x61)
    }
    await expect(all(endless())).rejects.toThrow(`line 1: it is longer than ${LINE_BYTES_MAX} bytes`)
    expect(asked).toBeLessThanOrEqual(LINE_BYTES_MAX / (1024 * 1024) + 1)
  })
})

test('a header is read back; what is not known in it is passed over', () => {
  const header = {
    format: 'convoke-session',
    version: 1,
    session: '01900000-0000-7000-8000-00000000000a',
    owner: 'alice',
    log: 'l',
    events: 3,
    createdAtMs: 1,
    updatedAtMs: 2,
  } as const
  expect(parseHeader(JSON.stringify({ ...header, more: true }))).toEqual(header)
})
