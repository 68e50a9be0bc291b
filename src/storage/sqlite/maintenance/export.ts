/** Writes a session as a file (`session-file.ts`), beside a running server too: in pages, each of one moment, up to the head of the beginning. */
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { basename, resolve, sep } from 'node:path'
import type { DatabaseSync, StatementSync } from 'node:sqlite'
import { ConvokeError } from '../../../domain/errors.ts'
import { partsOf, type StreamRow } from '../rows.ts'
import { oneMoment } from '../reader.ts'
import { Batches } from './batches.ts'
import { chunksOf } from './disk.ts'
import { metaOf, outputPlaces, type LogFolder } from './open.ts'
import { SESSION_FORMAT, SESSION_VERSION, type SessionHeader, type StoredEvent } from './session-file.ts'

/** Characters of bodies that one page holds, about. */
const PAGE_CHARS = 128 * 1024
/** What stands in the place of an event that is lost. */
const DAMAGED: StoredEvent = { type: 'damaged' }

/** How to export. */
export interface ExportOptions {
  /** Puts `damaged` in the place of each event that is lost, where otherwise the session is refused. */
  readonly damaged?: boolean
  /** Told of each output file that an event refers to and that is not there. */
  readonly missing?: (path: string) => void
}

interface Line {
  readonly position: number
  readonly atMs: number
  readonly event: StoredEvent
}

/**
 * The lines of session `id`, each with its end. `db` is open for reading, and in no transaction.
 *
 * @throws {ConvokeError} `not_found`; `store_damaged` where events are lost
 */
export function* exportSession(db: DatabaseSync, where: LogFolder, id: string, options: ExportOptions = {}): Generator<string> {
  const pages = new Pages(db, id, options.damaged === true)
  const header = pages.header()
  const hash = createHash('sha256')
  const line = (value: object): string => {
    const text = `${JSON.stringify(value)}\n`
    hash.update(text)
    return text
  }
  const outputs = new Map<string, string>()
  yield line(header)
  for (let position = 0; position < header.events;) {
    for (const entry of pages.behind(position, header.events)) {
      yield line(entry)
      position = entry.position
      const file = outputOf(entry.event)
      if (file !== undefined) outputs.set(basename(file), file)
    }
  }
  for (const [name, file] of outputs) {
    // Only what stands among the outputs: an event of somebody else's tool may name any file of this machine.
    const own = outputPlaces(where, id, file).filter((place) => resolve(place).startsWith(resolve(where.folder, where.outputs) + sep))
    const path = own.find((place) => existsSync(place))
    if (path === undefined) options.missing?.(file)
    else yield* outputLines(name, path, line)
  }
  yield `${JSON.stringify({ events: header.events, sha256: hash.digest('hex') })}\n`
}

function* outputLines(output: string, path: string, line: (value: object) => string): Generator<string> {
  let part = 0
  for (const chunk of chunksOf(path)) yield line({ output, part: part++, base64: Buffer.from(chunk).toString('base64') })
  if (part === 0) yield line({ output, part, base64: '' })
}

function outputOf(event: StoredEvent): string | undefined {
  const { type, outputFile } = event as { readonly type: string; readonly outputFile?: unknown }
  return type === 'ToolCompleted' && typeof outputFile === 'string' ? outputFile : undefined
}

class Pages {
  readonly #db: DatabaseSync
  readonly #id: string
  readonly #lossy: boolean
  readonly #batches: Batches
  readonly #row: StatementSync

  constructor(db: DatabaseSync, id: string, lossy: boolean) {
    this.#db = db
    this.#id = id
    this.#lossy = lossy
    this.#batches = new Batches(db)
    this.#row = db.prepare('SELECT key, id, owner, head, base, state, places FROM stream WHERE id = ?')
  }

  header(): SessionHeader {
    return oneMoment(this.#db, () => {
      const row = this.#find()
      const timeAt = (position: number) => {
        for (const { feed } of this.#batches.behind(row, position - 1)) {
          const batch = this.#batches.at(feed)
          const part = batch === undefined ? undefined : partsOf(batch)?.findLast(({ from }) => from <= position)
          return part?.atMs ?? batch?.at_ms ?? 0
        }
        return 0
      }
      const { id: session, owner, head: events } = row
      const log = metaOf(this.#db, 'log_id') ?? ''
      return { format: SESSION_FORMAT, version: SESSION_VERSION, session, owner, log, events, createdAtMs: timeAt(1), updatedAtMs: timeAt(events) }
    })
  }

  /** Some events behind position `after`, at least one, none behind `end`. */
  behind(after: number, end: number): readonly Line[] {
    return oneMoment(this.#db, () => {
      const lines: Line[] = []
      let chars = 0
      for (const { feed, last } of this.#batches.behind(this.#find(), after)) {
        const batch = this.#batches.at(feed)
        if (batch === undefined) continue
        const next = after + lines.length + 1
        this.#fill(lines, next, Math.min(batch.first - 1, end), batch.at_ms)
        const parts = partsOf(batch)
        if (parts === undefined) this.#fill(lines, after + lines.length + 1, Math.min(batch.last, last, end), batch.at_ms)
        for (const { from, to, atMs, values } of parts ?? []) {
          for (let position = after + lines.length + 1; position <= Math.min(to, last, end); position++) {
            lines.push({ position, atMs, event: values[position - from] as StoredEvent })
          }
        }
        chars += batch.body.length
        if (chars > PAGE_CHARS && lines.length > 0) return lines
        if (after + lines.length >= end) return lines
      }
      this.#fill(lines, after + lines.length + 1, end, lines.at(-1)?.atMs ?? 0)
      return lines
    })
  }

  #fill(lines: Line[], from: number, to: number, atMs: number): void {
    if (from <= to && !this.#lossy) {
      throw new ConvokeError('store_damaged', `position ${from} of session ${this.#id} is lost; --damaged exports what is left, with a mark in each lost place`)
    }
    for (let position = from; position <= to; position++) lines.push({ position, atMs, event: DAMAGED })
  }

  #find(): StreamRow & { readonly owner: string } {
    const row = this.#row.get(this.#id) as (StreamRow & { readonly owner: string }) | undefined
    if (row === undefined) throw new ConvokeError('not_found', `there is no session ${this.#id}`)
    return row
  }
}
