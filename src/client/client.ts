/** The typed client: everything that `/v1` offers, in a program's words. Runs in Node and in browsers. */
import type * as wire from '../wire/v1/schemas.ts'
import { followEvents, type ClientEvent, type EventsOptions } from './events.ts'
import { request, type Connection } from './request.ts'

/** What a message may bring besides its text. */
export type MessageOptions = Partial<Omit<wire.SendMessage, 'message'>>
/** Which sessions to list. */
export interface ListOptions {
  readonly limit?: number
  readonly cursor?: string
  readonly search?: string
  readonly status?: 'ACTIVE' | 'DELETED' | 'ALL'
}

/** A client of one server. Every method throws `ConvokeClientError`; every command is retried safely. */
export interface Client {
  readonly url: string
  health(): Promise<wire.Health>
  config(): Promise<wire.ServerConfig>
  models(): Promise<readonly wire.Model[]>
  listSessions(options?: ListOptions): Promise<wire.SessionList>
  createSession(body: wire.CreateSession): Promise<wire.Session>
  getSession(id: string): Promise<wire.SessionDetail>
  /** A session of its own with the history of `id` up to position `at`. */
  fork(id: string, at: number, options?: { readonly title?: string }): Promise<wire.Session>
  updateSession(id: string, change: wire.UpdateSession): Promise<wire.SessionDetail>
  deleteSession(id: string): Promise<void>
  /** Removes a session for good: its events, rows and files. Answers what is gone. */
  purgeSession(id: string): Promise<wire.Receipt>
  sendMessage(id: string, message: string | wire.Message, options?: MessageOptions): Promise<wire.Sent>
  listMessages(id: string, page?: { readonly limit?: number; readonly offset?: number }): Promise<wire.MessageList>
  pendingTools(id: string): Promise<wire.PendingTools>
  decide(id: string, runId: string, decisions: wire.Decisions['decisions']): Promise<wire.Decided>
  cancel(id: string, runId: string): Promise<wire.Cancelled>
  /** Says whether an interrupted run goes on, in a session that asks. */
  resume(id: string, runId: string, action: wire.Resume['action']): Promise<wire.Resumed>
  setModel(id: string, runId: string, model: string): Promise<wire.ModelSet>
  /** The session's events, reconnecting by itself. */
  events(id: string, options?: EventsOptions): AsyncGenerator<ClientEvent, void, void>
}

/** A client of the server at `connection.url`. */
export function createClient(connection: Connection): Client {
  const server = { ...connection, url: connection.url.replace(/\/+$/, '') }
  const get = <T>(path: string) => request<T>(server, 'GET', path)
  const post = <T>(path: string, body: unknown) => request<T>(server, 'POST', path, body)
  const pathOf = (id: string) => `/v1/sessions/${encodeURIComponent(id)}`
  return {
    url: server.url,
    health: () => get('/v1/health'),
    config: () => get('/v1/config'),
    models: async () => (await get<wire.ModelList>('/v1/models')).models,
    listSessions: (options = {}) => get(`/v1/sessions${queryOf({ ...options })}`),
    createSession: (body) => post('/v1/sessions', body),
    getSession: (id) => get(pathOf(id)),
    fork: (id, at, options = {}) => post(`${pathOf(id)}/fork`, { ...options, at }),
    updateSession: (id, change) => request(server, 'PATCH', pathOf(id), change),
    deleteSession: (id) => request(server, 'DELETE', pathOf(id)),
    purgeSession: (id) => request(server, 'DELETE', `${pathOf(id)}?purge=true`),
    sendMessage: (id, message, options = {}) =>
      post(`${pathOf(id)}/messages`, { ...options, message: typeof message === 'string' ? { role: 'user', content: message } : message }),
    listMessages: (id, page = {}) => get(`${pathOf(id)}/messages${queryOf({ ...page })}`),
    pendingTools: (id) => get(`${pathOf(id)}/tools/pending`),
    decide: (id, runId, decisions) => post(`${pathOf(id)}/tools/decisions`, { run_id: runId, decisions }),
    cancel: (id, runId) => post(`${pathOf(id)}/cancel`, { run_id: runId }),
    resume: (id, runId, action) => post(`${pathOf(id)}/resume`, { run_id: runId, action }),
    setModel: (id, runId, model) => post(`${pathOf(id)}/model`, { run_id: runId, model }),
    events: (id, options) => followEvents(server, id, options),
  }
}

function queryOf(values: Readonly<Record<string, string | number | undefined>>): string {
  const query = new URLSearchParams()
  for (const [name, value] of Object.entries(values)) if (value !== undefined) query.set(name, String(value))
  return query.size === 0 ? '' : `?${query}`
}
