/**
 * Bugs that are planted to see the harness find them. Each replaces one piece of the code by a wrong one; each must be found.
 *
 * A plant whose `find` does not stand exactly once in its file is out of date: mend it together with the code.
 */

/** One planted bug. */
export interface Plant {
  /** What is wrong, in a few words; unique. */
  readonly name: string
  readonly file: string
  /** Stands exactly once in the file. */
  readonly find: string
  readonly replace: string
  /** The part of the torture that must find it. */
  readonly part: string
  /** A second place, for a bug that another safeguard would hide. */
  readonly also?: { readonly file: string; readonly find: string; readonly replace: string }
  /** Seeds, or rounds, that the part may take. Default `PLANT_SEEDS_MAX`. */
  readonly seeds?: number
}

/** Seeds after which a plant counts as not found. */
export const PLANT_SEEDS_MAX = 3_000

/** All plants. */
export const PLANTS: readonly Plant[] = [
  {
    name: 'publish before commit',
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
    name: 'skip the fence',
    file: 'src/log/apply.ts',
    find: 'return state?.run?.id === runId && state.fence === fence',
    replace: 'return state?.run?.id === runId && fence > 0',
    part: 'simulation',
  },
  {
    name: 'takeover without a higher fence',
    file: 'src/domain/decide-interrupt.ts',
    find: '  const fence = state.fence + 1\n',
    replace: '  const fence = state.fence\n',
    part: 'simulation',
  },
  {
    name: 'forget one open call',
    file: 'src/domain/decide-cancel.ts',
    find: ".filter((call) => call.status !== 'ended')",
    replace: ".filter((call) => call.status !== 'ended').slice(1)",
    part: 'simulation',
  },
  {
    name: 'recovery repeats what must not be repeated',
    file: 'src/agent/run-tool.ts',
    find: 'if (tool?.repeatable === true) return runTool',
    replace: 'if (tool !== undefined) return runTool',
    part: 'simulation',
  },
  {
    name: 'start a tool before its intent is durable',
    file: 'src/agent/run-tool.ts',
    find: "await context.record({ type: 'ToolStarted'",
    replace: "void context.record({ type: 'ToolStarted'",
    part: 'simulation',
  },
  {
    name: 'takeover leaves process groups alive',
    file: 'src/runtime/supervisor.ts',
    find: 'for (const intent of await leftRunning(this.#options.store, stream, calls, upTo)) await this.#options.killGroup(intent)',
    replace: 'await leftRunning(this.#options.store, stream, calls, upTo)',
    part: 'simulation',
  },
  {
    name: 'superseded text not marked',
    file: 'src/agent/next-effect.ts',
    find: "if (state.calling) return { type: 'supersede' }",
    replace: "if (state.calling) return { type: 'retry' }",
    part: 'simulation',
  },
  {
    name: 'start a call that waits for a person',
    file: 'src/agent/next-effect.ts',
    find: "if (call.status === 'asked') break",
    replace: "if (call.status === 'started') break",
    part: 'simulation',
  },
  {
    name: 'a terminal event twice',
    file: 'src/domain/decide-run.ts',
    find: 'events: [...command.closing, last, ...startNext(',
    replace: 'events: [...command.closing, last, last, ...startNext(',
    part: 'simulation',
  },
  {
    name: 'a queue entry dropped when the run ends',
    file: 'src/domain/decide-run.ts',
    find: 'last, ...startNext(state, waiting, run.driver)]',
    replace: 'last, ...startNext(state, waiting.slice(1), run.driver)]',
    part: 'simulation',
  },
  {
    name: 'idempotency record not looked at',
    file: 'src/storage/memory/store.ts',
    find: 'idempotency === undefined ? undefined : repeat(data, idempotency)',
    replace: 'idempotency?.key === undefined ? repeat(data, { scope: "", key: "", fingerprint: "" }) : undefined',
    part: 'simulation',
  },
  {
    name: 'idempotency record not looked at, in SQLite',
    file: 'src/storage/sqlite/writer.ts',
    find: 'idempotency === undefined ? undefined : this.#keys.repeat(idempotency)',
    replace: 'idempotency?.key === "" ? this.#keys.repeat(idempotency) : undefined',
    part: 'cut',
  },
  {
    name: 'a cancel that waits for the poll',
    file: 'src/runtime/supervisor.ts',
    find: 'clock.after(CANCEL_CONFIRM_MS, ',
    replace: 'clock.after(CANCEL_CONFIRM_MS + POLL_MS, ',
    part: 'simulation',
  },
  {
    name: 'trust the hub without comparing positions',
    file: 'src/stream/tail.ts',
    find: 'if (!this.#reading.current || batch.from !== this.#position + 1) return',
    replace: 'if (!this.#reading.current) return',
    part: 'simulation',
  },
  {
    name: 'tail skips an event at the switch from replay to live',
    file: 'src/stream/tail.ts',
    find: 'if (!this.#reading.current || batch.from !== this.#position + 1) return',
    replace: 'if (!this.#reading.current || batch.from > this.#position + 2) return',
    part: 'simulation',
  },
  {
    name: 'feed repeats the begun commit to a reader that comes back',
    file: 'src/stream/feed-tail.ts',
    find: 'const skip = batch.feed === feed ? count : 0',
    replace: 'const skip = batch.feed === feed && count < 0 ? count : 0',
    part: 'simulation',
  },
  {
    name: 'a driver trusts the hub without comparing positions',
    file: 'src/runtime/follower.ts',
    find: 'else if (batch.from !== this.#position + 1) this.#catchUp()',
    replace: 'else if (batch.from <= this.#position) this.#catchUp()',
    part: 'simulation',
  },
  {
    name: 'no bound for a slow reader',
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
    name: 'a failed log taken for a failed model',
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
    name: 'a lost hint of a started run never looked for',
    file: 'src/runtime/supervisor.ts',
    find: 'run.driver === store.driver ? this.#suspects.has(nameOf(run.stream, run.runId)) : gone(run.driver)',
    replace: 'run.driver === store.driver ? false : gone(run.driver)',
    part: 'simulation',
  },
  {
    name: 'a step of an own agent repeated that must not be',
    file: 'src/runtime/steps.ts',
    find: "if (known?.status === 'started' && step.repeatable !== true) return interrupted",
    replace: "if (known?.status === 'started' && step.repeatable === null) return interrupted",
    part: 'simulation',
  },
  {
    name: 'neither guardian nor takeover ends a group',
    file: 'src/tool/guardian/main.ts',
    find: "process.stdin.on('end', killGroup)\nprocess.stdin.on('close', killGroup)\nprocess.stdin.on('error', killGroup)\n",
    replace: "process.stdin.on('error', () => undefined)\n",
    also: {
      file: 'src/runtime/supervisor.ts',
      find: 'for (const intent of await leftRunning(this.#options.store, stream, calls, upTo)) await this.#options.killGroup(intent)',
      replace: 'await leftRunning(this.#options.store, stream, calls, upTo)',
    },
    part: 'orphans',
    seeds: 10,
  },
  {
    name: 'a fork reads one position too many',
    file: 'src/storage/memory/segments.ts',
    find: 'Math.max(0, Math.min(last, upTo) - base)',
    replace: 'Math.max(0, Math.min(last + 1, upTo) - base)',
    part: 'simulation',
  },
  {
    name: 'a fork reads what its origin wrote later, in SQLite',
    file: 'src/storage/sqlite/reader.ts',
    find: 'const upTo = Math.min(batch.to, last, end)',
    replace: 'const upTo = Math.min(batch.to, end)',
    part: 'simulation',
  },
  {
    name: 'a fork in the middle of a turn',
    file: 'src/domain/fork-point.ts',
    find: 'isForkPoint: look.isClosed }',
    replace: 'isForkPoint: true }',
    part: 'simulation',
  },
  {
    name: 'an erasure takes what a fork inherits',
    file: 'src/storage/memory/segments.ts',
    find: 'cut(segment.events, ({ position }) => position > upTo)',
    replace: 'cut(segment.events, ({ position }) => position > upTo - 1)',
    part: 'simulation',
  },
  {
    name: 'a sweep takes what a fork inherits, in SQLite',
    file: 'src/storage/sqlite/erase.ts',
    find: 'place !== undefined && place.first > keepTo && bytes',
    replace: 'place !== undefined && place.first > keepTo - 4 && bytes',
    part: 'simulation',
  },
  {
    name: 'a sweep leaves what nobody reads, in SQLite',
    file: 'src/storage/sqlite/erase.ts',
    find: "if (finished && orphan.keep_to === 0) this.#run('DELETE FROM orphan WHERE segment = ?', orphan.segment)",
    replace: 'if (false as boolean) return { more: true, finished }',
    part: 'simulation',
  },
  {
    name: 'a session is erased beside its run',
    file: 'src/log/apply.ts',
    find: 'if (state.run !== undefined) throw',
    replace: "if (state.run !== undefined && asker === 'driver') throw",
    part: 'simulation',
  },
  {
    name: 'an erased session is still in the feed',
    file: 'src/storage/memory/store.ts',
    find: '  data.feed.splice(0, data.feed.length, ...data.feed.filter(({ stream }) => stream !== write.stream))\n',
    replace: '',
    part: 'simulation',
  },
  {
    name: 'readers of an erased session are told nothing',
    file: 'src/stream/tail.ts',
    find: '      this.#reading.end()\n      return false\n',
    replace: '      return false\n',
    part: 'simulation',
  },
  {
    name: 'a driver waits for an erased session',
    file: 'src/runtime/follower.ts',
    find: 'if (head === undefined && this.#position > 0) return this.#gone()',
    replace: 'if (head === undefined && this.#position < 0) return this.#gone()',
    part: 'simulation',
  },
  {
    name: 'an erasure is not remembered under its key',
    file: 'src/storage/memory/store.ts',
    find: "if (idempotency !== undefined && (outcome.kind === 'appended' || outcome.kind === 'erased'))",
    replace: "if (idempotency !== undefined && outcome.kind === 'appended')",
    part: 'simulation',
  },
  {
    name: 'a purge removes the outputs that a fork names',
    file: 'src/command/purge.ts',
    find: 'if (name !== undefined) names.add(name)',
    replace: 'if (name === undefined) names.add("")',
    part: 'simulation',
  },
  {
    name: 'a packed row loses a boundary',
    file: 'src/storage/sqlite/packer.ts',
    find: 'this.#setBatch.run(first.from, first.atMs, encodeParts(parts), last.feed)',
    replace: `const values = parts.flatMap((part) => part.values)
    const whole = { ...first, to: last.last, values }
    this.#setBatch.run(first.from, first.atMs, encodeParts([whole]), last.feed)`,
    part: 'simulation',
  },
  {
    name: 'a page of the feed misses the packed row that reaches into it',
    file: 'src/storage/sqlite/reader.ts',
    find: 'for (const found of this.#reaching.iterate(next, owner)) take(found)',
    replace: '',
    part: 'simulation',
  },
  {
    name: 'a second answer to an interrupted run counts',
    file: 'src/domain/decide-interrupt.ts',
    find: "if (run.resume !== 'asked') throw",
    replace: "if (run.resume === 'granted') throw",
    part: 'simulation',
  },
  {
    name: 'a run goes on before a person has said so',
    file: 'src/runtime/supervisor.ts',
    find: "state.run.resume === 'asked' || this.#parked",
    replace: 'this.#parked',
    part: 'simulation',
  },
  {
    name: 'a claim that ends a run leaves what the other process began of it',
    file: 'src/runtime/supervisor.ts',
    find: "if (first?.type === 'RunClaimed') void",
    replace: "if (first?.type === 'SessionCreated') void",
    part: 'simulation',
  },
]
