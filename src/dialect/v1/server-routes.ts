/** What the server says of itself: health, settings, models. */
import type { Route } from '../../http/route.ts'
import type { V1Context } from './context.ts'
import * as wire from '../../wire/v1/schemas.ts'

/** The routes about the server. */
export function serverRoutes(context: V1Context): readonly Route[] {
  return [
    {
      method: 'get',
      path: '/v1/health',
      id: 'health',
      summary: 'Whether the server answers',
      tag: 'server',
      public: true,
      answers: { 200: { description: 'It does', schema: wire.Health } },
      errors: [],
      async handle() {
        const seconds = Math.floor((context.clock.nowMs() - context.startedAtMs) / 1000)
        return { status: 200, json: { status: 'ok', version: context.version, uptime_seconds: Math.max(0, seconds) } }
      },
    },
    {
      method: 'get',
      path: '/v1/config',
      id: 'getConfig',
      summary: 'Settings that clients care about',
      tag: 'server',
      answers: { 200: { description: 'The settings', schema: wire.ServerConfig } },
      errors: ['unauthorized'],
      handle: async () => ({ status: 200, json: encodeConfig(context) }),
    },
    {
      method: 'get',
      path: '/v1/models',
      id: 'listModels',
      summary: 'Models that can be called',
      tag: 'server',
      answers: { 200: { description: 'The models', schema: wire.ModelList } },
      errors: ['unauthorized'],
      handle: async () => ({ status: 200, json: { models: context.models.list().map(encodeModel) } }),
    },
  ]
}

/** The server's settings as the wire shows them. */
export function encodeConfig(context: V1Context): wire.ServerConfig {
  return { default_model: context.models.defaultModel, auto_approve_mode: context.autoApproveMode }
}

function encodeModel(model: ReturnType<V1Context['models']['list']>[number]): wire.Model {
  const { id, name, provider, reasoning, cost, limit, releaseDate } = model
  const prices =
    cost === undefined
      ? {}
      : {
          cost: {
            input: cost.input,
            output: cost.output,
            ...(cost.cacheRead === undefined ? {} : { cache_read: cost.cacheRead }),
            ...(cost.cacheWrite === undefined ? {} : { cache_write: cost.cacheWrite }),
          },
        }
  return { id, name, provider, reasoning, ...prices, limit, ...(releaseDate === undefined ? {} : { release_date: releaseDate }) }
}
