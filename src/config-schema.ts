/** The schema of the configuration: every key, its unit, default and bounds. An unknown key is refused by name. */
import { z } from 'zod'

const origin = z.string().min(1).max(500)

export const ConfigSchema = z.strictObject({
  /** Folder of the log and of sessions' own folders. Default: the user's data folder (XDG). */
  data: z.string().min(1).optional(),
  /** Address to listen on. */
  host: z.string().min(1).default('127.0.0.1'),
  /** Port to listen on; 0 takes a free one. */
  port: z.coerce.number().int().min(0).max(65_535).default(4096),
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
  workspace: z.strictObject({ roots: z.array(z.string()).max(100).default([]) }).prefault({}),
  /** How long a stop waits for steps under way, in ms. */
  shutdownMs: z.coerce.number().int().min(0).max(600_000).default(10_000),
  log: z.enum(['debug', 'info', 'warn', 'error', 'silent']).default('warn'),
})

/** What may be written. */
export type ConfigInput = z.input<typeof ConfigSchema>
/** What it means, defaults filled in. */
export type ConfigValues = z.output<typeof ConfigSchema>
