import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { Route } from './route.ts'
import { openApiDocument } from './openapi.ts'

const Problem = z.object({ code: z.string() }).meta({ id: 'Problem' })
const Thing = z.object({ id: z.uuid(), size: z.int().min(0).optional() }).meta({ id: 'Thing' })
const handle = async () => ({ status: 200 })
const ROUTES: readonly Route[] = [
  {
    method: 'get',
    path: '/open',
    id: 'open',
    summary: 'Open',
    tag: 'one',
    public: true,
    answers: { 200: { description: 'It is', schema: z.object({}) } },
    errors: [],
    handle,
  },
  {
    method: 'get',
    path: '/things/{id}',
    id: 'getThing',
    summary: 'A thing',
    tag: 'two',
    params: z.object({ id: z.string() }),
    query: z.object({ limit: z.string().optional() }),
    headers: z.object({ 'last-event-id': z.string().optional() }),
    answers: {
      200: {
        description: 'Frames',
        contentType: 'text/event-stream',
        schema: z.string(),
        headers: { 'X-Own': { description: 'Own', schema: { type: 'string' } } },
      },
      204: { description: 'None' },
    },
    errors: ['not_found', 'route_not_found', 'queue_full'],
    handle,
  },
  {
    method: 'post',
    path: '/things',
    id: 'makeThing',
    summary: 'Makes one',
    tag: 'two',
    body: Thing,
    answers: { 201: { description: 'Made', schema: Thing } },
    errors: ['invalid_model'],
    handle,
  },
]
// A test looks into a document of any shape.
// oxlint-disable-next-line typescript/no-explicit-any
const made: Promise<any> = openApiDocument(ROUTES, {
  title: 'T',
  version: '1.2.3',
  description: 'D',
  problem: Problem,
  components: { Extra: z.object({ thing: Thing }) },
})

describe('the document', () => {
  test('says what it is, and names no webhooks', async () => {
    const document = await made
    expect(document).toMatchObject({ openapi: '3.1.0', info: { title: 'T', version: '1.2.3', description: 'D' }, servers: [{ url: '/' }] })
    expect(document).not.toHaveProperty('webhooks')
    expect(document.tags.map(({ name }: { name: string }) => name)).toEqual(['one', 'two'])
  })

  test('holds each schema once, under its name, those that no route names too', async () => {
    const { components } = await made
    expect(Object.keys(components.schemas).sort()).toEqual(['Extra', 'Problem', 'Thing'])
    expect(components.schemas.Extra.properties.thing).toEqual({ $ref: '#/components/schemas/Thing' })
    expect(components.schemas.Thing).toMatchObject({
      type: 'object',
      required: ['id'],
      properties: { id: { format: 'uuid' }, size: { type: 'integer', minimum: 0 } },
    })
    expect(components.securitySchemes).toEqual({
      bearer_auth: { type: 'http', scheme: 'bearer' },
      api_key: { type: 'apiKey', in: 'header', name: 'X-API-Key' },
    })
  })

  test('asks for a key by either header, but where a route is public', async () => {
    const { paths } = await made
    expect(paths['/open'].get.security).toEqual([])
    expect(paths['/things'].post.security).toEqual([{ bearer_auth: [] }, { api_key: [] }])
  })
})

describe('the answers of a route', () => {
  const statusesOf = async (path: string, method: string) => Object.keys((await made).paths[path][method].responses).map(Number)
  const codesOf = async (path: string, method: string, status: number): Promise<string[]> =>
    (await made).paths[path][method].responses[status].description.split(', ')

  test.each([
    ['/open', 'get', [200, 400, 403, 413, 431, 500, 503]],
    ['/things/{id}', 'get', [200, 204, 400, 401, 403, 404, 413, 429, 431, 500, 503]],
    ['/things', 'post', [201, 400, 401, 403, 409, 413, 415, 422, 431, 500, 503]],
  ])('%s %s are those that it may give: %j', async (path, method, expected) => {
    expect(await statusesOf(path, method)).toEqual(expected)
  })

  test('name their codes, those of its own first, each once', async () => {
    expect(await codesOf('/things/{id}', 'get', 404)).toEqual(['not_found', 'route_not_found'])
    expect(await codesOf('/things', 'post', 400)).toEqual(['invalid_model', 'invalid_request', 'invalid_idempotency_key', 'invalid_json'])
    expect(await codesOf('/things', 'post', 409)).toEqual(['idempotency_key_reused'])
    expect(await codesOf('/things/{id}', 'get', 403)).toEqual(['forbidden_host', 'forbidden_origin', 'forbidden'])
    expect(await codesOf('/open', 'get', 403)).toEqual(['forbidden_host', 'forbidden_origin'])
  })

  test('are problems where they are errors, and all carry the request id', async () => {
    const { paths } = await made
    for (const [status, answer] of Object.entries<Record<string, object>>(paths['/things'].post.responses)) {
      expect(Object.keys(answer['headers'] ?? {})).toContain('X-Request-Id')
      const type = Number(status) < 400 ? 'application/json' : 'application/problem+json'
      const name = Number(status) < 400 ? 'Thing' : 'Problem'
      expect(answer['content']).toEqual({ [type]: { schema: { $ref: `#/components/schemas/${name}` } } })
    }
  })

  test('may be of another type, with headers of their own, or of none', async () => {
    const { responses } = (await made).paths['/things/{id}'].get
    expect(Object.keys(responses[200].content)).toEqual(['text/event-stream'])
    expect(Object.keys(responses[200].headers)).toEqual(['X-Request-Id', 'X-Own'])
    expect(responses[204]).not.toHaveProperty('content')
  })
})

describe('the request of a route', () => {
  const named = async (path: string, method: string) =>
    ((await made).paths[path][method].parameters ?? []).map(
      (parameter: { in: string; name: string; required: boolean }) => `${parameter.in} ${parameter.name} ${parameter.required}`,
    )

  test('is its path, query and headers', async () => {
    expect(await named('/things/{id}', 'get')).toEqual(['path id true', 'query limit false', 'header last-event-id false'])
    expect(await named('/open', 'get')).toEqual([])
  })

  test('that changes something may carry a key, and its answer says whether that was known', async () => {
    expect(await named('/things', 'post')).toEqual(['header idempotency-key false'])
    const { post } = (await made).paths['/things']
    expect(Object.keys(post.responses[201].headers)).toEqual(['X-Request-Id', 'Idempotency-Replayed'])
    expect(post.requestBody).toEqual({ required: true, content: { 'application/json': { schema: { $ref: '#/components/schemas/Thing' } } } })
  })
})
