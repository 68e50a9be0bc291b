/** Runs: pending calls, decisions, cancel, model switch. */
import { z } from 'zod'
import type { DecideCalls } from '../../domain/command.ts'
import type { Call, Route } from '../../http/route.ts'
import type { V1Context } from './context.ts'
import { ConvokeError } from '../../domain/errors.ts'
import { runId, type SessionId } from '../../domain/ids.ts'
import * as wire from '../../wire/v1/schemas.ts'
import { replayHeaders } from './answers.ts'
import { findSession, sessionIdOf } from './context.ts'

const PARAMS = z.object({ id: z.string().describe('UUID of the session') })
const CALL_PARAMS = PARAMS.extend({ tool_call_id: z.string().describe('id of the call') })
const DECISION_ERRORS = [
  'invalid_id',
  'invalid_request',
  'not_found',
  'tool_call_not_found',
  'session_not_running',
  'run_mismatch',
  'decision_conflict',
  'idempotency_key_reused',
  'unauthorized',
  'forbidden',
] as const

/** The routes about runs. */
export function runRoutes(context: V1Context): readonly Route[] {
  return [
    pendingTools(context),
    decideOne(context),
    decideMany(context, 'decisions'),
    decideMany(context, 'resolve'),
    cancelRun(context),
    resumeRun(context),
    setModel(context),
  ]
}

function pendingTools(context: V1Context): Route {
  return {
    method: 'get',
    path: '/v1/sessions/{id}/tools/pending',
    id: 'pendingTools',
    summary: 'Calls that wait for a decision',
    tag: 'runs',
    params: PARAMS,
    answers: { 200: { description: 'The open calls; none when nothing waits', schema: wire.PendingTools } },
    errors: ['invalid_id', 'not_found', 'unauthorized', 'forbidden'],
    async handle(call) {
      const summary = await findSession(context, call.param('id'), call.principal)
      const state = await context.store.state(summary.id)
      const asked = state?.calls.filter((open) => open.status === 'asked') ?? []
      if (state?.run === undefined) return { status: 200, json: { run_id: null, tool_calls: [] } }
      // An own agent may ask while it waits for other answers.
      const places = [...new Set(asked.map(({ proposedAt }) => proposedAt))]
      const calls = await Promise.all(places.map((place) => proposedCalls(context, summary.id, place)))
      const pending = calls.flat().filter((proposed) => asked.some((open) => open.id === proposed.id))
      return { status: 200, json: { run_id: state.run.id, tool_calls: pending } }
    },
  }
}

/** The calls of the event at `position`, in the wire's shape. */
async function proposedCalls(context: V1Context, id: SessionId, position: number): Promise<readonly wire.ToolCall[]> {
  const page = await context.store.read(id, position - 1, 1)
  const event = page?.events[0]?.event
  if (event?.type !== 'ToolCallsProposed') return []
  return event.calls.map(({ id: callId, name, arguments: args, metadata }) => ({
    id: callId,
    name,
    arguments: args,
    ...(metadata === undefined ? {} : { metadata }),
  }))
}

function decideOne(context: V1Context): Route {
  return {
    method: 'post',
    path: '/v1/sessions/{id}/tools/{tool_call_id}/decision',
    id: 'decideToolCall',
    summary: 'Answers one call',
    tag: 'runs',
    params: CALL_PARAMS,
    body: wire.Decision,
    answers: { 200: { description: 'The answer stands', schema: wire.Decided } },
    errors: DECISION_ERRORS,
    async handle(call) {
      const body = await call.json(wire.Decision)
      return decide(context, call, body, { run_id: body.run_id, decisions: { [call.param('tool_call_id')]: body } })
    },
  }
}

function decideMany(context: V1Context, name: 'decisions' | 'resolve'): Route {
  return {
    method: 'post',
    path: `/v1/sessions/{id}/tools/${name}`,
    id: name === 'decisions' ? 'decideToolCalls' : 'resolveToolCalls',
    summary: 'Answers several calls: all or none',
    tag: 'runs',
    params: PARAMS,
    body: wire.Decisions,
    answers: { 200: { description: 'The answers stand', schema: wire.Decided } },
    errors: DECISION_ERRORS,
    async handle(call) {
      const body = await call.json(wire.Decisions)
      return decide(context, call, body, body)
    },
  }
}

async function decide(context: V1Context, call: Call, body: unknown, decisions: wire.Decisions) {
  const id = sessionIdOf(call.param('id'))
  const result = await context.commands.execute(id, decisionCommand(decisions), call.principal, call.idempotency(body))
  return { status: 200, json: { accepted: true, run_id: decisions.run_id, position: result.to }, headers: replayHeaders(result) }
}

/** The command of a bulk decision. @throws {ConvokeError} `invalid_request` */
export function decisionCommand(body: wire.Decisions): DecideCalls {
  const entries = Object.entries(body.decisions)
  if (entries.length > wire.DECISIONS_MAX) throw new ConvokeError('invalid_request', `at most ${wire.DECISIONS_MAX} decisions at once`)
  const decisions = entries.map(([toolCallId, { action, content }]) => {
    if (action === 'custom_result' && content == null)
      throw new ConvokeError('invalid_request', 'custom_result needs content', { errors: [{ pointer: '/content', detail: 'is missing' }] })
    return { toolCallId, action, ...(content == null ? {} : { content }) }
  })
  return { type: 'DecideCalls', runId: runId(body.run_id.toLowerCase()), decisions }
}

function cancelRun(context: V1Context): Route {
  return {
    method: 'post',
    path: '/v1/sessions/{id}/cancel',
    id: 'cancelRun',
    summary: 'Stops the run',
    tag: 'runs',
    params: PARAMS,
    body: wire.Cancel,
    answers: { 200: { description: 'The run was cancelled, or is being cancelled', schema: wire.Cancelled } },
    errors: ['invalid_id', 'not_found', 'session_not_running', 'run_mismatch', 'idempotency_key_reused', 'unauthorized', 'forbidden'],
    async handle(call) {
      const id = sessionIdOf(call.param('id'))
      const body = await call.json(wire.Cancel)
      const command = { type: 'CancelRun', runId: runId(body.run_id.toLowerCase()) } as const
      const result = await context.commands.execute(id, command, call.principal, call.idempotency(body))
      const status = result.reply.cancel ?? 'cancelling'
      return { status: 200, json: { cancelled: true, run_id: body.run_id, status, position: result.to }, headers: replayHeaders(result) }
    },
  }
}

function resumeRun(context: V1Context): Route {
  return {
    method: 'post',
    path: '/v1/sessions/{id}/resume',
    id: 'resumeRun',
    summary: 'Says whether an interrupted run goes on',
    tag: 'runs',
    params: PARAMS,
    body: wire.Resume,
    answers: { 200: { description: 'The answer stands', schema: wire.Resumed } },
    errors: ['invalid_id', 'not_found', 'session_not_running', 'run_mismatch', 'decision_conflict', 'idempotency_key_reused', 'unauthorized', 'forbidden'],
    async handle(call) {
      const id = sessionIdOf(call.param('id'))
      const body = await call.json(wire.Resume)
      const command = { type: 'ResumeRun', runId: runId(body.run_id.toLowerCase()), action: body.action } as const
      const result = await context.commands.execute(id, command, call.principal, call.idempotency(body))
      return { status: 200, json: { accepted: true, run_id: body.run_id, position: result.to }, headers: replayHeaders(result) }
    },
  }
}

function setModel(context: V1Context): Route {
  return {
    method: 'post',
    path: '/v1/sessions/{id}/model',
    id: 'setModel',
    summary: 'Switches the model, from the next call on',
    tag: 'runs',
    params: PARAMS,
    body: wire.SetModel,
    answers: { 200: { description: 'Switched and stored', schema: wire.ModelSet } },
    errors: ['invalid_id', 'invalid_model', 'not_found', 'session_not_running', 'run_mismatch', 'idempotency_key_reused', 'unauthorized', 'forbidden'],
    async handle(call) {
      const id = sessionIdOf(call.param('id'))
      const body = await call.json(wire.SetModel)
      await findSession(context, id, call.principal, 'sessions:write')
      const command = { type: 'SetModel', runId: runId(body.run_id.toLowerCase()), model: context.models.resolve(body.model) } as const
      const result = await context.commands.execute(id, command, call.principal, call.idempotency(body))
      return { status: 200, json: { accepted: true, run_id: body.run_id, model: body.model }, headers: replayHeaders(result) }
    },
  }
}
