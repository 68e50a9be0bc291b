/** `convoke chat`: a terminal client over the public API. */
import { on } from 'node:events'
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
  const stop = new AbortController()
  // Whoever leaves does not wait for a server that no longer answers.
  const client = createClient({ url: flags.url ?? url, key, signal: stop.signal })
  await requireServer(client)
  const id = session ?? (await newSession(client, flags))
  const interactive = process.stdin.isTTY && process.stdout.isTTY
  return new Chat(client, id, { interactive, yes: flags.yes === true, stop }).run()
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
    process.stderr.write('[the server does not take this folder; the session works in one of its own]\n')
    return (await client.createSession({ title: 'chat', ...model })).id
  }
}

interface ChatOptions {
  readonly interactive: boolean
  readonly yes: boolean
  readonly stop: AbortController
}

class Chat {
  readonly #client: Client
  readonly #id: string
  readonly #options: ChatOptions
  readonly #renderer: Renderer
  readonly #stop: AbortController
  readonly #lines: Interface
  readonly #runs = new RunEnds()
  #runId: string | undefined
  #interrupted = false
  #inputEnded = false
  #failed = false
  /** What was decided, here or elsewhere: calls of the run, and whether it goes on. */
  readonly #decided = new Set<string>()
  /** The question that stands open, and what takes it back. */
  #question: { readonly about: string; readonly stop: AbortController } | undefined
  #asking: Promise<void> = Promise.resolve()

  constructor(client: Client, id: string, options: ChatOptions) {
    this.#client = client
    this.#id = id
    this.#options = options
    this.#stop = options.stop
    this.#renderer = new Renderer({ ansi: options.interactive })
    this.#lines = createInterface({ input: process.stdin, ...(options.interactive ? { output: process.stdout, prompt: '> ' } : {}) })
    this.#lines.once('close', () => {
      this.#inputEnded = true
      // Whoever closes the input at a question leaves; a pipe that ends waits for its answers.
      if (this.#question !== undefined) this.#leave()
    })
  }

  async run(): Promise<number> {
    // Begins to listen at once: lines of a pipe come before the server has answered anything.
    const lines = on(this.#lines, 'line', { close: ['close'], signal: this.#stop.signal }) as AsyncIterable<[string]>
    const { session, position, run_position } = await this.#client.getSession(this.#id)
    this.#runId = session.run_status.run_id
    if (this.#options.interactive) process.stdout.write(`session ${this.#id}\n`)
    const onInterrupt = () => this.#interrupt()
    this.#lines.on('SIGINT', onInterrupt)
    process.on('SIGINT', onInterrupt)
    // An active run is shown from its start, an idle session from its end.
    const following = this.#follow(run_position === null ? position : run_position - 1).catch((error: unknown) => this.#fail(error))
    if (this.#runId === undefined) this.#prompt()
    try {
      for await (const [line] of lines) {
        if (line.trim() !== '') await this.#say(line)
        this.#prompt()
      }
    } catch (error) {
      if (!this.#stop.signal.aborted) throw error
    }
    this.#leave()
    await following
    await this.#asking
    process.off('SIGINT', onInterrupt)
    return this.#failed ? 1 : 0
  }

  #prompt(): void {
    if (this.#options.interactive && !this.#inputEnded && !this.#stop.signal.aborted) this.#lines.prompt()
  }

  /** Says a line, and waits for the end of the run that answers it before the next. */
  async #say(text: string): Promise<void> {
    this.#interrupted = false
    try {
      const { run_id } = await this.#client.sendMessage(this.#id, text, { when_busy: 'enqueue' })
      this.#runId = run_id
      await this.#runs.ended(run_id)
    } catch (error) {
      if (this.#stop.signal.aborted) return
      this.#failed = true
      this.#complain(error)
    }
  }

  async #follow(after: number): Promise<void> {
    const onReconnect = () => void process.stderr.write('[the connection broke; trying again]\n')
    for await (const event of this.#client.events(this.#id, { after, all: true, signal: this.#stop.signal, onReconnect })) {
      this.#react(event)
      process.stdout.write(this.#renderer.render(event))
    }
  }

  #react({ name, runId, payload }: ClientEvent): void {
    if (name === 'run_started') this.#runId = runId ?? undefined
    // Asked beside the stream: what becomes of the run meanwhile, by whomever, takes the question back.
    if (name === 'waiting_for_tool_approval') {
      this.#asking = this.#asking.then(() => this.#askApprovals()).catch((error: unknown) => this.#fail(error))
    }
    if (name === 'approval_decided') this.#settle(String(payload['tool_call_id']))
    if (name === 'resume_requested') this.#asking = this.#asking.then(() => this.#askResume()).catch((error: unknown) => this.#fail(error))
    if (name === 'resume_decided') this.#settle(String(runId))
    if (name === 'run_error') this.#failed = true
    if (name === 'run_completed' || name === 'run_error') {
      this.#runId = undefined
      this.#decided.clear()
      this.#question?.stop.abort()
      this.#runs.end(runId)
    }
  }

  #settle(about: string): void {
    this.#decided.add(about)
    if (this.#question?.about === about) this.#question.stop.abort()
  }

  /** Whether the run goes on, whose server died in the middle of a step. Where nobody can be asked, the question stays open for others. */
  async #askResume(): Promise<void> {
    if (this.#stop.signal.aborted) return
    const { run_id: runId, resume } = (await this.#client.getSession(this.#id)).session.run_status
    // What was asked and answered before is shown again to those who join.
    if (runId === undefined || resume !== 'asked') return
    if (!this.#options.yes && !this.#options.interactive) throw new Error('the run was interrupted and asks whether it goes on (nobody to ask; --yes goes on)')
    const goesOn = this.#options.yes || (await this.#askPerson(runId, 'the run was interrupted; go on ?'))
    if (goesOn === undefined) return
    await this.#client.resume(this.#id, runId, goesOn ? 'resume' : 'fail').catch((error: unknown) => this.#complain(error))
  }

  async #askApprovals(): Promise<void> {
    if (this.#stop.signal.aborted) return
    const pending = await this.#client.pendingTools(this.#id)
    for (const call of pending.tool_calls) {
      if (pending.run_id === null || pending.run_id !== this.#runId) return
      if (this.#decided.has(call.id)) continue
      const allowed = await this.#ask(call as ShownCall)
      if (allowed === undefined) continue
      // Somebody else may be faster, or the run has ended meanwhile: the stream shows what became of it.
      await this.#client
        .decide(this.#id, pending.run_id, { [call.id]: { action: allowed ? 'accept' : 'reject' } })
        .catch((error: unknown) => this.#complain(error))
    }
  }

  /** Whether the call is allowed; `undefined` when the question was taken back. */
  async #ask(call: ShownCall): Promise<boolean | undefined> {
    if (this.#options.yes) return true
    if (!this.#options.interactive) {
      process.stderr.write(`convoke: refused ${describeCall(call)} (nobody to ask; --yes allows everything)\n`)
      return false
    }
    return this.#askPerson(call.id, `allow ${describeCall(call)} ?`)
  }

  /** Yes or no; `undefined` when the question was taken back. */
  async #askPerson(about: string, text: string): Promise<boolean | undefined> {
    const stop = new AbortController()
    const signal = AbortSignal.any([this.#stop.signal, stop.signal])
    this.#question = { about, stop }
    const answer = await new Promise<string | undefined>((resolve) => {
      signal.addEventListener('abort', () => resolve(undefined), { once: true })
      // Ctrl-D at the question: nobody is there to ask any more, and the question stays open for others.
      if (this.#inputEnded) return resolve(undefined)
      this.#lines.once('close', () => resolve(undefined))
      this.#lines.question(`${text} [y/N] `, { signal }, resolve)
    })
    this.#question = undefined
    return answer === undefined ? undefined : /^y(es)?$/i.test(answer.trim())
  }

  /** The first Ctrl-C cancels the run, the second leaves. */
  #interrupt(): void {
    if (this.#runId === undefined || this.#interrupted) return this.#leave()
    this.#interrupted = true
    process.stderr.write('\n[cancelling; Ctrl-C again leaves]\n')
    this.#client.cancel(this.#id, this.#runId).catch((error: unknown) => this.#complain(error))
  }

  #leave(): void {
    this.#stop.abort()
    this.#lines.close()
    this.#runs.release()
  }

  #fail(error: unknown): void {
    if (this.#stop.signal.aborted) return
    this.#failed = true
    this.#complain(error)
    this.#leave()
  }

  #complain(error: unknown): void {
    // What was under way when somebody left is given up, and that is no news.
    if (this.#stop.signal.aborted) return
    process.stderr.write(`convoke: ${error instanceof Error ? error.message : String(error)}\n`)
  }
}

/** Who waits for the end of a run. The end may be seen before the answer that names the run. */
class RunEnds {
  readonly #waiting = new Map<string, () => void>()
  #last: string | null = null
  #released = false

  /** Resolves when the run has ended, or when nobody listens any more. */
  ended(runId: string): Promise<void> {
    if (this.#released || this.#last === runId) return Promise.resolve()
    return new Promise((resolve) => this.#waiting.set(runId, resolve))
  }

  end(runId: string | null): void {
    this.#last = runId
    const waiter = this.#waiting.get(runId ?? '')
    this.#waiting.delete(runId ?? '')
    waiter?.()
  }

  release(): void {
    this.#released = true
    for (const resolve of this.#waiting.values()) resolve()
    this.#waiting.clear()
  }
}
