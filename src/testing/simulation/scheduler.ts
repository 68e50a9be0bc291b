/**
 * One seeded scheduler for everything that waits in a simulation: timers, turns of the loop, disks, networks, people.
 *
 * Owns: simulated time, and the order of what is due at the same time, which is chance from the seed.
 *
 * C1. One thing runs at a time, and everything that it makes ready has run before the next one: no other wait is ever under way.
 * C2. The same seed gives the same order. Whatever waits by itself (a timer, a socket, a thread) would break this, so nothing may.
 * C3. What belongs to a scope that was killed never runs; what belongs to a paused one runs when it is resumed.
 */
import type { Clock } from '../../domain/ports.ts'
import type { SeededRandom } from './seeded.ts'

/** Where simulated time begins, in ms since the epoch. */
export const SIMULATION_START_MS = 1_700_000_000_000

interface Task {
  readonly atMs: number
  /** Decides between tasks of one moment. */
  readonly order: number
  readonly scope: Scope
  readonly label: string
  readonly run: () => void
  cancelled: boolean
}

/** Told of each thing that runs. */
export type Trace = (line: string) => void

/** Runs tasks in the order of their time. */
export class Scheduler {
  readonly random: SeededRandom
  readonly #trace: Trace | undefined
  readonly #heap: Task[] = []
  #nowMs = SIMULATION_START_MS
  #steps = 0

  constructor(random: SeededRandom, trace?: Trace) {
    this.random = random
    this.#trace = trace
  }

  /** Simulated time, in ms with fractions. */
  get nowMs(): number {
    return this.#nowMs
  }

  /** Tasks that have run. */
  get steps(): number {
    return this.#steps
  }

  /** A part of the world that can die or be stopped: a process, a network. */
  scope(name: string): Scope {
    return new Scope(name, this)
  }

  /** Says something in the trace. */
  say(who: string, what: string): void {
    this.#trace?.(`${(this.#nowMs - SIMULATION_START_MS).toFixed(2).padStart(10)} ${who}: ${what}`)
  }

  /** Whether somebody listens to what is said. */
  get traced(): boolean {
    return this.#trace !== undefined
  }

  /** Runs until `done`, until nothing waits, or until `stepsMax` tasks have run in all. Answers which it was. */
  async run(done: () => boolean, stepsMax: number): Promise<'done' | 'quiet' | 'too long'> {
    // What the caller has begun comes first.
    await allReady()
    for (;;) {
      if (done()) return 'done'
      if (this.#steps >= stepsMax) return 'too long'
      const task = this.#pop()
      if (task === undefined) return 'quiet'
      this.#nowMs = Math.max(this.#nowMs, task.atMs)
      if (!task.scope.admit(task)) continue
      this.#steps++
      if (this.#trace !== undefined) this.say(task.scope.name, task.label)
      task.run()
      await allReady()
    }
  }

  /** Adds a task. Only scopes call this. */
  add(task: Task): void {
    const heap = this.#heap
    let at = heap.push(task) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (!isBefore(task, heap[parent] as Task)) break
      heap[at] = heap[parent] as Task
      at = parent
    }
    heap[at] = task
  }

  #pop(): Task | undefined {
    const heap = this.#heap
    const first = heap[0]
    const last = heap.pop()
    if (first === undefined || last === undefined || heap.length === 0) return first
    let at = 0
    for (;;) {
      let child = at * 2 + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Task, heap[child] as Task)) child++
      if (!isBefore(heap[child] as Task, last)) break
      heap[at] = heap[child] as Task
      at = child
    }
    heap[at] = last
    return first
  }
}

/** Everything that is ready runs before the loop has gone round. @see C1 */
function allReady(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

function isBefore(a: Task, b: Task): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order)
}

/** One part of the world: what waits in it waits in the scheduler, and is gone with it. */
export class Scope implements Clock {
  readonly name: string
  /** How late timers may come, in ms: a busy machine. */
  lateMs = 0
  readonly #scheduler: Scheduler
  #state: 'runs' | 'paused' | 'dead' = 'runs'
  #held: Task[] = []
  #pending = 0

  constructor(name: string, scheduler: Scheduler) {
    this.name = name
    this.#scheduler = scheduler
  }

  /** What waits here: timers that were not taken back, and everything else. For the leak tests. */
  get pending(): number {
    return this.#pending
  }

  /** Number of the step that runs now. */
  get step(): number {
    return this.#scheduler.steps
  }

  get alive(): boolean {
    return this.#state !== 'dead'
  }

  /** Nothing of this scope ever runs again. */
  kill(): void {
    this.#state = 'dead'
    this.#held = []
  }

  /** Holds what becomes due until `resume`. */
  pause(): void {
    if (this.#state === 'runs') this.#state = 'paused'
  }

  resume(): void {
    if (this.#state !== 'paused') return
    this.#state = 'runs'
    for (const task of this.#held.splice(0)) this.#scheduler.add(task)
  }

  /** Runs `fn` after `delayMs`, which may be a fraction. The returned function takes it back. */
  at(delayMs: number, label: string, fn: () => void): () => void {
    const { random, nowMs } = this.#scheduler
    const task: Task = { atMs: nowMs + delayMs, order: random.fraction(), scope: this, label, run: fn, cancelled: false }
    this.#pending++
    this.#scheduler.add(task)
    return () => {
      if (!task.cancelled) this.#pending--
      task.cancelled = true
    }
  }

  /** Resolves after `delayMs`. */
  delay(delayMs: number, label: string): Promise<void> {
    return new Promise((resolve) => void this.at(delayMs, label, resolve))
  }

  /** Whether `task` runs now. Only the scheduler asks. */
  admit(task: Task): boolean {
    if (task.cancelled || this.#state === 'dead') return false
    if (this.#state === 'paused') {
      this.#held.push(task)
      return false
    }
    task.cancelled = true
    this.#pending--
    return true
  }

  nowMs(): number {
    return Math.floor(this.#scheduler.nowMs)
  }

  monotonicMs(): number {
    return this.#scheduler.nowMs - SIMULATION_START_MS
  }

  after(delayMs: number, fn: () => void): () => void {
    return this.at(Math.max(0, delayMs) + this.#late(), `timer of ${delayMs} ms`, fn)
  }

  sleepUntil(atMs: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted === true) return reject(signal.reason as Error)
      const stop = () => {
        takeBack()
        reject(signal?.reason as Error)
      }
      const takeBack = this.at(Math.max(0, atMs - this.#scheduler.nowMs) + this.#late(), 'sleep', () => {
        signal?.removeEventListener('abort', stop)
        resolve()
      })
      signal?.addEventListener('abort', stop, { once: true })
    })
  }

  turn(): Promise<void> {
    return this.delay(0, 'turn')
  }

  #late(): number {
    return this.lateMs === 0 ? 0 : this.#scheduler.random.between(0, this.lateMs)
  }
}
