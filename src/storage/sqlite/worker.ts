/** The writer's thread: one request after the other. */
import { parentPort, workerData } from 'node:worker_threads'
import type { RecordWrite, WriteOutcome } from '../../log/store.ts'
import type { Answer, PackedWrite, Request } from './writer-link.ts'
import { ConvokeError } from '../../domain/errors.ts'
import { unpackEvents } from '../../log/packing.ts'
import { Writer, type EncodedWrite, type WriterOptions } from './writer.ts'

/** Runs `work` and posts what came of it. */
function answer(work: () => Answer): void {
  try {
    parentPort?.postMessage(work())
  } catch (error) {
    const code = error instanceof ConvokeError ? error.code : 'store_failed'
    parentPort?.postMessage({ type: 'failed', code, message: error instanceof Error ? error.message : String(error) } satisfies Answer)
  }
}

let writer: Writer | undefined
answer(() => {
  writer = new Writer(workerData as WriterOptions)
  return { type: 'ready', logId: writer.logId, driver: writer.driver }
})

function perform(request: Request): unknown {
  if (writer === undefined) throw new ConvokeError('store_failed', 'the log is not open')
  switch (request.type) {
    case 'commit':
      return writer.commit(request.writes.map(unpack)).map((outcome, index) => withoutEvents(outcome, request.writes[index]))
    case 'prune':
      return writer.pruneIdempotency(request.beforeMs)
    case 'pack':
      return writer.pack(request.beforeMs)
    case 'release':
      return writer.release()
    case 'sweep':
      return writer.sweep()
    case 'forget':
      return writer.forgetLeftover(request.id, request.upTo)
    case 'renew':
      return writer.renewDriver(request.untilMs)
    case 'close':
      return writer.close()
  }
}

function unpack(write: PackedWrite): EncodedWrite {
  return write.kind !== 'record' ? write : { ...write, events: unpackEvents(JSON.parse(write.body) as readonly unknown[]) as RecordWrite['events'] }
}

function withoutEvents(outcome: WriteOutcome, write: PackedWrite | undefined): WriteOutcome {
  return outcome.kind === 'appended' && write?.kind === 'record' ? { ...outcome, events: [] } : outcome
}

parentPort?.on('message', (request: Request) => {
  answer(() => ({ type: 'done', value: perform(request) }))
  // Nothing is left to do then, and the thread ends by itself.
  if (request.type === 'close') return parentPort?.close()
  if (request.type === 'commit') {
    try {
      writer?.checkpoint()
    } catch {
      // The WAL stays longer; the next commit tries again, and a broken disk shows in the commit itself.
    }
  }
})
