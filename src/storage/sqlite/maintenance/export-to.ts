/** Where an exported session goes: a stream that is written as fast as it is read, or a file whose name appears when it is whole. */
import { createWriteStream, renameSync, rmSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { Readable, type Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { ConvokeError } from '../../../domain/errors.ts'
import { parseSessionId } from '../../../domain/ids.ts'
import { bytesOf, sync } from './disk.ts'
import { exportSession, type ExportOptions } from './export.ts'
import { openReadOnly, requireWholeLog, type LogFolder } from './open.ts'
import { requireTarget } from './target.ts'

/** Writes session `id` to `target`, and leaves that open. @throws {ConvokeError} as `exportSession`; `store_damaged`, `store_newer`, `store_failed` */
export async function exportToStream(where: LogFolder, id: string, target: Writable, options: ExportOptions = {}): Promise<void> {
  const session = parseSessionId(id)
  if (session === undefined) throw new ConvokeError('invalid_request', `${id} is no session id: a UUID`)
  const db = openReadOnly(await requireWholeLog(where.folder))
  try {
    await pipeline(Readable.from(exportSession(db, where, session, options)), target, { end: false })
  } finally {
    db.close()
  }
}

/** Writes session `id` to the file `path`, which must not exist without `force`. Answers its size in bytes. */
export async function exportToFile(where: LogFolder, id: string, path: string, options: ExportOptions & { readonly force?: boolean } = {}): Promise<number> {
  const target = resolve(path)
  requireTarget(target, options.force)
  const writing = join(dirname(target), `.${basename(target)}.${process.pid}.writing`)
  rmSync(writing, { force: true })
  try {
    // Nobody else may read what the session says.
    const stream = createWriteStream(writing, { flags: 'wx', mode: 0o600 })
    await exportToStream(where, id, stream, options)
    await new Promise<void>((done, failed) => stream.once('error', failed).end(done))
    sync(writing)
    renameSync(writing, target)
    sync(dirname(target))
    return bytesOf(target)
  } catch (error) {
    rmSync(writing, { force: true })
    throw error
  }
}
