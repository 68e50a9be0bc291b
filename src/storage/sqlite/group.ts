/**
 * Group commit: what waits while one commit is under way goes into the next, as one transaction with one fsync.
 *
 * G1. Writes of the same stream keep their order. Otherwise commands go before records, since a person waits for them.
 * G2. A caller's writes stay together in one transaction; each caller gets its own outcomes.
 */
import type { Write, WriteOutcome } from '../../log/store.ts'
import { WRITES_MAX } from '../../log/store.ts'

interface Call {
  readonly writes: readonly Write[]
  readonly resolve: (outcomes: readonly WriteOutcome[]) => void
  readonly reject: (error: unknown) => void
}

/** Gathers calls in front of a writer that takes one commit at a time. */
export class CommitGroup {
  readonly #commit: (writes: readonly Write[]) => Promise<readonly WriteOutcome[]>
  #waiting: Call[] = []
  #running: Promise<void> | undefined

  constructor(commit: (writes: readonly Write[]) => Promise<readonly WriteOutcome[]>) {
    this.#commit = commit
  }

  /** Commits `writes` with whatever else waits. */
  add(writes: readonly Write[]): Promise<readonly WriteOutcome[]> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ writes, resolve, reject })
      this.#running ??= this.#run()
    })
  }

  /** Resolves when nothing waits any more. */
  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running
  }

  async #run(): Promise<void> {
    // Callers of the same turn of the loop belong together.
    await Promise.resolve()
    while (this.#waiting.length > 0) await this.#runOnce(this.#take())
    this.#running = undefined
  }

  #take(): readonly Call[] {
    let writes = 0
    let count = 0
    for (const call of this.#waiting) {
      if (count > 0 && writes + call.writes.length > WRITES_MAX) break
      writes += call.writes.length
      count++
    }
    return commandsFirst(this.#waiting.splice(0, count))
  }

  async #runOnce(calls: readonly Call[]): Promise<void> {
    try {
      const outcomes = await this.#commit(calls.flatMap((call) => call.writes))
      let from = 0
      for (const call of calls) call.resolve(outcomes.slice(from, (from += call.writes.length)))
    } catch (error) {
      for (const call of calls) call.reject(error)
    }
  }
}

/** Moves commands to the front, unless a record of the same stream waits before them. @see G1 */
function commandsFirst(calls: readonly Call[]): readonly Call[] {
  const recorded = new Set<string>()
  const first: Call[] = []
  const rest: Call[] = []
  for (const call of calls) {
    const moves = call.writes.every((write) => write.kind === 'decide' && !recorded.has(write.stream))
    if (moves) first.push(call)
    else {
      rest.push(call)
      for (const write of call.writes) recorded.add(write.stream)
    }
  }
  return [...first, ...rest]
}
