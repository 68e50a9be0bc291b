import { describe, expect, test } from 'vitest'
import { corsHeaders, type CorsOptions } from './cors.ts'

const APP = 'https://app.example'
const ask = (options: CorsOptions, method: string, headers: Readonly<Record<string, string>>) => corsHeaders(options, method, (name) => headers[name])
const preflight = { origin: APP, 'access-control-request-method': 'POST' }

describe('a request', () => {
  test('of no origin gets nothing but what caches must know', () => {
    expect(ask({ origins: [APP] }, 'GET', {})).toEqual({ headers: { vary: 'Origin' }, preflight: false })
    expect(ask({ origins: ['*'] }, 'GET', {})).toEqual({ headers: {}, preflight: false })
  })

  test('of a configured origin may be read, with the headers that matter', () => {
    expect(ask({ origins: ['https://other.example', APP] }, 'GET', { origin: APP })).toEqual({
      headers: {
        vary: 'Origin',
        'access-control-allow-origin': APP,
        'access-control-expose-headers': 'ETag, Location, Link, Retry-After, X-Request-Id, Idempotency-Replayed, Convoke-Log-Id',
      },
      preflight: false,
    })
  })

  test.each(['https://evil.example', 'null', 'http://app.example', `${APP}:444`, `${APP}/`, ''])('of the origin %j gets nothing', (origin) => {
    expect(ask({ origins: [APP] }, 'GET', { origin }).headers).toEqual({ vary: 'Origin' })
  })

  test('of any origin may be read where all may, without being named', () => {
    expect(ask({ origins: ['*'] }, 'GET', { origin: 'https://any.example' }).headers['access-control-allow-origin']).toBe('*')
  })

  test('may bring cookies only where that is configured', () => {
    expect(ask({ origins: [APP], credentials: true }, 'GET', { origin: APP }).headers['access-control-allow-credentials']).toBe('true')
    expect(ask({ origins: [APP], credentials: false }, 'GET', { origin: APP }).headers).not.toHaveProperty('access-control-allow-credentials')
    expect(ask({ origins: [APP], credentials: true }, 'GET', { origin: 'https://evil.example' }).headers).not.toHaveProperty('access-control-allow-credentials')
  })
})

describe('a preflight', () => {
  test('of a configured origin is told what it may do, for ten minutes', () => {
    expect(ask({ origins: [APP] }, 'OPTIONS', preflight)).toEqual({
      headers: {
        vary: 'Origin',
        'access-control-allow-origin': APP,
        'access-control-allow-methods': 'GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS',
        'access-control-allow-headers': 'Content-Type, Authorization, X-API-Key, X-Request-Id, Last-Event-ID, Idempotency-Key, If-Match, If-None-Match',
        'access-control-max-age': '600',
      },
      preflight: true,
    })
  })

  test('says what is configured instead', () => {
    const { headers } = ask({ origins: [APP], methods: ['GET'], allowedHeaders: ['X-Own'] }, 'OPTIONS', preflight)
    expect([headers['access-control-allow-methods'], headers['access-control-allow-headers']]).toEqual(['GET', 'X-Own'])
  })

  test('of another origin ends there, and allows nothing', () => {
    expect(ask({ origins: [APP] }, 'OPTIONS', { ...preflight, origin: 'https://evil.example' })).toEqual({ headers: { vary: 'Origin' }, preflight: true })
  })

  test.each([
    ['OPTIONS without the question', 'OPTIONS', { origin: APP }],
    ['the question by another method', 'POST', preflight],
    ['OPTIONS of no origin', 'OPTIONS', { 'access-control-request-method': 'POST' }],
  ])('is not: %s', (_what, method, headers) => {
    expect(ask({ origins: [APP] }, method, headers).preflight).toBe(false)
  })
})
