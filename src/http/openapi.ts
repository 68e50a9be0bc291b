/** The OpenAPI 3.1 document, made from the routes: the schemas in it are those that validate. Built when it is first asked for. */
import { z } from 'zod'
import type { ErrorCode } from '../domain/errors.ts'
import type { Route } from './route.ts'
import { STATUS } from './errors.ts'

/** What the document says of the server. */
export interface DocumentInfo {
  readonly title: string
  readonly version: string
  readonly description: string
  /** The schema of every error. */
  readonly problem: z.ZodType
  /** Schemas that no route names: the events of the streams. */
  readonly components: Readonly<Record<string, z.ZodType>>
}

/** Codes that any route may answer. */
const COMMON: readonly ErrorCode[] = [
  'invalid_request',
  'forbidden_host',
  'forbidden_origin',
  'payload_too_large',
  'headers_too_large',
  'internal_error',
  'store_failed',
  'overloaded',
  'store_unknown',
  'request_timeout',
  'shutting_down',
]
/** Codes of routes that need to know who asks. */
const PROTECTED: readonly ErrorCode[] = ['unauthorized', 'forbidden']
/** Codes of routes that change something. */
const WRITING: readonly ErrorCode[] = ['invalid_idempotency_key', 'idempotency_key_reused']
/** Codes of routes with a body. */
const BODY: readonly ErrorCode[] = ['invalid_json', 'invalid_body', 'unsupported_media_type']

const IDEMPOTENCY_KEY = z
  .string()
  .regex(/^[\x21-\x7e]{1,255}$/)
  .optional()
  .describe('makes the command take effect once; remembered for 24 hours')
const REQUEST_ID = { 'X-Request-Id': { description: 'The id of this request, given or made', schema: { type: 'string' as const } } }
const REPLAYED = { 'Idempotency-Replayed': { description: 'true: the answer of an earlier request with the same key', schema: { type: 'string' as const } } }

/** The document of `routes`. */
export async function openApiDocument(routes: readonly Route[], info: DocumentInfo): Promise<Record<string, unknown>> {
  const { OpenAPIRegistry, OpenApiGeneratorV31 } = await import('@asteasolutions/zod-to-openapi')
  const registry = new OpenAPIRegistry()
  registry.registerComponent('securitySchemes', 'bearer_auth', { type: 'http', scheme: 'bearer' })
  registry.registerComponent('securitySchemes', 'api_key', { type: 'apiKey', in: 'header', name: 'X-API-Key' })
  for (const route of routes) registry.registerPath(pathOf(route, info.problem))
  const named = Object.entries(info.components).map(([name, schema]) => ({
    type: 'schema' as const,
    schema: schema.meta()?.id === undefined ? schema.meta({ id: name }) : schema,
  }))
  const generator = new OpenApiGeneratorV31([...registry.definitions, ...named])
  const tags = [...new Set(routes.map((route) => route.tag))].map((name) => ({ name, description: `Routes about ${name}` }))
  const document = generator.generateDocument({
    openapi: '3.1.0',
    info: { title: info.title, version: info.version, description: info.description, license: { name: 'Apache-2.0', identifier: 'Apache-2.0' } },
    servers: [{ url: '/', description: 'This server' }],
    tags,
  })
  const { webhooks: _webhooks, ...rest } = document
  return rest
}

type PathConfig = Parameters<InstanceType<(typeof import('@asteasolutions/zod-to-openapi'))['OpenAPIRegistry']>['registerPath']>[0]

function pathOf(route: Route, problem: z.ZodType): PathConfig {
  const writing = route.method !== 'get'
  const responses: Record<string, PathConfig['responses'][string]> = {}
  for (const [status, answer] of Object.entries(route.answers)) {
    const content = answer.schema === undefined ? {} : { content: { [answer.contentType ?? 'application/json']: { schema: answer.schema } } }
    responses[status] = { description: answer.description, headers: { ...REQUEST_ID, ...(writing ? REPLAYED : {}), ...answer.headers }, ...content }
  }
  for (const [status, codes] of errorsOf(route)) {
    responses[String(status)] = { description: codes.join(', '), headers: REQUEST_ID, content: { 'application/problem+json': { schema: problem } } }
  }
  const headers = writing ? (route.headers ?? z.object({})).extend({ 'idempotency-key': IDEMPOTENCY_KEY }) : route.headers
  return {
    method: route.method,
    path: route.path,
    operationId: route.id,
    summary: route.summary,
    tags: [route.tag],
    security: route.public === true ? [] : [{ bearer_auth: [] }, { api_key: [] }],
    request: {
      ...(route.params === undefined ? {} : { params: route.params }),
      ...(route.query === undefined ? {} : { query: route.query }),
      ...(headers === undefined ? {} : { headers }),
      ...(route.body === undefined ? {} : { body: { required: true, content: { 'application/json': { schema: route.body } } } }),
    },
    responses,
  }
}

function errorsOf(route: Route): ReadonlyMap<number, readonly ErrorCode[]> {
  const groups = [route.public === true ? [] : PROTECTED, route.method === 'get' ? [] : WRITING, route.body === undefined ? [] : BODY]
  const codes = new Set([...route.errors, ...COMMON, ...groups.flat()])
  const byStatus = new Map<number, ErrorCode[]>()
  for (const code of codes) byStatus.set(STATUS[code], [...(byStatus.get(STATUS[code]) ?? []), code])
  return byStatus
}
