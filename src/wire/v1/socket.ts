/** What travels over `/v1/sessions/{id}/ws`: events out, commands in, each answered by the position that it reached. */
import { z } from 'zod'
import { Decisions, Message, SendMessage } from './schemas.ts'
import { EventEnvelope } from './events.ts'

/** Names a command, so that its answer can be told from others. */
const Ref = z.object({ ref: z.union([z.string().max(200), z.number()]).nullish() })

/** A command of a client. */
export const SocketCommand = z
  .discriminatedUnion('type', [
    SendMessage.omit({ type: true }).extend({
      ...Ref.shape,
      type: z.literal('message'),
      message: Message,
      kind: SendMessage.shape.type.describe('the `type` of the REST body, since `type` names the frame here'),
    }),
    Ref.extend({
      type: z.literal('decision'),
      run_id: z.guid(),
      tool_call_id: z.string().nullish(),
      action: z.enum(['accept', 'reject', 'custom_result']).nullish(),
      content: z.string().nullish(),
      decisions: Decisions.shape.decisions.nullish(),
    }),
    Ref.extend({ type: z.literal('cancel'), run_id: z.guid() }),
    Ref.extend({ type: z.literal('resume'), after: z.int().min(0) }),
  ])
  .meta({ id: 'SocketCommand' })

const ref = z.union([z.string(), z.number()]).nullable()

/** What the server sends. */
export const SocketMessage = z
  .discriminatedUnion('type', [
    EventEnvelope.extend({ type: z.literal('event'), name: z.string().describe('the event in snake_case') }),
    z.object({ type: z.literal('ack'), ref, position: z.int().min(0) }),
    z.object({ type: z.literal('error'), ref, code: z.string(), error: z.string() }),
    z.object({
      type: z.literal('gap_detected'),
      requested_after_id: z.int().min(0),
      oldest_available_id: z.int().min(0),
      newest_available_id: z.int().min(0),
      resume_hint: z.literal('refresh_snapshot_then_resume'),
    }),
    z.object({ type: z.literal('keepalive') }),
  ])
  .meta({ id: 'SocketMessage' })

export type SocketCommand = z.infer<typeof SocketCommand>
export type SocketMessage = z.infer<typeof SocketMessage>

/** The ref in a frame that may be anything, so that its error can name it. */
export function refOf(frame: unknown): string | number | null {
  return Ref.safeParse(frame).data?.ref ?? null
}
