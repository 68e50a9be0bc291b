/** A command's output: a bounded part for the event, all of it in a file once it is longer. */
import { createHash } from 'node:crypto'
import { closeSync, fsyncSync, openSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { TOOL_OUTPUT_BYTES_MAX } from '../domain/tool.ts'

/** Bytes of output that one call may make; then its command is stopped. */
export const OUTPUT_FILE_BYTES_MAX = 64 * 1024 * 1024
/** Bytes of the bound that are kept for what is said about the output: where the whole of it is, and how the command ended. */
const NOTES_BYTES = 1024
/** Part of the rest that shows the beginning; what is left shows the end. */
const HEAD_SHARE = 0.6
/** A byte that is no text is shown as a character of three. */
const BROKEN_BYTES = 3
/** What the rest of a character can become at a border: three bytes that are no text, shown by three each. */
const BORDER_BYTES = 9

/** Collects output. */
export class Output {
  readonly #file: string
  readonly #wholeBytes: number
  readonly #headBytes: number
  readonly #tailBytes: number
  #kept: Buffer[] = []
  #keptBytes = 0
  #tail: Buffer = Buffer.alloc(0)
  #fd: number | undefined
  #total = 0
  #failure: string | undefined

  /**
   * @param folder Where the whole output goes once it is too long for an event.
   * @param call Names the call among all of the folder: an id alone may come again in the session's next run.
   */
  constructor(folder: string, call: string) {
    // A model chooses call ids: only a hash of one may become a file name.
    this.#file = join(folder, `${createHash('sha256').update(call).digest('hex').slice(0, 32)}.log`)
    this.#wholeBytes = TOOL_OUTPUT_BYTES_MAX - NOTES_BYTES - Buffer.byteLength(this.#file)
    this.#headBytes = Math.floor(this.#wholeBytes * HEAD_SHARE)
    this.#tailBytes = this.#wholeBytes - this.#headBytes
  }

  /** Whether `OUTPUT_FILE_BYTES_MAX` is passed. */
  get overflown(): boolean {
    return this.#total > OUTPUT_FILE_BYTES_MAX
  }

  /** Why the output cannot be kept, a full disk for example; what comes then is dropped. */
  get failure(): string | undefined {
    return this.#failure
  }

  add(chunk: Buffer): void {
    if (this.#failure !== undefined) return
    this.#total += chunk.length
    if (this.overflown) return
    if (this.#fd !== undefined) return this.#spill(chunk)
    this.#kept.push(chunk)
    this.#keptBytes += chunk.length
    if (this.#keptBytes > this.#wholeBytes) this.#spillKept()
  }

  /** Ends the collection, once. The file, if there is one, is on the disk when this returns. */
  finish(): { readonly text: string; readonly file?: string } {
    const all = Buffer.concat(this.#kept)
    const whole = decode(all)
    if (this.#fd === undefined && this.#failure === undefined) {
      if (Buffer.byteLength(whole) <= this.#wholeBytes) return { text: whole }
      this.#spillKept()
    }
    this.#close()
    const head = cut(all.subarray(0, this.#headBytes), (bytes, length) => bytes.subarray(0, length))
    const tail = cut(this.#tail, (bytes, length) => bytes.subarray(bytes.length - length))
    const left = this.#total - head.length - tail.length
    const where = this.#failure === undefined ? `; the whole output is in ${this.#file}` : ''
    const gap = left > 0 ? `\n[${left} bytes are left out here${where}]\n` : ''
    // What is cut inside a character is dropped rather than shown broken.
    const text = `${decode(head).replace(/\uFFFD{1,3}$/, '')}${gap}${decode(tail).replace(/^\uFFFD{1,3}/, '')}`
    return { text, ...(this.#failure === undefined ? { file: this.#file } : {}) }
  }

  #spillKept(): void {
    this.#try(() => (this.#fd = openSync(this.#file, 'w', 0o600)))
    for (const kept of this.#kept) this.#spill(kept)
  }

  #spill(chunk: Buffer): void {
    this.#tail = Buffer.concat([this.#tail, chunk])
    if (this.#tail.length > this.#tailBytes) this.#tail = this.#tail.subarray(this.#tail.length - this.#tailBytes)
    const fd = this.#fd
    // A single write may take only a part.
    if (fd !== undefined && this.#failure === undefined) this.#try(() => writeFileSync(fd, chunk))
  }

  #close(): void {
    const fd = this.#fd
    if (fd === undefined) return
    this.#try(() => fsyncSync(fd))
    this.#try(() => closeSync(fd))
    this.#try(() => syncFolder(dirname(this.#file)))
  }

  #try(work: () => void): void {
    try {
      work()
    } catch (error) {
      this.#failure ??= error instanceof Error ? error.message : String(error)
    }
  }
}

/** Bytes as text: any byte that is none becomes U+FFFD. */
function decode(bytes: Buffer): string {
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes)
}

/** As much of `bytes` as has at most their number of bytes as text, too; characters that are cut at the borders aside. */
function cut(bytes: Buffer, part: (bytes: Buffer, length: number) => Buffer): Buffer {
  for (let length = bytes.length; ;) {
    const taken = part(bytes, length)
    const over = Buffer.byteLength(decode(taken)) - bytes.length - BORDER_BYTES
    if (over <= 0) return taken
    length -= Math.ceil(over / BROKEN_BYTES)
  }
}

function syncFolder(folder: string): void {
  const fd = openSync(folder, 'r')
  try {
    fsyncSync(fd)
  } finally {
    closeSync(fd)
  }
}
