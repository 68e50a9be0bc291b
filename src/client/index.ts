/** The public surface of `convoke/client`. */
export { createClient } from './client.ts'
export type { Client, ListOptions, MessageOptions } from './client.ts'
export { ConvokeClientError } from './errors.ts'
export type { ClientEvent, EventsOptions } from './events.ts'
export type { Connection } from './request.ts'
export type {
  Cancelled,
  CreateSession,
  Decided,
  Decisions,
  Health,
  Message,
  MessageList,
  MessagePart,
  Model,
  ModelSet,
  PendingTools,
  Problem,
  Receipt,
  SendMessage,
  Sent,
  ServerConfig,
  Session,
  SessionDetail,
  SessionList,
  ToolCall,
  UpdateSession,
} from '../wire/v1/schemas.ts'
