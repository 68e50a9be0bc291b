/** `convoke chat`: a terminal client over the public API. */
import { createInterface, type Interface } from 'node:readline'
import type { Client, ClientEvent } from '../client/index.ts'
import { createClient, ConvokeClientError } from '../client/index.ts'
import { clientSettings } from '../config.ts'
import { describeCall, Renderer, type ShownCall } from './render.ts'

/** The flags of `chat`. */
export interface ChatFlags {
  readonly url?: string
  readonly model?: string
  readonly cwd?: string
  /** Approve everything that is asked, for pipes. */
  readonly yes?: boolean
}

/** Talks until the input ends. Answers the exit code. */
export async function chat(session: string | undefined, flags: ChatFlags): Promise<number> {
  const { url, key } = clientSettings(process.env)
  const client = createClient({ url: flags.url ?? url, key })
  await requireServer(client)
  const id = session ?? (await newSession(client, flags))
  const interactive = process.stdin.isTTY && process.stdout.isTTY
  return new Chat(client, id, { interactive, yes: flags.yes === true }).run()
}

async function requireServer(client: Client): Promise<void> {
  try {
    await client.health()
  } catch (error) {
    if (!(error instanceof ConvokeClientError) || error.status !== 0) throw error
    throw new Error(`no server answers at ${client.url}: start one with "convoke serve", or give --url`, { cause: error })
  }
}

async function newSession(client: Client, flags: ChatFlags): Promise<string> {
  const model = flags.model === undefined ? {} : { model: flags.model }
  try {
    return (await client.createSession({ title: 'chat', cwd: flags.cwd ?? process.cwd(), ...model })).id
  } catch (error) {
    // A server on another machine, or with other roots, does not know this folder: it uses one of its own.
    const foreign = error instanceof ConvokeClientError && (error.code === 'cwd_not_allowed' || error.code === 'invalid_request')
    if (!foreign || flags.cwd !== undefined) throw error
    return (await client.createSession({ title: 'chat', ...model })).id
  }
}

class Chat {
  readonly #client: Client
  readonly #id: string
  readonly #options: { readonly interactive: boolean; readonly yes: boolean }
  readonly #renderer: Renderer
  readonly #stop = new AbortController()
  readonly #lines: Interface
  #runId: string | undefined
  #idle: () => void = () => undefined
  #interrupted = false
  #failed = false

  constructor(client: Client, id: string, options: { readonly interactive: boolean; readonly yes: boolean }) {
    this.#client = client
    this.#id = id
    this.#options = options
    this.#renderer = new Renderer({ ansi: options.interactive })
    this.#lines = createInterface({ input: process.stdin, ...(options.interactive ? { output: process.stdout, prompt: '> ' } : {}) })
  }

  async run(): Promise<number> {
    const { session, position, run_position } = await this.#client.getSession(this.#id)
    this.#runId = session.run_status.run_id
    if (this.#options.interactive) process.stdout.write(`session ${this.#id}\n`)
    this.#lines.on('SIGINT', () => this.#interrupt())
    // An active run is shown from its start, an idle session from its end.
    const following = this.#follow(run_position === null ? position : run_position - 1).catch((error: unknown) => {
      this.#failed = true
      process.stderr.write(`convoke: ${error instanceof Error ? error.message : String(error)}\n`)
      this.#lines.close()
      this.#idle()
    })
    if (this.#runId === undefined) this.#prompt()
    for await (const line of this.#lines) {
      if (line.trim() !== '') await this.#say(line)
      this.#prompt()
    }
    this.#stop.abort()
    await following
    return this.#failed ? 1 : 0
  }

  #prompt(): void {
    if (this.#options.interactive) this.#lines.prompt()
  }

  /** Says a line; a pipe waits for the answer before it says the next. */
  async #say(text: string): Promise<void> {
    this.#interrupted = false
    const answered = new Promise<void>((resolve) => (this.#idle = resolve))
    try {
      const sent = await this.#client.sendMessage(this.#id, text, { when_busy: 'enqueue' })
      this.#runId = sent.run_id
    } catch (error) {
      this.#failed = true
      process.stderr.write(`convoke: ${error instanceof Error ? error.message : String(error)}\n`)
      return
    }
    await answered
  }

  async #follow(after: number): Promise<void> {
    const onReconnect = () => void (this.#options.interactive && process.stderr.write('\n[the connection broke; trying again]\n'))
    for await (const event of this.#client.events(this.#id, { after, all: true, signal: this.#stop.signal, onReconnect })) {
      process.stdout.write(this.#renderer.render(event))
      await this.#react(event)
    }
  }

  async #react(event: ClientEvent): Promise<void> {
    if (event.name === 'run_started') this.#runId = event.runId ?? undefined
    if (event.name === 'waiting_for_tool_approval') await this.#askApprovals()
    if (event.name === 'run_error') this.#failed = true
    if (event.name === 'run_completed' || event.name === 'run_error') {
      this.#runId = undefined
      this.#idle()
    }
  }

  async #askApprovals(): Promise<void> {
    const pending = await this.#client.pendingTools(this.#id)
    if (pending.run_id === null) return
    for (const call of pending.tool_calls) {
      const allowed = await this.#ask(call as ShownCall)
      await this.#client.decide(this.#id, pending.run_id, { [call.id]: { action: allowed ? 'accept' : 'reject' } }).catch((error: unknown) => {
        // Somebody else was faster, or the run ended meanwhile: the stream shows what became of it.
        process.stderr.write(`convoke: ${error instanceof Error ? error.message : String(error)}\n`)
      })
    }
  }

  async #ask(call: ShownCall): Promise<boolean> {
    if (this.#options.yes) return true
    if (!this.#options.interactive) {
      process.stderr.write(`convoke: refused ${describeCall(call)} (nobody to ask; --yes allows everything)\n`)
      return false
    }
    const answer = await new Promise<string>((resolve) => this.#lines.question(`allow ${describeCall(call)} ? [y/N] `, resolve))
    return /^y(es)?$/i.test(answer.trim())
  }

  /** The first Ctrl-C cancels the run, the second leaves. */
  #interrupt(): void {
    if (this.#runId === undefined || this.#interrupted) return this.#lines.close()
    this.#interrupted = true
    process.stdout.write('\n[cancelling; Ctrl-C again leaves]\n')
    this.#client.cancel(this.#id, this.#runId).catch((error: unknown) => process.stderr.write(`convoke: ${String(error)}\n`))
  }
}
