import { describe, expect, test } from 'vitest'
import { guard, guardSocket, type GuardOptions } from './guard.ts'

const LOOPBACK: GuardOptions = { loopback: true, origins: [] }
const OPEN: GuardOptions = { loopback: false, origins: [] }
const APP: GuardOptions = { loopback: true, origins: ['https://app.example'] }
const ALL: GuardOptions = { loopback: true, origins: ['*'] }

/** What comes of a check: nothing, or its code. */
function verdict(check: typeof guard, headers: Readonly<Record<string, string>>, options: GuardOptions): string {
  try {
    check((name) => headers[name], options)
    return 'passes'
  } catch (error) {
    return (error as { code: string }).code
  }
}

describe('a loopback listener', () => {
  test.each([
    ['localhost', 'passes'],
    ['localhost:4096', 'passes'],
    ['LocalHost:1', 'passes'],
    ['127.0.0.1', 'passes'],
    ['127.0.0.1:4096', 'passes'],
    ['127.255.255.254', 'passes'],
    ['[::1]', 'passes'],
    ['[::1]:4096', 'passes'],
    ['', 'forbidden_host'],
    ['example.org', 'forbidden_host'],
    ['localhost.', 'forbidden_host'],
    ['localhost.example.org', 'forbidden_host'],
    ['example.localhost', 'forbidden_host'],
    ['127.0.0.1.example.org', 'forbidden_host'],
    ['127.0.0', 'forbidden_host'],
    ['1127.0.0.1', 'forbidden_host'],
    ['0.0.0.0', 'forbidden_host'],
    ['2130706433', 'forbidden_host'],
    ['::1', 'forbidden_host'],
    ['[::ffff:127.0.0.1]', 'forbidden_host'],
    ['localhost:', 'forbidden_host'],
    ['localhost:abc', 'forbidden_host'],
    ['localhost@example.org', 'forbidden_host'],
  ])('named as %j: %s', (host, expected) => {
    expect([verdict(guard, { host }, LOOPBACK), verdict(guardSocket, { host }, LOOPBACK)]).toEqual([expected, expected])
  })

  test('must be named', () => {
    expect(verdict(guard, {}, LOOPBACK)).toBe('forbidden_host')
  })
})

describe('an origin', () => {
  const host = 'localhost:4096'
  test.each([
    ['none', undefined, LOOPBACK, 'passes'],
    ['the server’s own', 'http://localhost:4096', LOOPBACK, 'passes'],
    ['the server’s own in upper case', 'HTTP://LOCALHOST:4096', LOOPBACK, 'passes'],
    ['the server’s own over TLS, through a proxy', 'https://localhost:4096', LOOPBACK, 'passes'],
    ['another port', 'http://localhost:3000', LOOPBACK, 'forbidden_origin'],
    ['no port', 'http://localhost', LOOPBACK, 'forbidden_origin'],
    ['another name of this machine', 'http://127.0.0.1:4096', LOOPBACK, 'forbidden_origin'],
    ['another site', 'https://evil.example', LOOPBACK, 'forbidden_origin'],
    ['null, as a file or a sandboxed frame has it', 'null', LOOPBACK, 'forbidden_origin'],
    ['nonsense', 'http://[', LOOPBACK, 'forbidden_origin'],
    ['nothing', '', LOOPBACK, 'forbidden_origin'],
    ['a configured one', 'https://app.example', APP, 'passes'],
    ['one beside a configured one', 'https://app.example:444', APP, 'forbidden_origin'],
    ['one that begins like a configured one', 'https://app.example.evil.example', APP, 'forbidden_origin'],
    ['any, where all may ask', 'https://evil.example', ALL, 'passes'],
    ['null, where all may ask', 'null', ALL, 'passes'],
  ])('%s (%s) on loopback', (_what, origin, options, expected) => {
    const headers = { host, ...(origin === undefined ? {} : { origin }) }
    expect([verdict(guard, headers, options), verdict(guardSocket, headers, options)]).toEqual([expected, expected])
  })
})

describe('a listener that others can reach', () => {
  test('goes by any name', () => {
    expect(verdict(guard, { host: 'agents.example' }, OPEN)).toBe('passes')
    expect(verdict(guard, {}, OPEN)).toBe('passes')
  })

  test.each([
    ['its own', 'https://agents.example', 'passes', 'passes'],
    ['another: CORS holds back its requests, but not its sockets', 'https://evil.example', 'passes', 'forbidden_origin'],
    ['null', 'null', 'passes', 'forbidden_origin'],
  ])('hears from the origin %s', (_what, origin, request, socket) => {
    const headers = { host: 'agents.example', origin }
    expect([verdict(guard, headers, OPEN), verdict(guardSocket, headers, OPEN)]).toEqual([request, socket])
  })
})
