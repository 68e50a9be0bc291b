/** A command's output: a bounded part for the event, all of it in a file once it is longer. */
import { createHash } from 'node:crypto'
import { closeSync, fsyncSync, openSync, writeSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { TOOL_OUTPUT_BYTES_MAX } from '../domain/tool.ts'

/** Bytes of output that one call may make; then its command is stopped. */
export const OUTPUT_FILE_BYTES_MAX = 64 * 1024 * 1024
/** Part of the bound that shows the beginning; the rest shows the end. */
const HEAD_SHARE = 0.6

/** Collects output. */
export class Output {
  readonly #file: string
  #kept: Buffer[] = []
  #keptBytes = 0
  #tail: Buffer = Buffer.alloc(0)
  #fd: number | undefined
  #total = 0

  /** @param file Where the whole output goes once it is too long for an event. */
  constructor(folder: string, callId: string) {
    // A model chooses call ids: only a hash of one may become a file name.
    this.#file = join(folder, `${createHash('sha256').update(callId).digest('hex').slice(0, 32)}.log`)
  }

  /** Whether `OUTPUT_FILE_BYTES_MAX` is passed. */
  get overflown(): boolean {
    return this.#total > OUTPUT_FILE_BYTES_MAX
  }

  add(chunk: Buffer): void {
    this.#total += chunk.length
    if (this.overflown) return
    if (this.#fd !== undefined) return this.#spill(chunk)
    this.#kept.push(chunk)
    this.#keptBytes += chunk.length
    if (this.#keptBytes <= TOOL_OUTPUT_BYTES_MAX) return
    this.#fd = openSync(this.#file, 'w', 0o600)
    for (const kept of this.#kept) this.#spill(kept)
  }

  /** Ends the collection. The file, if there is one, is on the disk when this returns. */
  finish(): { readonly text: string; readonly file?: string } {
    const all = Buffer.concat(this.#kept)
    if (this.#fd === undefined) return { text: validText(all) }
    fsyncSync(this.#fd)
    closeSync(this.#fd)
    syncFolder(dirname(this.#file))
    const head = all.subarray(0, Math.floor(TOOL_OUTPUT_BYTES_MAX * HEAD_SHARE))
    const left = this.#total - head.length - this.#tail.length
    const gap = left > 0 ? `\n[${left} bytes are left out here; the whole output is in ${this.#file}]\n` : ''
    return { text: `${validText(head)}${gap}${validText(this.#tail)}`, file: this.#file }
  }

  #spill(chunk: Buffer): void {
    if (this.#fd === undefined) return
    writeSync(this.#fd, chunk)
    const tailBytes = TOOL_OUTPUT_BYTES_MAX - Math.floor(TOOL_OUTPUT_BYTES_MAX * HEAD_SHARE) - 512
    this.#tail = Buffer.concat([this.#tail, chunk])
    if (this.#tail.length > tailBytes) this.#tail = this.#tail.subarray(this.#tail.length - tailBytes)
  }
}

/** Bytes as valid text; what is cut at a border of the part is dropped rather than shown broken. */
function validText(bytes: Buffer): string {
  return new TextDecoder('utf-8').decode(bytes).replace(/^\uFFFD{1,3}|\uFFFD{1,3}$/g, '')
}

function syncFolder(folder: string): void {
  const fd = openSync(folder, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
