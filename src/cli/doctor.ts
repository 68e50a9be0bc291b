/** `convoke config` and `convoke doctor`. */
import { access, constants } from 'node:fs/promises'
import { createServer } from 'node:net'
import { listenersOf, loadConfig, redact, type Config } from '../config.ts'
import { checkModels } from '../offline.ts'
import { makeFolder } from '../storage/sqlite/make-folder.ts'

/** Flags that both share. */
export interface ConfigFlags {
  readonly config?: string
  readonly data?: string
  readonly host?: string
  readonly port?: string
}

/** Prints the effective configuration, without secrets. */
export async function showConfig(flags: ConfigFlags): Promise<number> {
  process.stdout.write(`${JSON.stringify(redact(await load(flags)), null, 2)}\n`)
  return 0
}

/** Looks for what would keep a server from working. Exit code 1 if something does. */
export async function doctor(flags: ConfigFlags): Promise<number> {
  const config = await load(flags)
  const checks = [node(), await folder(config), ...(await ports(config)), ...(await providers(config))]
  for (const { ok, blocking, text } of checks) process.stdout.write(`${ok ? 'ok  ' : blocking ? 'FAIL' : 'warn'}  ${text}\n`)
  return checks.some(({ ok, blocking }) => !ok && blocking) ? 1 : 0
}

interface Check {
  readonly ok: boolean
  readonly blocking: boolean
  readonly text: string
}

function load(flags: ConfigFlags): Promise<Config> {
  const { data, host, port: asked } = flags
  const values = { ...(data === undefined ? {} : { data }), ...(host === undefined ? {} : { host }), ...(asked === undefined ? {} : { port: asked }) }
  return loadConfig({ env: process.env, cwd: process.cwd(), file: flags.config, flags: values })
}

function node(): Check {
  return { ok: true, blocking: true, text: `Node ${process.versions.node}` }
}

async function folder(config: Config): Promise<Check> {
  try {
    makeFolder(config.data)
    await access(config.data, constants.W_OK)
    return { ok: true, blocking: true, text: `data folder ${config.data} can be written` }
  } catch (error) {
    return { ok: false, blocking: true, text: `data folder ${config.data} cannot be written: ${(error as Error).message}` }
  }
}

function ports(config: Config): Promise<readonly Check[]> {
  return Promise.all(listenersOf(config).map(port))
}

function port({ host, port: asked, optional }: ReturnType<typeof listenersOf>[number]): Promise<Check> {
  return new Promise((resolve) => {
    const server = createServer()
    server.once('error', (error) => resolve({ ok: false, blocking: !optional, text: `port ${asked} on ${host} cannot be had: ${error.message}` }))
    server.listen({ host, port: asked }, () => {
      server.close(() => resolve({ ok: true, blocking: true, text: `port ${asked} on ${host} is free` }))
    })
  })
}

async function providers(config: Config): Promise<readonly Check[]> {
  const { defaultModel, providers: found } = await checkModels(config)
  const own = defaultModel.split('/', 1)[0]
  // Without the default model's provider no run can succeed; another one may be down and hurt nobody.
  const checks = found.map(({ provider, ok, detail }) => ({ ok, blocking: provider === own, text: `provider ${provider} ${detail}` }))
  return [...checks, { ok: true, blocking: false, text: `default model ${defaultModel}` }]
}
