import { createHash } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { REFERENCE_HEADERS, renderReference } from './reference.ts'

const EVIL = `<script>alert('x')</script>"&`
const ESCAPED = '&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&amp;'
const page = renderReference(
  {
    info: { title: EVIL, version: '1', description: EVIL },
    paths: {
      '/a/{id}': {
        get: {
          summary: EVIL,
          tags: ['one'],
          parameters: [{ name: EVIL, in: 'path', required: true, description: EVIL }],
          responses: { 200: { description: EVIL } },
        },
        post: {
          summary: 'Makes',
          tags: ['two'],
          requestBody: { content: { 'application/json': { schema: { $ref: '#/components/schemas/Thing' } } } },
          responses: { 201: { description: 'Made', content: { 'application/json': { schema: { type: 'object', title: EVIL } } } } },
        },
      },
      '/b': { get: {} },
    },
    components: { schemas: { Thing: { type: 'object' }, [EVIL]: { description: EVIL } } },
  },
  `/doc?${EVIL}`,
)

test('nothing of a document becomes markup', () => {
  expect(page).not.toContain('<script')
  expect(page).toContain(ESCAPED)
  expect(page.replaceAll(/&(?:amp|lt|gt|quot|#39);/g, '')).not.toContain('&')
})

describe('the page', () => {
  test('shows every operation under its tag, in the document’s order', () => {
    expect([...page.matchAll(/<h2 id="([^"]*)"/g)].map(([, id]) => id)).toEqual(['tag-one', 'tag-two', 'tag-other', 'schemas'])
    expect([...page.matchAll(/<b>(\w+)<\/b> <code>([^<]*)<\/code>/g)].map(([, method, path]) => `${method} ${path}`)).toEqual([
      'GET /a/{id}',
      'POST /a/{id}',
      'GET /b',
    ])
  })

  test('leads from a body to its schema', () => {
    expect(page).toContain('<h4>Body</h4><a href="#schema-Thing">')
    expect(page).toContain('<details id="schema-Thing">')
  })

  test('says which parameters are needed', () => {
    expect(page).toContain('path, required')
  })
})

test('its policy lets its own style through, and nothing else', () => {
  const style = /<style>([^]*?)<\/style>/.exec(page)?.[1] ?? ''
  const hash = createHash('sha256').update(style).digest('base64')
  expect(REFERENCE_HEADERS['content-security-policy']).toBe(
    `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`,
  )
  expect(page).not.toMatch(/ style=| on\w+=|src=/)
})
