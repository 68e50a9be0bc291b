/** The schema of the configuration: every key, its unit, default and bounds. An unknown key is refused by name. */
import { z } from 'zod'

const origin = z.string().min(1).max(500)
const host = z.string().min(1)
const port = z.coerce.number().int().min(0).max(65_535)

/** An agent or a tool of one's own: the thing itself, from a program or a configuration in code, or the module that exports it. */
const module = z.string().min(1).max(1000)

/** What has a name and one method; what else it must have is checked where it is used. */
const named = <Method extends string>(method: Method) =>
  z.custom<{ readonly name: string } & { readonly [name in Method]: (...args: never) => unknown }>((value) => {
    if (typeof value !== 'object' || value === null || !('name' in value) || typeof value.name !== 'string') return false
    return typeof (value as Record<string, unknown>)[method] === 'function'
  }, `must be a module's name, or an object with a name and ${method}()`)

export const ConfigSchema = z.strictObject({
  /** Folder of the log and of sessions' own folders. Default: the user's data folder (XDG). */
  data: z.string().min(1).optional(),
  /** Address to listen on. */
  host: host.default('127.0.0.1'),
  /** Port to listen on; 0 takes a free one. */
  port: port.default(4096),
  /** Addresses to listen on, in place of `host` and `port`; the first one is the server's url. */
  listeners: z
    .array(
      z.strictObject({
        host: host.default('127.0.0.1'),
        port,
        /** An address that cannot be had is logged and left out. */
        optional: z.boolean().default(false),
        dialects: z
          .array(z.enum(['v1']))
          .min(1)
          .default(['v1']),
      }),
    )
    .max(16)
    .default([]),
  /** Agents of one's own, beside the built-in one. */
  agents: z
    .array(z.union([module, named('run')]))
    .max(100)
    .default([]),
  /** Tools of one's own, beside the built-in ones. */
  tools: z
    .array(z.union([module, named('open')]))
    .max(200)
    .default([]),
  /** Serve without keys on an address that others can reach. */
  noAuth: z.boolean().default(false),
  access: z
    .strictObject({
      keys: z
        .array(
          z.strictObject({
            name: z.string().max(200).optional(),
            user: z.string().min(1).max(200),
            key: z.string().min(8).max(1000),
            scopes: z.array(z.enum(['sessions:read', 'sessions:write', 'approvals:decide', 'admin'])).optional(),
            expires: z.iso.datetime({ offset: true }).optional(),
          }),
        )
        .max(1000)
        .default([]),
    })
    .prefault({}),
  approvals: z
    .strictObject({
      mode: z.enum(['none', 'all', 'custom']).default('custom'),
      rules: z
        .record(z.string().regex(/^[^:]+$/, 'rules for parts of a command are not supported by this version'), z.enum(['approve', 'ask', 'deny']))
        .default({}),
      default: z.enum(['approve', 'ask', 'deny']).default('ask'),
    })
    .prefault({}),
  cors: z
    .strictObject({
      origins: z.array(origin).max(100).default([]),
      methods: z.array(z.string()).optional(),
      allowedHeaders: z.array(z.string()).optional(),
      credentials: z.boolean().default(false),
    })
    .optional(),
  limits: z
    .strictObject({
      /** Longest request that neither streams nor waits, in ms. */
      requestMs: z.int().min(100).max(3_600_000).default(30_000),
      /** Longest request body, in bytes. */
      bodyBytes: z
        .int()
        .min(1024)
        .max(256 * 1024 * 1024)
        .default(2_097_152),
      /** Open event streams and sockets. */
      streams: z.int().min(1).max(100_000).default(10_000),
      /** Longest silence of a model, before its answer and inside it, in ms; then the call has failed. */
      modelIdleMs: z.int().min(100).max(3_600_000).default(300_000),
    })
    .prefault({}),
  models: z
    .strictObject({
      default: z.string().min(1).optional(),
      aliases: z.record(z.string(), z.string()).default({}),
      catalog: z
        .record(
          z.string().regex(/^[^/]+\/.+$/, 'must be provider/model'),
          z.strictObject({
            context: z.int().min(1).optional(),
            output: z.int().min(1).optional(),
            cost: z.strictObject({ input: z.number().min(0), output: z.number().min(0) }).optional(),
          }),
        )
        .default({}),
      /** Pace of the demo model, in ms per word. */
      demoPaceMs: z.int().min(0).max(10_000).optional(),
      /** Look for Ollama and LM Studio on this machine. */
      discover: z.boolean().default(true),
    })
    .prefault({}),
  providers: z
    .record(
      z.string().regex(/^[\w.-]{1,64}$/),
      z.strictObject({
        kind: z.enum(['anthropic', 'openai', 'google', 'openai-compatible']),
        baseURL: z.url().optional(),
        apiKey: z.string().min(1).optional(),
      }),
    )
    .default({}),
  /** How long what is stored stays, and in which form. */
  retention: z
    .strictObject({
      /** Days without activity after which a session is erased for good. Default: none is. */
      days: z.number().min(0.01).max(36_500).optional(),
      /** Bytes of the log above which the longest idle sessions are erased for good. Default: none are. */
      bytesMax: z.int().min(1_048_576).optional(),
      /** Age from which the streamed pieces of a run that has ended are stored in less room, in hours. Nothing of them is lost. */
      deltaHours: z.number().min(0).max(87_600).default(1),
    })
    .prefault({}),
  workspace: z.strictObject({ roots: z.array(z.string()).max(100).default([]) }).prefault({}),
  /** How long a stop waits for steps under way, in ms. */
  shutdownMs: z.coerce.number().int().min(0).max(600_000).default(10_000),
  log: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('warn'),
})

/** What may be written. */
export type ConfigInput = z.input<typeof ConfigSchema>
/** What it means, defaults filled in. */
export type ConfigValues = z.output<typeof ConfigSchema>
