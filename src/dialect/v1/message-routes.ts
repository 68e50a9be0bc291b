/** Messages: say something, read what was said. */
import { z } from 'zod'
import type { SendMessage } from '../../domain/command.ts'
import type { AutoApprove, RunOptions } from '../../domain/event.ts'
import type { ContextItem } from '../../domain/message.ts'
import type { Route } from '../../http/route.ts'
import type { V1Context } from './context.ts'
import type { Principal } from '../../domain/principal.ts'
import { ConvokeError } from '../../domain/errors.ts'
import { requireScope } from '../../domain/principal.ts'
import { messageId, parseRunId, runId } from '../../domain/ids.ts'
import { LIST_LIMIT_MAX } from '../../projection/reads.ts'
import * as wire from '../../wire/v1/schemas.ts'
import { replayHeaders } from './answers.ts'
import { findSession, sessionIdOf } from './context.ts'
import { decodeUserMessage, encodeMessage } from './message-codec.ts'
import { intQuery, parseQuery } from './query.ts'

const PARAMS = z.object({ id: z.string().describe('UUID of the session') })
const LIST_QUERY = z.object({
  limit: intQuery(1, LIST_LIMIT_MAX).optional(),
  offset: intQuery(0, Number.MAX_SAFE_INTEGER).optional(),
  cursor: z.string().max(200).optional().describe('next_cursor of the page before; instead of offset'),
})
/** Default rows of a page of messages. */
const LIST_LIMIT = 100
/** Turns that a message may allow. */
const MAX_TURNS = 256

/** The routes about messages. */
export function messageRoutes(context: V1Context): readonly Route[] {
  return [sendMessage(context), listMessages(context)]
}

function sendMessage(context: V1Context): Route {
  return {
    method: 'post',
    path: '/v1/sessions/{id}/messages',
    id: 'sendMessage',
    summary: 'Says something to the agent: starts a run, or joins the active one',
    tag: 'messages',
    params: PARAMS,
    body: wire.SendMessage,
    answers: { 200: { description: 'Accepted and durable; the work goes on', schema: wire.Sent } },
    errors: [
      'invalid_id',
      'not_found',
      'invalid_message_role',
      'invalid_context',
      'invalid_overrides',
      'invalid_model',
      'sandbox_unavailable',
      'session_deleted',
      'session_already_running',
      'session_not_running',
      'run_mismatch',
      'queue_full',
      'idempotency_key_reused',
      'unauthorized',
      'forbidden',
    ],
    async handle(call) {
      const id = sessionIdOf(call.param('id'))
      const body = await call.json(wire.SendMessage)
      await findSession(context, id, call.principal, 'sessions:write')
      requireMayApprove(call.principal, body)
      const command = messageCommand(context, body)
      const result = await context.commands.execute(id, command, call.principal, call.idempotency(body))
      const { runId: run, messageId: message, accepted } = result.reply
      return { status: 200, json: { run_id: run, message_id: message, accepted, position: result.to }, headers: replayHeaders(result) }
    },
  }
}

/** Who lifts questions from a run decides approvals. @throws {ConvokeError} `forbidden` */
export function requireMayApprove(principal: Principal, body: Pick<wire.SendMessage, 'overrides'>): void {
  const asked = body.overrides?.auto_approve
  if (asked != null && asked !== 'none') requireScope(principal, 'approvals:decide')
}

/** The command of a message, validated as the contract says. @throws {ConvokeError} the codes of bad messages */
export function messageCommand(context: V1Context, body: wire.SendMessage): SendMessage {
  if (body.message.role !== 'user') throw new ConvokeError('invalid_message_role', 'a message must have the role user')
  const options = runOptions(context, body)
  if (body.sandbox === true) throw new ConvokeError('sandbox_unavailable', 'no sandbox is configured')
  const delivery = body.type === 'steering' ? 'steer' : body.type === 'follow_up' ? 'follow_up' : undefined
  const named = body.run_id == null ? undefined : parseRunId(body.run_id)
  return {
    type: 'SendMessage',
    messageId: messageId(context.random.uuid()),
    newRunId: runId(context.random.uuid()),
    driver: context.store.driver,
    message: decodeUserMessage(body.message),
    options,
    whenBusy: body.when_busy ?? 'reject',
    ...(delivery === undefined ? {} : { delivery }),
    ...(named === undefined ? {} : { runId: named }),
  }
}

function runOptions(context: V1Context, body: wire.SendMessage): RunOptions {
  const items = contextItems(body.context ?? [])
  const overrides = body.overrides ?? {}
  const { system_prompt: systemPrompt, max_turns: maxTurns } = overrides
  if (maxTurns != null && (maxTurns < 1 || maxTurns > MAX_TURNS)) throw invalidOverrides('max_turns', `must be 1 to ${MAX_TURNS}`)
  if (systemPrompt != null && isLonger(systemPrompt, wire.SYSTEM_PROMPT_CHARS_MAX))
    throw invalidOverrides('system_prompt', `may have at most ${wire.SYSTEM_PROMPT_CHARS_MAX} characters`)
  const autoApprove = overrides.auto_approve == null ? undefined : parseAutoApprove(overrides.auto_approve)
  const name = overrides.model ?? body.model
  return {
    ...(name == null ? {} : { model: context.models.resolve(name) }),
    ...(autoApprove === undefined ? {} : { autoApprove }),
    ...(systemPrompt == null ? {} : { systemPrompt }),
    ...(maxTurns == null ? {} : { maxTurns }),
    ...(items.length === 0 ? {} : { context: items }),
  }
}

function parseAutoApprove(value: string | readonly string[]): AutoApprove {
  if (typeof value !== 'string') return value
  if (value === 'all' || value === 'none') return value
  throw invalidOverrides('auto_approve', 'must be all, none or a list of tools')
}

function invalidOverrides(field: string, detail: string): ConvokeError {
  return new ConvokeError('invalid_overrides', `overrides.${field} ${detail}`, { errors: [{ pointer: `/overrides/${field}`, detail }] })
}

/** Caller context within its bounds, counted as it was sent; blank items are dropped. */
function contextItems(items: readonly z.infer<typeof wire.ContextItem>[]): readonly ContextItem[] {
  const refuse = (detail: string) => new ConvokeError('invalid_context', `context ${detail}`)
  if (items.length > wire.CONTEXT.items) throw refuse(`may have at most ${wire.CONTEXT.items} items`)
  if (items.some((item) => isLonger(item.name, wire.CONTEXT.nameChars))) throw refuse(`names may have at most ${wire.CONTEXT.nameChars} characters`)
  if (items.some((item) => isLonger(item.content, wire.CONTEXT.contentChars))) throw refuse(`contents may have at most ${wire.CONTEXT.contentChars} characters`)
  if (isLonger(items.map((item) => item.content).join(''), wire.CONTEXT.allChars))
    throw refuse(`contents may have at most ${wire.CONTEXT.allChars} characters together`)
  return items.filter((item) => item.content.trim() !== '').map(({ name, content, priority }) => ({ name, content, priority: priorityOf(priority) }))
}

/** Whether `text` has more than `most` characters: code points, as the contract counts, not UTF-16 units. */
function isLonger(text: string, most: number): boolean {
  if (text.length <= most) return false
  let count = 0
  for (const _ of text) if (++count > most) return true
  return false
}

function priorityOf(priority: string | null | undefined): ContextItem['priority'] {
  if (priority === 'critical' || priority === 'high') return 'high'
  return priority === 'normal' ? 'normal' : 'low'
}

function listMessages(context: V1Context): Route {
  return {
    method: 'get',
    path: '/v1/sessions/{id}/messages',
    id: 'listMessages',
    summary: 'The transcript, oldest first',
    tag: 'messages',
    params: PARAMS,
    query: LIST_QUERY,
    answers: { 200: { description: 'A page of messages', schema: wire.MessageList } },
    errors: ['invalid_id', 'invalid_request', 'invalid_cursor', 'not_found', 'unauthorized', 'forbidden'],
    async handle(call) {
      const summary = await findSession(context, call.param('id'), call.principal)
      const query = parseQuery(call.url, LIST_QUERY)
      const offset = query.cursor === undefined ? (query.offset ?? 0) : decodeCursor(query.cursor)
      const page = await context.reads.messages(summary.id, { limit: query.limit ?? LIST_LIMIT, offset })
      const next = offset + page.items.length
      const messages = page.items.map(({ message }) => encodeMessage(message))
      return { status: 200, json: { messages, total: page.total, next_cursor: next < page.total ? encodeCursor(next) : null } }
    },
  }
}

/** A transcript only grows at its end: the number of messages read is a stable place in it. */
function encodeCursor(read: number): string {
  return `m${read.toString(36)}`
}

function decodeCursor(text: string): number {
  const read = /^m[0-9a-z]{1,10}$/.test(text) ? Number.parseInt(text.slice(1), 36) : Number.NaN
  if (!Number.isSafeInteger(read)) throw new ConvokeError('invalid_cursor', 'this cursor is none of ours')
  return read
}
