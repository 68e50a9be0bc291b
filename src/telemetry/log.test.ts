import { expect, test } from 'vitest'
import { jsonLog, type LogLevel } from './log.ts'

const AT_MS = Date.UTC(2026, 0, 2, 3, 4, 5, 678)
const LEVELS = ['debug', 'info', 'warn', 'error'] as const

function linesOf(level: LogLevel, use: (log: ReturnType<typeof jsonLog>) => void): readonly string[] {
  const lines: string[] = []
  use(
    jsonLog(
      level,
      (line) => void lines.push(line),
      () => AT_MS,
    ),
  )
  return lines
}

/** The one entry that is written. */
function entry(fields: Readonly<Record<string, unknown>>, message = 'said'): Readonly<Record<string, unknown>> {
  const lines = linesOf('info', (log) => log.log('info', message, fields))
  expect(lines).toHaveLength(1)
  expect(lines[0]).toMatch(/^[^\n]*\n$/)
  return JSON.parse(lines[0] as string) as Record<string, unknown>
}

test.each([
  ['debug', ['debug', 'info', 'warn', 'error']],
  ['info', ['info', 'warn', 'error']],
  ['warn', ['warn', 'error']],
  ['error', ['error']],
  ['silent', []],
] as const)('at level %s, exactly %j are written', (level, written) => {
  const lines = linesOf(level, (log) => LEVELS.forEach((entryLevel) => log.log(entryLevel, entryLevel)))
  expect(lines.map((line) => (JSON.parse(line) as { level: string }).level)).toEqual(written)
})

test('an entry is one line of JSON with time, level, message and its fields, in this order', () => {
  expect(linesOf('debug', (log) => log.log('warn', 'it broke', { status: 500, path: '/v1' }))).toEqual([
    '{"time":"2026-01-02T03:04:05.678Z","level":"warn","message":"it broke","status":500,"path":"/v1"}\n',
  ])
})

test('an entry without fields has none', () => {
  expect(linesOf('debug', (log) => log.log('info', 'up'))).toEqual(['{"time":"2026-01-02T03:04:05.678Z","level":"info","message":"up"}\n'])
})

test('line breaks in a text do not break the line', () => {
  expect(entry({ detail: 'a\nb\r\n"c"\u2028' }, 'two\nlines')).toMatchObject({ message: 'two\nlines', detail: 'a\nb\r\n"c"\u2028' })
})

test.each([
  ['apiKey', 'x'],
  ['api_key', 'x'],
  ['KEY', 'x'],
  ['token', 'x'],
  ['accessToken', 'x'],
  ['clientSecret', 'x'],
  ['password', 'x'],
  ['Authorization', 'Bearer x'],
  ['set-cookie', 'x=y'],
  ['keys', ['a', 'b']],
  ['secrets', { a: 'b' }],
])('the value of a field named %s is never written', (name, value) => {
  expect(entry({ [name]: value, path: '/v1' })).toMatchObject({ [name]: '[redacted]', path: '/v1' })
})

test.each([
  ['in an object', { request: { headers: { authorization: 'sk-1' } } }, { request: { headers: { authorization: '[redacted]' } } }],
  ['in a list', { providers: [{ name: 'a', apiKey: 'sk-1' }] }, { providers: [{ name: 'a', apiKey: '[redacted]' }] }],
  ['in what an object says of itself', { request: { toJSON: () => ({ token: 'sk-1' }) } }, { request: { token: '[redacted]' } }],
])('a secret %s is not written either', (_where, fields, written) => {
  expect(entry(fields)).toMatchObject(written)
  expect(JSON.stringify(entry(fields))).not.toContain('sk-1')
})

test.each(['time', 'level', 'message'])('a field named %s does not take the place of ours', (name) => {
  expect(entry({ [name]: 'theirs' })).toMatchObject({ time: '2026-01-02T03:04:05.678Z', level: 'info', message: 'said' })
})

test('an error is written by its message', () => {
  expect(entry({ error: new TypeError('no such thing') })).toMatchObject({ error: 'TypeError: no such thing' })
})

test.each([
  [
    'a ring',
    () => {
      const ring: Record<string, unknown> = {}
      ring['self'] = ring
      return ring
    },
  ],
  ['a big number', () => 10n],
  [
    'an object that throws',
    () => ({
      toJSON: () => {
        throw new Error('no')
      },
    }),
  ],
])('%s among the fields does not keep the entry from being written', (_what, make) => {
  expect(entry({ odd: make(), path: '/v1' })).toMatchObject({ level: 'info', message: 'said' })
})

test('what JSON cannot hold is left out', () => {
  expect(entry({ nothing: undefined, fn: () => 1, number: Number.NaN })).toEqual({ time: expect.any(String), level: 'info', message: 'said', number: null })
})

test('a secret is hidden also beside a field that cannot be written', () => {
  expect(entry({ odd: { toJSON: () => JSON.parse('{') as unknown }, apiKey: 'sk-1' })).toMatchObject({ odd: '[not written]', apiKey: '[redacted]' })
})
