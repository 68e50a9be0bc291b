/** The schemas of `/v1`: what validates requests, what types the client, and what the OpenAPI document is made of. */
import { z } from 'zod'

const uuid = z.guid()
const time = z.iso.datetime()

/** Characters of a title. */
export const TITLE_CHARS_MAX = 1000
/** Characters of a system prompt that a message brings. */
export const SYSTEM_PROMPT_CHARS_MAX = 32_768
/** Bounds of caller context: items, characters of a name, of one content, of all contents. */
export const CONTEXT = { items: 32, nameChars: 256, contentChars: 50_000, allChars: 500_000 } as const
/** Calls that one bulk decision answers. */
export const DECISIONS_MAX = 256

export const RunStatus = z
  .object({
    state: z.enum(['idle', 'starting', 'running', 'failed']),
    run_id: uuid.optional(),
    waiting: z.literal(true).optional().describe('the run waits for a decision'),
    resume: z.literal('asked').optional().describe('the run was interrupted and asks whether it may go on: answer with POST …/resume'),
    error: z.string().optional().describe('why the last run failed'),
    code: z.string().optional(),
  })
  .meta({ id: 'RunStatus' })

const onInterrupt = z
  .enum(['resume', 'ask', 'fail'])
  .describe('what happens with a run whose server died in the middle of a step: it goes on, a person is asked, it fails')
export const Origin = z
  .object({ session_id: uuid, position: z.int().min(1).describe('the last position that was inherited; the session’s own events begin behind it') })
  .meta({ id: 'Origin' })

export const Session = z
  .object({
    id: uuid,
    title: z.string(),
    cwd: z.string().nullable(),
    created_at: time,
    updated_at: time,
    run_status: RunStatus,
    status: z.enum(['ACTIVE', 'DELETED']),
    visibility: z.enum(['PRIVATE', 'PUBLIC']),
    agent: z.string(),
    model: z.string().nullable(),
    on_interrupt: onInterrupt,
    message_count: z.int().min(0),
    origin: Origin.nullable().describe('what the session was forked from'),
  })
  .meta({ id: 'Session' })

export const SessionList = z.object({ sessions: z.array(Session), total: z.int().min(0), next_cursor: z.string().nullable() }).meta({ id: 'SessionList' })

export const ServerConfig = z
  .object({ default_model: z.string().nullable(), auto_approve_mode: z.enum(['none', 'all', 'custom']) })
  .meta({ id: 'ServerConfig' })

export const SessionDetail = z
  .object({
    session: Session,
    config: ServerConfig,
    position: z.int().min(0).describe('head of the session: where a reader that has seen the rest begins'),
    run_position: z.int().min(1).nullable().describe('position of the active run’s start'),
  })
  .meta({ id: 'SessionDetail' })

export const CreateSession = z
  .object({
    title: z.string().max(TITLE_CHARS_MAX),
    cwd: z.string().max(4096).nullish().describe('absolute path of the folder that tools work in'),
    agent: z.string().min(1).max(200).optional(),
    model: z.string().min(1).max(200).optional(),
    on_interrupt: onInterrupt.nullish(),
  })
  .meta({ id: 'CreateSession' })

export const ForkSession = z
  .object({
    at: z.int().min(0).describe('position of the last event to inherit: no turn may be open there, and no call without its result'),
    title: z.string().max(TITLE_CHARS_MAX).nullish().describe('default: the title of the session that is forked'),
  })
  .meta({ id: 'ForkSession' })

const removed = z.int().min(0)
export const Receipt = z
  .object({
    session_id: uuid,
    rows: z.object({ batches: removed.describe('rows that held events'), messages: removed, state: removed.describe('rows of state and of lists') }),
    indexes: removed.describe('rows that said where events stand'),
    segments: z.object({ freed: removed, kept: removed.describe('of these another session still reads a part') }),
    files: removed.describe('outputs of tools, and files of the session’s own folder'),
  })
  .meta({ id: 'Receipt' })

export const UpdateSession = z
  .object({
    title: z.string().max(TITLE_CHARS_MAX).nullish(),
    visibility: z.enum(['PRIVATE', 'PUBLIC']).nullish(),
    agent: z.string().min(1).max(200).nullish().describe('counts from the next run on'),
    on_interrupt: onInterrupt.nullish(),
  })
  .meta({ id: 'UpdateSession' })

const providerOptions = z.record(z.string(), z.unknown()).nullish()
export const MessagePart = z
  .discriminatedUnion('type', [
    z.object({ type: z.literal('text'), text: z.string(), provider_options: providerOptions }),
    z.object({ type: z.literal('image'), url: z.string(), detail: z.enum(['low', 'high', 'auto']).nullish(), provider_options: providerOptions }),
    z.object({
      type: z.literal('tool_call'),
      id: z.string(),
      name: z.string(),
      arguments: z.unknown(),
      metadata: z.unknown().optional(),
      provider_options: providerOptions,
    }),
    z.object({ type: z.literal('tool_result'), tool_call_id: z.string(), content: z.unknown(), provider_options: providerOptions }),
  ])
  .meta({ id: 'MessagePart' })

export const Message = z
  .object({
    role: z.enum(['system', 'user', 'assistant', 'tool']),
    content: z.union([z.string(), z.array(MessagePart)]),
    name: z.string().nullish(),
    provider_options: providerOptions,
  })
  .meta({ id: 'Message' })

export const MessageList = z.object({ messages: z.array(Message), total: z.int().min(0), next_cursor: z.string().nullable() }).meta({ id: 'MessageList' })

export const ContextItem = z.object({ name: z.string(), content: z.string(), priority: z.string().nullish() }).meta({ id: 'ContextItem' })

export const Overrides = z
  .object({
    model: z.string().nullish(),
    auto_approve: z
      .union([z.string(), z.array(z.string())])
      .nullish()
      .describe('all, none, or the tools that need no approval'),
    system_prompt: z.string().nullish(),
    max_turns: z.int().nullish(),
  })
  .meta({ id: 'Overrides' })

export const SendMessage = z
  .object({
    message: Message,
    type: z.enum(['message', 'steering', 'follow_up']).nullish(),
    run_id: uuid.nullish(),
    model: z.string().nullish(),
    sandbox: z.boolean().nullish(),
    context: z.array(ContextItem).nullish(),
    overrides: Overrides.nullish(),
    when_busy: z.enum(['reject', 'enqueue', 'steer', 'interrupt']).nullish().describe('what to do while a run is active; default reject'),
  })
  .meta({ id: 'SendMessage' })

export const Sent = z.object({ run_id: uuid, message_id: uuid, accepted: z.enum(['started', 'queued']), position: z.int().min(0) }).meta({ id: 'Sent' })

export const ToolCall = z.object({ id: z.string(), name: z.string(), arguments: z.unknown(), metadata: z.unknown().optional() }).meta({ id: 'ToolCall' })

export const PendingTools = z.object({ run_id: uuid.nullable(), tool_calls: z.array(ToolCall) }).meta({ id: 'PendingTools' })

const action = z.enum(['accept', 'reject', 'custom_result'])
export const Decision = z.object({ run_id: uuid, action, content: z.string().nullish() }).meta({ id: 'Decision' })
export const Decisions = z
  .object({ run_id: uuid, decisions: z.record(z.string(), z.object({ action, content: z.string().nullish() })) })
  .meta({ id: 'Decisions' })
export const Decided = z.object({ accepted: z.literal(true), run_id: uuid, position: z.int().min(0) }).meta({ id: 'Decided' })

export const Cancel = z.object({ run_id: uuid }).meta({ id: 'Cancel' })
export const Cancelled = z
  .object({ cancelled: z.literal(true), run_id: uuid, status: z.enum(['cancelling', 'cancelled']), position: z.int().min(0) })
  .meta({ id: 'Cancelled' })

export const Resume = z.object({ run_id: uuid, action: z.enum(['resume', 'fail']) }).meta({ id: 'Resume' })
export const Resumed = z.object({ accepted: z.literal(true), run_id: uuid, position: z.int().min(0) }).meta({ id: 'Resumed' })

export const SetModel = z.object({ run_id: uuid, model: z.string() }).meta({ id: 'SetModel' })
export const ModelSet = z.object({ accepted: z.literal(true), run_id: uuid, model: z.string() }).meta({ id: 'ModelSet' })

export const Model = z
  .object({
    id: z.string(),
    name: z.string(),
    provider: z.string(),
    reasoning: z.boolean(),
    cost: z.object({ input: z.number(), output: z.number(), cache_read: z.number().optional(), cache_write: z.number().optional() }).optional(),
    limit: z.object({ context: z.int(), output: z.int() }),
    release_date: z.string().optional(),
  })
  .meta({ id: 'Model' })
export const ModelList = z.object({ models: z.array(Model) }).meta({ id: 'ModelList' })

export const Health = z.object({ status: z.literal('ok'), version: z.string(), uptime_seconds: z.int().min(0) }).meta({ id: 'Health' })

/** RFC 9457, with `error`, `code` and `request_id` for clients that know only those. */
export const Problem = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    instance: z.string(),
    error: z.string(),
    code: z.string(),
    request_id: z.string(),
    errors: z.array(z.object({ pointer: z.string(), detail: z.string() })).optional(),
  })
  .meta({ id: 'Problem' })

export type Session = z.infer<typeof Session>
export type SessionList = z.infer<typeof SessionList>
export type SessionDetail = z.infer<typeof SessionDetail>
export type ServerConfig = z.infer<typeof ServerConfig>
export type CreateSession = z.infer<typeof CreateSession>
export type ForkSession = z.infer<typeof ForkSession>
export type Receipt = z.infer<typeof Receipt>
export type UpdateSession = z.infer<typeof UpdateSession>
export type MessagePart = z.infer<typeof MessagePart>
export type Message = z.infer<typeof Message>
export type MessageList = z.infer<typeof MessageList>
export type SendMessage = z.infer<typeof SendMessage>
export type Sent = z.infer<typeof Sent>
export type ToolCall = z.infer<typeof ToolCall>
export type PendingTools = z.infer<typeof PendingTools>
export type Decision = z.infer<typeof Decision>
export type Decisions = z.infer<typeof Decisions>
export type Decided = z.infer<typeof Decided>
export type Cancelled = z.infer<typeof Cancelled>
export type Resume = z.infer<typeof Resume>
export type Resumed = z.infer<typeof Resumed>
export type ModelSet = z.infer<typeof ModelSet>
export type Model = z.infer<typeof Model>
export type ModelList = z.infer<typeof ModelList>
export type Health = z.infer<typeof Health>
export type Problem = z.infer<typeof Problem>
