/** Somebody who looks into the log at any time, from any cursor, and compares what it shows with what was written. */
import type { UserId } from '../../src/domain/ids.ts'
import type { Scope } from '../../src/testing/simulation/scheduler.ts'
import type { SeededRandom } from '../../src/testing/simulation/seeded.ts'
import type { Engine } from '../../src/testing/simulation/disk.ts'
import type { Truth } from './truth.ts'
import { inFeedPage, inPage, shownOf } from './stored.ts'

/** How often, in ms at most. */
const LOOK_MS = 600

/** What an inspector needs. */
export interface InspectorOptions {
  readonly network: Scope
  readonly random: SeededRandom
  readonly truth: Truth
  readonly owner: UserId
  readonly engine: () => Engine
  readonly broken: (sentence: string) => void
}

/** Looks again and again, until the returned function is called. */
export function startInspector(options: InspectorOptions): () => void {
  const { network, random, broken } = options
  let over = false
  const next = () => {
    network.at(random.between(0, LOOK_MS), 'somebody looks into the log', () => {
      if (over) return
      void look(options).then((sentences) => sentences.forEach(broken))
      next()
    })
  }
  next()
  return () => void (over = true)
}

async function look({ random, truth, owner, engine }: InspectorOptions): Promise<readonly string[]> {
  const log = engine()
  const limit = random.pick([1, 3, 20, 500])
  const living = [...truth.streams.keys()]
  const erased = [...truth.erased.keys()]
  const stream = living.length === 0 ? undefined : random.pick(living)
  const feedHead = truth.feed.at(-1)?.feed ?? 0
  return [
    ...(stream === undefined ? [] : await inPage(log, truth, stream, random.int(truth.headOf(stream)), limit)),
    ...(erased.length === 0 ? [] : await shownOf(log, random.pick(erased), owner)),
    ...(await inFeedPage(log, truth, owner, random.int(feedHead + 1), limit)),
  ]
}
