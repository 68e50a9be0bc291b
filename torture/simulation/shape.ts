/**
 * What one seed looks like: how large its world is, and which faults it has.
 *
 * Each seed turns a random part of the faults on (swarm testing): a mixture of everything hides what shows only when little else happens.
 */
import type { OnInterrupt } from '../../src/domain/event.ts'
import type { SeededRandom } from '../../src/testing/simulation/seeded.ts'

/** One seed's world. */
export interface Shape {
  readonly engine: 'memory' | 'sqlite'
  /** Processes that share the log and serve at the same time. With one, another opening takes the log from whoever had it. */
  readonly processes: 1 | 2
  /** Commits wait for each other and are made together, as a single writer does; otherwise they overtake each other. */
  readonly oneWriter: boolean
  readonly sessions: number
  readonly wishes: number
  /** Mean pause between two wishes of the people, in ms. */
  readonly pauseMs: number
  readonly readers: number
  readonly feedReaders: number
  /** Deaths of the process. */
  readonly crashes: number
  /** Times that the process is stopped until another has taken over, and then goes on for a while. */
  readonly pauses: number
  /** Graceful stops. */
  readonly stops: number
  readonly commitMs: number
  readonly readMs: number
  /** Probabilities. */
  readonly failing: number
  readonly unreadable: number
  readonly stalling: number
  /** A hint of the hub is lost, for one listener. */
  readonly lostHints: number
  /** An answer to a command is lost, or comes so late that the client asks again. */
  readonly lostAnswers: number
  /** A connection breaks, each second. */
  readonly breaks: number
  /** A reader stops reading for a while, each second. */
  readonly stalls: number
  /** Frames are large, so that buffers fill. */
  readonly largeFrames: boolean
  /** How late timers may come, in ms. */
  readonly lateMs: number
  readonly models: {
    readonly failing: number
    readonly hanging: number
    readonly deaf: number
    readonly paceMs: number
    readonly countingIds: boolean
    /** Deltas of an answer, at most. */
    readonly words: number
  }
  readonly tools: { readonly failing: number; readonly deaf: number; readonly slowMs: number; readonly groups: boolean }
  /** Which wishes people have besides messages and answers. */
  readonly whims: readonly Whim[]
  /** Share of sessions with an own agent. */
  readonly ownAgents: number
  /** What sessions say of interrupted runs. */
  readonly onInterrupt: readonly OnInterrupt[]
  /** Share of the wishes that fork a session. */
  readonly forks: number
  /** Share of the wishes that erase one for good. */
  readonly erases: number
  /** How long a session must be idle to be erased by itself, in ms; 0: none is. */
  readonly idleMs: number
  /** Pause between two steps of packing, in ms; 0: nothing is packed. */
  readonly packMs: number
}

/** What people do besides talking. */
export type Whim = 'cancel' | 'steer' | 'follow_up' | 'interrupt' | 'rename' | 'model' | 'delete' | 'resume'
const WHIMS: readonly Whim[] = ['cancel', 'steer', 'follow_up', 'interrupt', 'rename', 'model', 'delete', 'resume']

/** One seed in this many uses SQLite: each of its commits waits for a real disk. */
const SQLITE_EVERY = 25

/** The shape that chance gives. */
export function shapeOf(random: SeededRandom, seed: number): Shape {
  const some = (p: number, value: () => number) => (random.chance(p) ? value() : 0)
  const engine = seed % SQLITE_EVERY === 0 ? 'sqlite' : 'memory'
  const largeFrames = random.chance(0.1)
  // Only this engine packs.
  const packMs = some(engine === 'sqlite' ? 0.8 : 0, () => random.pick([5, 50]))
  const forks = some(engine === 'sqlite' ? 0.8 : 0.2, () => random.pick([0.2, 0.4]))
  return {
    engine,
    processes: random.chance(0.25) ? 2 : 1,
    oneWriter: engine === 'sqlite' || random.chance(0.7),
    sessions: 1 + random.int(3),
    wishes: engine === 'sqlite' ? 6 + random.int(8) : 4 + random.int(16),
    pauseMs: random.pick([5, 50, 200, 800]),
    readers: largeFrames ? 2 : random.int(4),
    feedReaders: random.int(2),
    crashes: some(0.5, () => 1 + random.int(4)),
    pauses: some(0.2, () => 1 + random.int(2)),
    stops: some(0.2, () => 1 + random.int(2)),
    commitMs: random.pick([0.5, 2, 5, 5, 40]),
    readMs: random.pick([0, 0, 1, 10]),
    failing: some(0.35, () => random.pick([0.01, 0.05, 0.2])),
    unreadable: some(0.15, () => random.pick([0.01, 0.05])),
    stalling: some(0.15, () => random.pick([0.01, 0.05])),
    lostHints: some(0.35, () => random.pick([0.05, 0.3, 1])),
    lostAnswers: some(0.4, () => random.pick([0.1, 0.5])),
    breaks: some(0.5, () => random.pick([0.2, 2])),
    // Large frames are for readers that stall.
    stalls: some(largeFrames ? 1 : 0.4, () => random.pick([0.2, 1])),
    largeFrames,
    lateMs: some(0.15, () => random.pick([2, 50])),
    models: {
      failing: some(0.3, () => random.pick([0.1, 0.4])),
      hanging: some(0.4, () => random.pick([0.2, 0.6])),
      deaf: some(0.25, () => random.pick([0.2, 1])),
      paceMs: random.pick([0, 1, 20, 100]),
      countingIds: random.chance(0.3),
      words: packMs > 0 ? 24 : 3,
    },
    tools: {
      failing: some(0.2, () => 0.3),
      deaf: some(0.25, () => random.pick([0.2, 1])),
      slowMs: random.pick([1, 30, 300, 1_500]),
      groups: random.chance(0.4),
    },
    whims: WHIMS.filter(() => random.chance(0.4)),
    ownAgents: some(0.3, () => 0.5),
    onInterrupt: random.pick([['resume'], ['resume'], ['resume', 'ask', 'fail']] as const),
    forks,
    // What forks inherit is at risk when something is erased.
    erases: some(forks > 0 ? 0.6 : 0.1, () => random.pick([0.15, 0.35])),
    idleMs: some(0.07, () => random.pick([300, 2_000])),
    packMs,
  }
}

/** Whether sessions of this world may be erased. */
export function isErasing(shape: Shape): boolean {
  return shape.erases > 0 || shape.idleMs > 0
}

/** A shape without faults: what is left after the storm. */
export function isCalm(shape: Shape): boolean {
  return shape.failing === 0 && shape.unreadable === 0 && shape.stalling === 0 && shape.commitMs <= 5 && shape.readMs <= 1 && shape.lateMs <= 2
}

/** The same world without its faults. What people do and how large it is stays. */
export function calmed(shape: Shape): Shape {
  const models = { ...shape.models, failing: 0, hanging: 0 }
  // What is idle stays: all of it is, in the end.
  const none = { failing: 0, unreadable: 0, stalling: 0, lostHints: 0, lostAnswers: 0, breaks: 0, stalls: 0, lateMs: 0, idleMs: 0 }
  return { ...shape, ...none, commitMs: Math.min(shape.commitMs, 5), readMs: Math.min(shape.readMs, 1), models }
}
