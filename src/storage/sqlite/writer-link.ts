/** How the loop reaches the writer: in a worker thread, or directly where everything must run in one thread. */
import { Worker } from 'node:worker_threads'
import type { DecideWrite, EraseWrite, RecordWrite, Write, WriteOutcome } from '../../log/store.ts'
import { ConvokeError, type ErrorCode } from '../../domain/errors.ts'
import { encodeEvents } from './rows.ts'
import { Writer, type WriterOptions } from './writer.ts'

/** A writer somewhere. One request at a time. */
export interface WriterLink {
  readonly logId: string
  readonly driver: number
  commit(writes: readonly Write[]): Promise<readonly WriteOutcome[]>
  pruneIdempotency(beforeMs: number): Promise<number>
  renewDriver(untilMs: number): Promise<void>
  sweep(): Promise<boolean>
  release(): Promise<boolean>
  pack(beforeMs: number): Promise<boolean>
  forgetLeftover(id: string, upTo: number): Promise<void>
  close(): Promise<void>
}

/** A write on its way to the worker. Events travel as text: cheaper than copies of many small objects, and just what is stored. */
export type PackedWrite = DecideWrite | EraseWrite | (Omit<RecordWrite, 'events'> & { readonly body: string })

/** What the worker is asked. */
export type Request =
  | { readonly type: 'commit'; readonly writes: readonly PackedWrite[] }
  | { readonly type: 'prune'; readonly beforeMs: number }
  | { readonly type: 'renew'; readonly untilMs: number }
  | { readonly type: 'sweep' }
  | { readonly type: 'release' }
  | { readonly type: 'pack'; readonly beforeMs: number }
  | { readonly type: 'forget'; readonly id: string; readonly upTo: number }
  | { readonly type: 'close' }
/** What it answers, in the order in which it was asked; `ready` comes first, unasked. */
export type Answer =
  | { readonly type: 'ready'; readonly logId: string; readonly driver: number }
  | { readonly type: 'done'; readonly value: unknown }
  | { readonly type: 'failed'; readonly code: ErrorCode; readonly message: string }

/** A writer on this thread. */
export function directWriter(options: WriterOptions): WriterLink {
  const writer = new Writer(options)
  return {
    logId: writer.logId,
    driver: writer.driver,
    async commit(writes) {
      const outcomes = writer.commit(writes)
      writer.checkpoint()
      return outcomes
    },
    pruneIdempotency: async (beforeMs) => writer.pruneIdempotency(beforeMs),
    renewDriver: async (untilMs) => writer.renewDriver(untilMs),
    sweep: async () => writer.sweep(),
    release: async () => writer.release(),
    pack: async (beforeMs) => writer.pack(beforeMs),
    forgetLeftover: async (id, upTo) => writer.forgetLeftover(id, upTo),
    close: async () => writer.close(),
  }
}

interface Waiter {
  readonly resolve: (value: unknown) => void
  readonly reject: (error: ConvokeError) => void
}

/** A writer in a worker thread of its own. `onLost` is called once when it can write no more: its thread died, or its disk failed. */
export async function workerWriter(options: WriterOptions, onLost: (error: ConvokeError) => void): Promise<WriterLink> {
  // From source the entry is .ts, from the build .js: the same as this file's.
  const entry = new URL(import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js', import.meta.url)
  const worker = new Worker(entry, { workerData: options })
  const waiters: Waiter[] = []
  let dead: ConvokeError | undefined
  // Until it is open there is nothing to lose: whoever opens it is told by the throw.
  let quiet = true
  const die = (message: string) => {
    if (dead !== undefined) return
    dead = new ConvokeError('store_failed', message)
    for (const waiter of waiters.splice(0)) waiter.reject(dead)
    if (!quiet) onLost(dead)
  }
  const ask = (request: Request | undefined): Promise<unknown> =>
    new Promise((resolve, reject) => {
      if (dead !== undefined) return reject(dead)
      // What cannot be posted rejects here, before anybody waits: an answer too few would give all later ones to the wrong caller.
      if (request !== undefined) worker.postMessage(request)
      waiters.push({ resolve, reject })
    })
  worker.on('message', (answer: Answer) => {
    const waiter = waiters.shift()
    if (answer.type === 'failed') {
      waiter?.reject(new ConvokeError(answer.code, answer.message))
      if (answer.code === 'store_failed') die(answer.message)
    } else waiter?.resolve(answer.type === 'ready' ? answer : answer.value)
  })
  worker.on('error', (error) => die(`the log's writer failed: ${error.message}`))
  const exited = new Promise<void>((resolve) => worker.once('exit', () => resolve()))
  void exited.then(() => die('the log is closed'))
  const ready = (await ask(undefined).catch(async (error: unknown) => {
    // A thread that could not open the log would keep the process from ending.
    await worker.terminate()
    throw error
  })) as Extract<Answer, { type: 'ready' }>
  quiet = false
  return {
    logId: ready.logId,
    driver: ready.driver,
    async commit(writes) {
      const outcomes = (await ask({ type: 'commit', writes: writes.map(pack) })) as readonly WriteOutcome[]
      return outcomes.map((outcome, index) => withEvents(outcome, writes[index]))
    },
    pruneIdempotency: async (beforeMs) => (await ask({ type: 'prune', beforeMs })) as number,
    renewDriver: async (untilMs) => void (await ask({ type: 'renew', untilMs })),
    pack: async (beforeMs) => (await ask({ type: 'pack', beforeMs })) as boolean,
    release: async () => (await ask({ type: 'release' })) as boolean,
    sweep: async () => (await ask({ type: 'sweep' })) as boolean,
    forgetLeftover: async (id, upTo) => void (await ask({ type: 'forget', id, upTo })),
    async close() {
      quiet = true
      if (dead !== undefined) return void (await worker.terminate())
      try {
        await ask({ type: 'close' })
      } finally {
        // It ends by itself: ending a thread from outside while others begin is where Node has crashed (nodejs/node issue 56312).
        await exited
      }
    },
  }
}

function pack(write: Write): PackedWrite {
  if (write.kind !== 'record') return write
  const { events, ...rest } = write
  return { ...rest, body: encodeEvents(events) }
}

/** A record's events are known here already: the worker does not send them back. */
function withEvents(outcome: WriteOutcome, write: Write | undefined): WriteOutcome {
  return outcome.kind === 'appended' && write?.kind === 'record' ? { ...outcome, events: write.events } : outcome
}
