/** The document that describes the routes, and the page that shows it. Both are made when they are first asked for. */
import { z } from 'zod'
import type { Route } from '../../http/route.ts'
import { ERROR_CODES } from '../../domain/errors.ts'
import { openApiDocument } from '../../http/openapi.ts'
import { REFERENCE_HEADERS, renderReference } from '../../http/reference.ts'
import { eventComponents } from '../../wire/v1/events.ts'
import { Problem } from '../../wire/v1/schemas.ts'
import { SocketCommand, SocketMessage } from '../../wire/v1/socket.ts'

const DOCUMENT_PATH = '/v1/openapi.json'
const ErrorCode = z.enum(Object.keys(ERROR_CODES) as [string, ...string[]]).describe('every code that `code` of a Problem may hold')

/** The document and its page. @param routes Every route that the document covers, these two included once they are added. */
export function documentRoutes(routes: readonly Route[], version: string): readonly Route[] {
  let document: Promise<Record<string, unknown>> | undefined
  let page: Promise<string> | undefined
  const build = () => (document ??= openApiDocument(routes, infoOf(version)))
  return [
    {
      method: 'get',
      path: DOCUMENT_PATH,
      id: 'openapi',
      summary: 'This document',
      tag: 'server',
      public: true,
      answers: { 200: { description: 'OpenAPI 3.1', schema: z.record(z.string(), z.unknown()) } },
      errors: [],
      handle: async () => ({ status: 200, json: await build() }),
    },
    {
      method: 'get',
      path: '/docs',
      id: 'reference',
      summary: 'This document as a page',
      tag: 'server',
      public: true,
      answers: { 200: { description: 'HTML', contentType: 'text/html', schema: z.string() } },
      errors: [],
      handle: async () => ({ status: 200, text: await (page ??= build().then((built) => renderReference(built, DOCUMENT_PATH))), headers: REFERENCE_HEADERS }),
    },
  ]
}

function infoOf(version: string) {
  return {
    title: 'Convoke',
    version,
    description: 'A server for AI agents whose sessions are durable logs.',
    problem: Problem,
    components: { ErrorCode, ...eventComponents(), SocketCommand, SocketMessage },
  }
}
