/** Branded identifiers. A cast to a brand stands only in this file. */

declare const brand: unique symbol
type Brand<T, Name extends string> = T & { readonly [brand]: Name }

/** One stream of events. A session's id is a UUID (we make version 7), lower case with dashes. */
export type SessionId = Brand<string, 'SessionId'>
/** One execution of an agent in a session: a UUID. */
export type RunId = Brand<string, 'RunId'>
/** One message of a session: a UUID. */
export type MessageId = Brand<string, 'MessageId'>
/** The user that a stream belongs to. The keyless user of a loopback listener is `local`. */
export type UserId = Brand<string, 'UserId'>
/** Place of an event in its stream; the first is 1, an empty stream is at 0. */
export type Position = number

/** The user that requests without a key act as, where that is allowed. */
export const LOCAL_USER = 'local' as UserId

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/** Whether `text` is a UUID with dashes, in any case and of any version. */
export function isUuid(text: string): boolean {
  return UUID.test(text)
}

/** The session id in `text`, or `undefined` if it is not a UUID. */
export function parseSessionId(text: string): SessionId | undefined {
  return isUuid(text) ? (text.toLowerCase() as SessionId) : undefined
}

/** The run id in `text`, or `undefined` if it is not a UUID. */
export function parseRunId(text: string): RunId | undefined {
  return isUuid(text) ? (text.toLowerCase() as RunId) : undefined
}

/** Brands a session id that this program made or stored itself. */
export const sessionId = (text: string): SessionId => text as SessionId
/** Brands a run id that this program made or stored itself. */
export const runId = (text: string): RunId => text as RunId
/** Brands a message id that this program made or stored itself. */
export const messageId = (text: string): MessageId => text as MessageId
/** Brands a user id from configuration or storage. */
export const userId = (text: string): UserId => text as UserId
