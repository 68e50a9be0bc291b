/** Files that must be on the disk before somebody relies on them. */
import { closeSync, existsSync, fsyncSync, openSync, readdirSync, readSync, renameSync, rmSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'

/** Bytes that are read at a time. */
export const CHUNK_BYTES = 1024 * 1024
/** Lines of SQLite's own check that are told at most. */
const TOLD_MAX = 3

/** Makes what was written to a file, or the names in a folder, survive a power cut. */
export function sync(path: string): void {
  const fd = openSync(path, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}

/** Removes a database with what SQLite keeps beside it. */
export function removeDatabase(file: string): void {
  for (const end of ['', '-wal', '-shm', '-journal']) rmSync(`${file}${end}`, { force: true })
}

/**
 * Makes the database `prepared` the one at `file`, by one rename. Nobody may have either of them open.
 *
 * What stands beside the old one goes first: SQLite would take it for a part of the new one. It must have been copied back, or be kept.
 */
export function replaceLog(prepared: string, file: string): void {
  for (const end of ['-wal', '-shm', '-journal']) rmSync(`${file}${end}`, { force: true })
  renameSync(prepared, file)
  sync(dirname(file))
}

/** The bytes of a file, piece by piece. */
export function* chunksOf(file: string): Generator<Uint8Array> {
  const fd = openSync(file, 'r')
  try {
    const chunk = new Uint8Array(CHUNK_BYTES)
    for (let read = readSync(fd, chunk); read > 0; read = readSync(fd, chunk)) yield chunk.subarray(0, read)
  } finally {
    closeSync(fd)
  }
}

/** One file of a tool's output. */
export interface OutputFile {
  readonly session: string
  readonly name: string
  readonly path: string
}

/** The output files below `folder`, which has a folder for each session. Links and what else is no file are left out. */
export function* outputFiles(folder: string): Generator<OutputFile> {
  for (const session of foldersIn(folder)) {
    for (const entry of readdirSync(join(folder, session), { withFileTypes: true })) {
      if (entry.isFile()) yield { session, name: entry.name, path: join(folder, session, entry.name) }
    }
  }
}

function foldersIn(folder: string): readonly string[] {
  if (!existsSync(folder)) return []
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []))
}

/** Bytes of a file; 0 if there is none. */
export function bytesOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0
}

/** What SQLite finds wrong with a database, in a few lines; nothing is the good answer. */
export function problemsOf(db: DatabaseSync, check: 'quick_check' | 'integrity_check'): string | undefined {
  try {
    const lines = db
      .prepare(`PRAGMA ${check}(${TOLD_MAX})`)
      .all()
      .map((row) => String(row[check]))
    return lines.length === 1 && lines[0] === 'ok' ? undefined : lines.join('; ')
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}
