/** Segments in memory: what sessions write stands once, however many forks read it. */
import type { Recorded } from '../../domain/event.ts'
import type { Position } from '../../domain/ids.ts'
import type { TranscriptMessage } from '../../projection/transcript.ts'
import { messageOf } from '../../projection/transcript.ts'

/** What one stream wrote: its events from the position behind `base` on. */
interface Segment {
  readonly base: Position
  /** Messages before its own. */
  readonly messagesBefore: number
  readonly events: Recorded[]
  readonly messages: TranscriptMessage[]
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

  constructor(inherited: readonly Piece[] = []) {
    this.inherited = inherited
    const last = inherited.at(-1)
    this.#own = { base: last?.last ?? 0, messagesBefore: last === undefined ? 0 : messagesUpTo(last), events: [], messages: [] }
  }

  get head(): Position {
    return this.#own.base + this.#own.events.length
  }

  get messageCount(): number {
    return this.#own.messagesBefore + this.#own.messages.length
  }

  push(recorded: Recorded): void {
    this.#own.events.push(recorded)
    const message = messageOf(recorded)
    if (message !== undefined) this.#own.messages.push(message)
  }

  /** A log that begins with this one's events up to `at`. */
  fork(at: Position): SegmentedLog {
    const before = this.inherited.filter(({ last }) => last < at)
    const { segment } = this.#pieces().find(({ last }) => last >= at) ?? { segment: this.#own }
    return new SegmentedLog([...before, { segment, last: at }])
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

/** Messages of a stream up to the end of one of its pieces. */
function messagesUpTo({ segment, last }: Piece): number {
  const behind = segment.messages.findIndex(({ position }) => position > last)
  return segment.messagesBefore + (behind === -1 ? segment.messages.length : behind)
}
