/** Sessions: list, create, read, change, delete. */
import { z } from 'zod'
import type { Scope } from '../../domain/principal.ts'
import type { Receipt } from '../../command/purge.ts'
import type { CommandResult } from '../../command/service.ts'
import type { Answer, Call, Route } from '../../http/route.ts'
import type { ListKey } from '../../projection/reads.ts'
import type { SessionSummary } from '../../projection/session-summary.ts'
import type { V1Context } from './context.ts'
import { ConvokeError } from '../../domain/errors.ts'
import { parseSessionId, sessionId, type SessionId } from '../../domain/ids.ts'
import { LIST_LIMIT_MAX } from '../../projection/reads.ts'
import * as wire from '../../wire/v1/schemas.ts'
import { authorizedSession, findSession, sessionIdOf } from './context.ts'
import { requireScope } from '../../domain/principal.ts'
import { encodeConfig } from './server-routes.ts'
import { replayHeaders } from './answers.ts'
import { intQuery, parseQuery } from './query.ts'

const SESSION_PARAMS = z.object({ id: z.string().describe('UUID of the session') })
/** Default rows of a list. */
const LIST_LIMIT = 100
const LIST_QUERY = z.object({
  limit: intQuery(1, LIST_LIMIT_MAX).optional(),
  offset: intQuery(0, Number.MAX_SAFE_INTEGER).optional(),
  cursor: z.string().max(200).optional().describe('next_cursor of the page before; instead of offset'),
  search: z.string().max(1000).optional().describe('part of the title'),
  status: z.string().optional().describe('ACTIVE (default), DELETED, or ALL; in any case'),
})

const DELETE_QUERY = z.object({ purge: z.enum(['true', 'false']).optional().describe('true: for good') })

/** The routes about sessions. */
export function sessionRoutes(context: V1Context): readonly Route[] {
  return [listSessions(context), createSession(context), getSession(context), forkSession(context), updateSession(context), deleteSession(context)]
}

function listSessions(context: V1Context): Route {
  return {
    method: 'get',
    path: '/v1/sessions',
    id: 'listSessions',
    summary: 'Lists sessions, the last changed first',
    tag: 'sessions',
    query: LIST_QUERY,
    answers: { 200: { description: 'A page of sessions', schema: wire.SessionList } },
    errors: ['invalid_request', 'invalid_cursor', 'unauthorized', 'forbidden'],
    async handle(call) {
      const query = parseQuery(call.url, LIST_QUERY)
      requireScope(call.principal, 'sessions:read')
      const status = statusOf(query.status)
      const limit = query.limit ?? LIST_LIMIT
      const page = await context.reads.sessions({
        owner: call.principal.user,
        limit,
        ...(status === undefined ? {} : { status }),
        ...(query.search === undefined ? {} : { search: query.search }),
        ...(query.cursor === undefined ? { offset: query.offset ?? 0 } : { after: decodeCursor(query.cursor) }),
      })
      const last = page.items.at(-1)
      const next = last !== undefined && page.items.length === limit ? encodeCursor(last) : null
      return { status: 200, json: { sessions: page.items.map(encodeSession), total: page.total, next_cursor: next } }
    },
  }
}

function createSession(context: V1Context): Route {
  return {
    method: 'post',
    path: '/v1/sessions',
    id: 'createSession',
    summary: 'Opens a session',
    tag: 'sessions',
    body: wire.CreateSession,
    answers: { 201: { description: 'The session', schema: wire.Session } },
    errors: ['invalid_request', 'invalid_model', 'cwd_not_allowed', 'idempotency_key_reused', 'unauthorized', 'forbidden'],
    async handle(call) {
      requireScope(call.principal, 'sessions:write')
      const body = await call.json(wire.CreateSession)
      const idempotency = call.idempotency(body)
      const agent = requireAgent(context, body.agent ?? context.agents[0] ?? '')
      const cwd = body.cwd == null ? {} : { cwd: await context.resolveCwd(body.cwd) }
      const model = body.model === undefined ? {} : { model: context.models.resolve(body.model) }
      const onInterrupt = body.on_interrupt == null ? {} : { onInterrupt: body.on_interrupt }
      const command = { type: 'CreateSession', title: body.title, agent, ...cwd, ...model, ...onInterrupt } as const
      const result = await context.commands.execute(sessionId(context.random.uuid()), command, call.principal, idempotency)
      return openedSession(context, call, result)
    },
  }
}

function getSession(context: V1Context): Route {
  return {
    method: 'get',
    path: '/v1/sessions/{id}',
    id: 'getSession',
    summary: 'One session',
    tag: 'sessions',
    params: SESSION_PARAMS,
    answers: { 200: { description: 'The session and the server’s settings', schema: wire.SessionDetail } },
    errors: ['invalid_id', 'not_found', 'unauthorized', 'forbidden'],
    async handle(call) {
      return { status: 200, json: await sessionDetail(context, call, 'sessions:read') }
    },
  }
}

function forkSession(context: V1Context): Route {
  return {
    method: 'post',
    path: '/v1/sessions/{id}/fork',
    id: 'forkSession',
    summary: 'Opens a session whose history is this one’s up to a position',
    tag: 'sessions',
    params: SESSION_PARAMS,
    body: wire.ForkSession,
    answers: { 201: { description: 'The new session', schema: wire.Session } },
    errors: ['invalid_id', 'invalid_fork_point', 'not_found', 'session_deleted', 'idempotency_key_reused', 'unauthorized', 'forbidden'],
    async handle(call) {
      const origin = sessionIdOf(call.param('id'))
      const body = await call.json(wire.ForkSession)
      const command = { type: 'ForkSession', origin, at: body.at, ...(body.title == null ? {} : { title: body.title }) } as const
      const result = await context.commands.fork(sessionId(context.random.uuid()), command, call.principal, call.idempotency(body))
      return openedSession(context, call, result)
    },
  }
}

/** The answer that shows a session which a command opened, now or before. */
async function openedSession(context: V1Context, call: Call, result: CommandResult): Promise<Answer> {
  if (!result.replayed) context.onSessionCreated(result.stream)
  const summary = await findSession(context, result.stream, call.principal, 'sessions:write')
  return { status: 201, json: encodeSession(summary), headers: { location: `/v1/sessions/${result.stream}`, ...replayHeaders(result) } }
}

function updateSession(context: V1Context): Route {
  return {
    method: 'patch',
    path: '/v1/sessions/{id}',
    id: 'updateSession',
    summary: 'Changes a session: title, visibility, agent, what an interruption means',
    tag: 'sessions',
    params: SESSION_PARAMS,
    body: wire.UpdateSession,
    answers: { 200: { description: 'The session and the server’s settings', schema: wire.SessionDetail } },
    errors: ['invalid_id', 'invalid_request', 'not_found', 'idempotency_key_reused', 'unauthorized', 'forbidden'],
    async handle(call) {
      const id = sessionIdOf(call.param('id'))
      const body = await call.json(wire.UpdateSession)
      const change = {
        ...(body.title == null ? {} : { title: body.title }),
        ...(body.visibility == null ? {} : { visibility: body.visibility }),
        ...(body.agent == null ? {} : { agent: requireAgent(context, body.agent) }),
        ...(body.on_interrupt == null ? {} : { onInterrupt: body.on_interrupt }),
      }
      const result = await context.commands.execute(id, { type: 'UpdateSession', ...change }, call.principal, call.idempotency(body))
      return { status: 200, json: await sessionDetail(context, call, 'sessions:write'), headers: replayHeaders(result) }
    },
  }
}

function deleteSession(context: V1Context): Route {
  return {
    method: 'delete',
    path: '/v1/sessions/{id}',
    id: 'deleteSession',
    summary: 'Hides a session and cancels its run; its log stays, unless it is purged',
    tag: 'sessions',
    params: SESSION_PARAMS,
    query: DELETE_QUERY,
    answers: { 200: { description: 'Purged: what is gone', schema: wire.Receipt }, 204: { description: 'Deleted, now or before' } },
    errors: ['invalid_id', 'invalid_request', 'not_found', 'session_already_running', 'idempotency_key_reused', 'unauthorized', 'forbidden'],
    async handle(call) {
      const id = sessionIdOf(call.param('id'))
      const { purge } = parseQuery(call.url, DELETE_QUERY)
      if (purge === 'true') {
        const purged = await context.purger.purge(id, call.principal, call.idempotency({ purge }))
        return { status: 200, json: encodeReceipt(id, purged.receipt), headers: replayHeaders(purged) }
      }
      const result = await context.commands.execute(id, { type: 'DeleteSession' }, call.principal, call.idempotency({}))
      return { status: 204, headers: replayHeaders(result) }
    },
  }
}

function encodeReceipt(id: SessionId, receipt: Receipt): wire.Receipt {
  const { batches, messages, state, index, segmentsFreed, segmentsKept, files } = receipt
  return { session_id: id, rows: { batches, messages, state }, indexes: index, segments: { freed: segmentsFreed, kept: segmentsKept }, files }
}

/** @throws {ConvokeError} `invalid_request` */
function requireAgent(context: V1Context, agent: string): string {
  if (context.agents.includes(agent)) return agent
  throw new ConvokeError('invalid_request', `there is no agent ${agent}`, { errors: [{ pointer: '/agent', detail: 'unknown agent' }] })
}

async function sessionDetail(context: V1Context, call: Call, scope: Scope): Promise<wire.SessionDetail> {
  const found = await context.reads.sessionAt(sessionIdOf(call.param('id')))
  const summary = authorizedSession(call.principal, scope, found?.summary)
  return { session: encodeSession(summary), config: encodeConfig(context), position: found?.head ?? 0, run_position: summary.run.startedAt ?? null }
}

/** A session as the wire shows it. */
export function encodeSession(summary: SessionSummary): wire.Session {
  const { run } = summary
  const state = run.state === 'waiting' ? 'running' : run.state
  return {
    id: summary.id,
    title: summary.title,
    cwd: summary.cwd ?? null,
    created_at: new Date(summary.createdAtMs).toISOString(),
    updated_at: new Date(summary.updatedAtMs).toISOString(),
    run_status: {
      state,
      ...(run.runId === undefined ? {} : { run_id: run.runId }),
      ...(run.state === 'waiting' ? { waiting: true as const } : {}),
      ...(run.resume === undefined ? {} : { resume: run.resume }),
      ...(run.error === undefined ? {} : { error: run.error }),
      ...(run.code === undefined ? {} : { code: run.code }),
    },
    status: summary.status === 'deleted' ? 'DELETED' : 'ACTIVE',
    visibility: summary.visibility,
    agent: summary.agent,
    model: summary.model ?? null,
    on_interrupt: summary.onInterrupt ?? 'resume',
    message_count: summary.messageCount,
    origin: summary.origin === undefined ? null : { session_id: summary.origin.sessionId, position: summary.origin.position },
  }
}

/** Deleted sessions are hidden unless they are asked for. An unknown value is ignored, as the contract says. */
function statusOf(status: string | undefined): 'active' | 'deleted' | undefined {
  switch (status?.toUpperCase()) {
    case 'DELETED':
      return 'deleted'
    case 'ALL':
      return undefined
    default:
      return 'active'
  }
}

function encodeCursor(row: SessionSummary): string {
  return `${row.updatedAtMs.toString(36)}.${row.id}`
}

function decodeCursor(text: string): ListKey {
  const dot = text.indexOf('.')
  const updatedAtMs = Number.parseInt(text.slice(0, dot), 36)
  const id = parseSessionId(text.slice(dot + 1))
  if (dot < 1 || !Number.isSafeInteger(updatedAtMs) || id === undefined) throw new ConvokeError('invalid_cursor', 'this cursor is none of ours')
  return { updatedAtMs, id }
}
