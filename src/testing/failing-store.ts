/**
 * A store whose commits fail or are cut off where a test says.
 *
 * F1. A failure throws `store_unknown`; whether the commit took effect is what the fate says. Later commits are as ever.
 * F2. A cut is the death of the process: the commit never answers, and neither does anything else from then on.
 */
import type { SessionReads } from '../projection/reads.ts'
import type { Drivers, Store, Write } from '../log/store.ts'
import { ConvokeError } from '../domain/errors.ts'

/** What becomes of a commit. */
export type Fate = 'pass' | 'fail-before' | 'fail-after' | 'cut-before' | 'cut-after'

/** A store that fails. */
export interface FailingStore extends Store, SessionReads {
  /** Commits that were asked for so far, failed ones included. */
  readonly commits: number
  /** Resolves when a cut has happened. */
  readonly cut: Promise<void>
  /** Cuts now. */
  kill(): void
}

/** Says what becomes of each commit, by its number, from 1 on. A promise holds the commit up. */
export type FateOf = (commit: number, writes: readonly Write[]) => Fate | Promise<Fate>

/** `store`, with commits as `fateOf` says. */
export function failingStore(store: Store & SessionReads, fateOf: FateOf): FailingStore {
  let commits = 0
  let dead = false
  let tellCut: () => void = () => undefined
  const cut = new Promise<void>((resolve) => (tellCut = resolve))
  const kill = () => {
    dead = true
    tellCut()
  }
  const die = <T>(): Promise<T> => {
    kill()
    return new Promise<T>(() => undefined)
  }
  const whileAlive = <Args extends readonly unknown[], T>(ask: (...args: Args) => Promise<T>) => {
    return async (...args: Args): Promise<T> => {
      if (dead) return die<T>()
      const answer = await ask(...args)
      return dead ? die<T>() : answer
    }
  }
  return {
    logId: store.logId,
    driver: store.driver,
    ...(store.drivers === undefined ? {} : { drivers: mortal(store.drivers, whileAlive) }),
    get commits() {
      return commits
    },
    cut,
    kill,
    async commit(writes) {
      if (dead) return die()
      const said = fateOf(++commits, writes)
      const fate = said instanceof Promise ? await said : said
      if (fate === 'cut-before' || dead) return die()
      if (fate === 'fail-before') throw new ConvokeError('store_unknown', 'the scripted disk failed')
      const outcomes = await store.commit(writes)
      if (fate === 'fail-after') throw new ConvokeError('store_unknown', 'the scripted disk failed after it wrote')
      return fate === 'cut-after' || dead ? die() : outcomes
    },
    read: whileAlive((stream, after, limit) => store.read(stream, after, limit)),
    head: whileAlive((stream) => store.head(stream)),
    state: whileAlive((stream) => store.state(stream)),
    readFeed: whileAlive((owner, after, limit) => store.readFeed(owner, after, limit)),
    feedHead: whileAlive(() => store.feedHead()),
    unfinishedRuns: whileAlive((limit, after) => store.unfinishedRuns(limit, after)),
    pruneIdempotency: whileAlive((beforeMs) => store.pruneIdempotency(beforeMs)),
    session: whileAlive((id) => store.session(id)),
    sessionAt: whileAlive((id) => store.sessionAt(id)),
    sessions: whileAlive((query) => store.sessions(query)),
    messages: whileAlive((id, page) => store.messages(id, page)),
    history: whileAlive((id, upTo, limit, after) => store.history(id, upTo, limit, after)),
    sessionIds: whileAlive((owner, after, limit) => store.sessionIds(owner, after, limit)),
    close: () => store.close(),
  }
}

type WhileAlive = <Args extends readonly unknown[], T>(ask: (...args: Args) => Promise<T>) => (...args: Args) => Promise<T>

function mortal(drivers: Drivers, whileAlive: WhileAlive): Drivers {
  return { renew: whileAlive((untilMs) => drivers.renew(untilMs)), gone: whileAlive((asked, nowMs) => drivers.gone(asked, nowMs)) }
}
