/** A real server on a free port with a data folder of its own, for tests. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Server, type ServerOptions } from '../../src/server.ts'

/** A server under test. */
export interface TestServer {
  readonly url: string
  readonly server: Server
  readonly data: string
  /** Stops it and starts another on the same data. */
  restart(options?: ServerOptions): Promise<TestServer>
  /** Stops it; its data is removed. */
  close(): Promise<void>
}

/** Starts a server with an instant demo model. */
export async function startTestServer(options: ServerOptions = {}, data: string = mkdtempSync(join(tmpdir(), 'convoke-server-'))): Promise<TestServer> {
  const server = new Server({
    ...(options.listeners === undefined ? { port: 0 } : {}),
    data,
    log: 'silent',
    ...options,
    models: { demoPaceMs: 0, discover: false, ...options.models },
  })
  await server.start()
  return {
    url: server.url,
    server,
    data,
    async restart(changed = options) {
      await server.stop()
      return startTestServer(changed, data)
    },
    async close() {
      await server.stop()
      rmSync(data, { recursive: true, force: true })
    },
  }
}
