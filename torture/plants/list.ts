/**
 * Bugs that are planted to see the harness find them. Each replaces one piece of the code by a wrong one; each must be found.
 *
 * A plant whose `find` does not stand exactly once in its file is out of date: mend it together with the code.
 */

/** One planted bug. */
export interface Plant {
  /** What is wrong, as a sentence without its end. */
  readonly name: string
  readonly file: string
  /** Stands exactly once in the file. */
  readonly find: string
  readonly replace: string
  /** The part of the torture that must find it. */
  readonly part: string
  /** Seeds that the part may take. Default `PLANT_SEEDS_MAX`. */
  readonly seeds?: number
}

/** Seeds after which a plant counts as not found. */
export const PLANT_SEEDS_MAX = 3_000

/** All plants. */
export const PLANTS: readonly Plant[] = [
  {
    name: 'readers are told before the commit',
    file: 'src/command/committer.ts',
    find: '    const outcomes = await this.#attempt(writes)\n',
    replace: `    for (const write of writes) {
      if (write.kind !== 'record') continue
      const from = ((await this.#store.head(write.stream)) ?? 0) + 1
      const { stream, events, atMs } = write
      this.#hub.publish({ stream, from, to: from + events.length - 1, feed: 0, atMs, events, owner: 'alice' as never })
    }
    const outcomes = await this.#attempt(writes)
`,
    part: 'simulation',
  },
  {
    name: 'the fence is not looked at',
    file: 'src/log/apply.ts',
    find: 'return state?.run?.id === runId && state.fence === fence',
    replace: 'return state?.run?.id === runId && fence > 0',
    part: 'simulation',
  },
  {
    name: 'a takeover does not raise the fence',
    file: 'src/domain/decide-interrupt.ts',
    find: '  const fence = state.fence + 1\n',
    replace: '  const fence = state.fence\n',
    part: 'simulation',
  },
  {
    name: 'one open call is forgotten when a run ends',
    file: 'src/domain/decide-cancel.ts',
    find: ".filter((call) => call.status !== 'ended')",
    replace: ".filter((call) => call.status !== 'ended').slice(1)",
    part: 'simulation',
  },
  {
    name: 'recovery repeats a call that must not be repeated',
    file: 'src/agent/run-tool.ts',
    find: 'if (tool?.repeatable === true) return runTool',
    replace: 'if (tool !== undefined) return runTool',
    part: 'simulation',
  },
  {
    name: 'a tool starts before its intent is durable',
    file: 'src/agent/run-tool.ts',
    find: "await context.record({ type: 'ToolStarted'",
    replace: "void context.record({ type: 'ToolStarted'",
    part: 'simulation',
  },
  {
    name: 'a takeover leaves the process groups of its predecessor alive',
    file: 'src/runtime/supervisor.ts',
    find: 'for (const intent of await leftRunning(this.#options.store, stream, state)) await this.#options.killGroup(intent)',
    replace: 'await leftRunning(this.#options.store, stream, state)',
    part: 'simulation',
  },
  {
    name: 'a cut-off attempt is not marked as superseded',
    file: 'src/agent/next-effect.ts',
    find: "if (state.calling) return { type: 'supersede' }",
    replace: "if (state.calling) return { type: 'retry' }",
    part: 'simulation',
  },
  {
    name: 'a call that waits for a person does not hold up the next ones, nor itself',
    file: 'src/agent/next-effect.ts',
    find: "if (call.status === 'asked') break",
    replace: "if (call.status === 'started') break",
    part: 'simulation',
  },
  {
    name: 'a run writes its end twice',
    file: 'src/domain/decide-run.ts',
    find: 'events: [...command.closing, last, ...startNext(',
    replace: 'events: [...command.closing, last, last, ...startNext(',
    part: 'simulation',
  },
  {
    name: 'a message that waits is dropped when its run ends',
    file: 'src/domain/decide-run.ts',
    find: 'last, ...startNext(state, waiting, run.driver)]',
    replace: 'last, ...startNext(state, waiting.slice(1), run.driver)]',
    part: 'simulation',
  },
  {
    name: 'the idempotency record is not looked at',
    file: 'src/storage/memory/store.ts',
    find: 'idempotency === undefined ? undefined : repeat(data, idempotency)',
    replace: 'idempotency?.key === undefined ? repeat(data, { scope: "", key: "", fingerprint: "" }) : undefined',
    part: 'simulation',
  },
  {
    name: 'SQLite does not look at the idempotency record',
    file: 'src/storage/sqlite/writer.ts',
    find: 'idempotency === undefined ? undefined : this.#repeat(idempotency)',
    replace: 'idempotency?.key === "" ? this.#repeat(idempotency) : undefined',
    part: 'cut',
  },
  {
    name: 'a cancel waits for the poll',
    file: 'src/runtime/supervisor.ts',
    find: 'clock.after(CANCEL_CONFIRM_MS, ',
    replace: 'clock.after(CANCEL_CONFIRM_MS + POLL_MS, ',
    part: 'simulation',
  },
  {
    name: 'a reader trusts the hub and compares no positions',
    file: 'src/stream/tail.ts',
    find: 'if (!this.#reading.current || batch.from !== this.#position + 1) return',
    replace: 'if (!this.#reading.current) return',
    part: 'simulation',
  },
  {
    name: 'a reader skips an event where the replay ends and live begins',
    file: 'src/stream/tail.ts',
    find: 'if (!this.#reading.current || batch.from !== this.#position + 1) return',
    replace: 'if (!this.#reading.current || batch.from > this.#position + 2) return',
    part: 'simulation',
  },
  {
    name: 'a reader of the feed gets the begun commit again when it comes back',
    file: 'src/stream/feed-tail.ts',
    find: 'const skip = batch.feed === feed ? count : 0',
    replace: 'const skip = batch.feed === feed && count < 0 ? count : 0',
    part: 'simulation',
  },
  {
    name: 'a driver trusts the hub and compares no positions',
    file: 'src/runtime/follower.ts',
    find: 'if (batch.from !== this.#position + 1) return this.#catchUp()',
    replace: 'if (batch.from <= this.#position) return this.#catchUp()',
    part: 'simulation',
  },
  {
    name: 'a slow reader is given more and more',
    file: 'src/stream/reading.ts',
    find: 'sink.buffered() > READER_BUFFER_BYTES_MAX) this.#stalled = true',
    replace: 'sink.buffered() > 1e12) this.#stalled = true',
    part: 'simulation',
  },
  {
    name: 'a reader that leaves keeps its subscription',
    file: 'src/stream/reading.ts',
    find: '    this.#unsubscribe()\n    this.#cancelKeepAlive()\n',
    replace: '    this.#cancelKeepAlive()\n',
    part: 'simulation',
  },
  {
    name: 'a failed disk is taken for a failed model',
    file: 'src/agent/call-model.ts',
    find: 'if (concluded.record.length > 0) await context.record(...concluded.record)\n',
    replace: `try {
    if (concluded.record.length > 0) await context.record(...concluded.record)
  } catch (error) {
    return failed(context, parts, answer, attempt, error)
  }
`,
    part: 'simulation',
  },
  {
    name: 'a lost hint of a started run is never looked for',
    file: 'src/runtime/supervisor.ts',
    find: 'run.driver === store.driver ? this.#suspects.has(run.runId) : gone(run.driver)',
    replace: 'run.driver === store.driver ? false : gone(run.driver)',
    part: 'simulation',
  },
]
