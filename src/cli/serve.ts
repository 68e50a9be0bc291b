/** `convoke serve`. */
import { Server } from '../server.ts'
import { systemClock } from '../system/clock.ts'
import { releaseStartMemory } from '../system/memory.ts'

/** The flags of `serve`. */
export interface ServeFlags {
  readonly host?: string
  readonly port?: string
  readonly data?: string
  readonly config?: string
  readonly model?: string
  /** `false` under `--no-auth`. */
  readonly auth: boolean
  readonly json?: boolean
}

/** How long to wait for another process that holds the data folder and is dying, in ms. */
const LOCK_WAIT_MS = 2000
/** When the work of a start is over, in ms. */
const SETTLED_MS = 500

/** Serves until a signal. Answers the exit code. */
export async function serve(flags: ServeFlags): Promise<number> {
  const server = new Server({
    searchConfig: true,
    lockWaitMs: LOCK_WAIT_MS,
    ...(flags.host === undefined ? {} : { host: flags.host }),
    ...(flags.port === undefined ? {} : { port: flags.port }),
    ...(flags.data === undefined ? {} : { data: flags.data }),
    ...(flags.config === undefined ? {} : { config: flags.config }),
    ...(flags.model === undefined ? {} : { models: { default: flags.model } }),
    ...(flags.auth ? {} : { noAuth: true }),
  })
  const stopped = untilSignal()
  let code = 0
  const failed = new Promise<void>((resolve) => {
    server.on('failed', (error) => {
      code = 1
      process.stderr.write(`convoke: ${error.message}; the server stops [store_failed]\n`)
      resolve()
    })
  })
  try {
    await server.start()
  } catch (error) {
    const { code: cause, message } = error as NodeJS.ErrnoException
    // Whoever starts servers looks for the code.
    if (cause?.startsWith('store_') === true) {
      process.stderr.write(`convoke: ${message} [${cause}]\n`)
      return 1
    }
    if (cause !== 'EADDRINUSE') throw error
    const { address, port } = error as { address?: string; port?: number }
    process.stderr.write(`convoke: port ${port} on ${address} is taken: stop what listens there, or choose another port\n`)
    return 1
  }
  process.stdout.write(flags.json === true ? `${JSON.stringify({ listening: server.url, pid: process.pid })}\n` : `convoke listening on ${server.url}\n`)
  const takeBack = systemClock.after(SETTLED_MS, releaseStartMemory)
  await Promise.race([stopped, failed])
  takeBack()
  await server.stop()
  return code
}

/** Resolves at the first signal; a second one exits at once. */
function untilSignal(): Promise<void> {
  return new Promise((resolve) => {
    let seen = 0
    const onSignal = () => {
      if (++seen > 1) process.exit(130)
      resolve()
    }
    process.on('SIGINT', onSignal)
    process.on('SIGTERM', onSignal)
  })
}
