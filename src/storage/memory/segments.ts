/** Segments in memory: what sessions write stands once, however many forks read it. */
import type { Recorded } from '../../domain/event.ts'
import type { Position, SessionId } from '../../domain/ids.ts'
import type { Receipt } from '../../log/store.ts'
import type { TranscriptMessage } from '../../projection/transcript.ts'
import { messageOf } from '../../projection/transcript.ts'

/** What one stream wrote: its events from the position behind `base` on. */
export interface Segment {
  readonly id: SessionId
  readonly base: Position
  /** Messages before its own. */
  readonly messagesBefore: number
  readonly events: Recorded[]
  readonly messages: TranscriptMessage[]
  /** First positions of what was appended together. */
  readonly batches: Position[]
  /** Once its session is erased: up to where others read it. */
  keptTo?: Position
}

/** What a stream takes from another's segment. */
export interface Piece {
  readonly segment: Segment
  /** Last position of it that counts. */
  readonly last: Position
}

/** A stream's log: pieces of other segments, then its own. */
export class SegmentedLog {
  readonly inherited: readonly Piece[]
  readonly #own: Segment

  constructor(id: SessionId, inherited: readonly Piece[] = []) {
    this.inherited = inherited
    const last = inherited.at(-1)
    this.#own = { id, base: last?.last ?? 0, messagesBefore: last === undefined ? 0 : messagesUpTo(last), events: [], messages: [], batches: [] }
  }

  get head(): Position {
    return this.#own.base + this.#own.events.length
  }

  /** What it reads of, its own last. */
  get segments(): readonly Segment[] {
    return this.#pieces().map(({ segment }) => segment)
  }

  get messageCount(): number {
    return this.#own.messagesBefore + this.#own.messages.length
  }

  /** Characters of what it wrote itself, as text. */
  get ownChars(): number {
    return this.#own.events.reduce((chars, recorded) => chars + JSON.stringify(recorded).length, 0)
  }

  push(batch: readonly Recorded[]): void {
    this.#own.batches.push(this.head + 1)
    this.#own.events.push(...batch)
    this.#own.messages.push(...batch.flatMap((recorded) => messageOf(recorded) ?? []))
  }

  /** Gives up what this log has: its own segment, and its part in others. What `others` read of them stays. */
  erase(others: readonly SegmentedLog[]): Omit<Receipt, 'state' | 'files'> & { readonly ownKept: boolean; readonly left: readonly Segment[] } {
    const counts = { batches: 0, messages: 0, index: this.inherited.length, segmentsFreed: 0, segmentsKept: 0 }
    const left: Segment[] = []
    this.#own.keptTo = Infinity
    for (const segment of [this.#own, ...this.inherited.map((piece) => piece.segment)]) {
      const upTo = readUpTo(segment, others)
      if (segment.keptTo === undefined || upTo > 0) counts.segmentsKept++
      else counts.segmentsFreed++
      if (segment.keptTo === undefined || segment.keptTo === upTo) continue
      counts.batches += cut(segment.batches, (first) => first > upTo)
      counts.messages += cut(segment.messages, ({ position }) => position > upTo)
      cut(segment.events, ({ position }) => position > upTo)
      segment.keptTo = upTo
      left.push(segment)
    }
    return { ...counts, left, ownKept: readUpTo(this.#own, others) > 0 }
  }

  /** A log that begins with this one's events up to `at`. */
  fork(id: SessionId, at: Position): SegmentedLog {
    const before = this.inherited.filter(({ last }) => last < at)
    const { segment } = this.#pieces().find(({ last }) => last >= at) ?? { segment: this.#own }
    return new SegmentedLog(id, [...before, { segment, last: at }])
  }

  /** The events behind position `after`, up to `upTo`. */
  events(after: Position, upTo: Position): readonly Recorded[] {
    return this.#pieces().flatMap(({ segment: { base, events }, last }) => events.slice(Math.max(0, after - base), Math.max(0, Math.min(last, upTo) - base)))
  }

  /** Messages from number `from` on, up to before number `to`; the first is 0. */
  messages(from: number, to: number): readonly TranscriptMessage[] {
    return this.#pieces().flatMap((piece) => {
      const { messagesBefore: before, messages } = piece.segment
      return messages.slice(Math.max(0, from - before), Math.max(0, Math.min(messagesUpTo(piece), to) - before))
    })
  }

  #pieces(): readonly Piece[] {
    return [...this.inherited, { segment: this.#own, last: this.head }]
  }
}

/** The last position of `segment` that one of `logs` inherits; 0 for none. */
export function readUpTo(segment: Segment, logs: readonly SegmentedLog[]): Position {
  return Math.max(0, ...logs.flatMap(({ inherited }) => inherited.filter((piece) => piece.segment === segment).map(({ last }) => last)))
}

/** Removes the end of `list` that `isGone` holds of; answers how many. */
function cut<Item>(list: Item[], isGone: (item: Item) => boolean): number {
  const from = list.findIndex(isGone)
  return from === -1 ? 0 : list.splice(from).length
}

/** Messages of a stream up to the end of one of its pieces. */
function messagesUpTo({ segment, last }: Piece): number {
  const behind = segment.messages.findIndex(({ position }) => position > last)
  return segment.messagesBefore + (behind === -1 ? segment.messages.length : behind)
}
