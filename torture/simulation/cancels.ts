/** P8 with a watch in hand: a cancelled run ends within its time wherever the disk works and the process lives. */
import type { StreamEvent } from '../../src/domain/event.ts'
import type { RunId } from '../../src/domain/ids.ts'
import type { Shape } from './shape.ts'
import { isTerminal } from '../../src/domain/event.ts'
import { isCalm } from './shape.ts'

/** What a cancel may take, in ms. */
const CANCEL_MS = 200

/** What the watch must know. */
export interface CancelsOptions {
  readonly shape: Shape
  readonly nowMs: () => number
  readonly broken: (sentence: string) => void
}

/** Measures each cancel from its commit to the commit of the run's end. */
export class Cancels {
  readonly #options: CancelsOptions
  readonly #since = new Map<RunId, { readonly atMs: number; readonly disturbances: number }>()
  #disturbances = 0

  constructor(options: CancelsOptions) {
    this.#options = options
  }

  /** Something broke: what is under way may take longer. */
  disturb(): void {
    this.#disturbances++
  }

  /** Takes in what was written. */
  take(event: StreamEvent): void {
    const { shape, nowMs, broken } = this.#options
    if (event.type === 'CancelRequested') this.#since.set(event.runId, { atMs: nowMs(), disturbances: this.#disturbances })
    if (!isTerminal(event)) return
    const since = this.#since.get(event.runId)
    if (since === undefined || since.disturbances !== this.#disturbances || !isCalm(shape)) return
    const tookMs = nowMs() - since.atMs
    if (tookMs > CANCEL_MS) broken(`P8: the cancel of ${event.runId} took ${Math.round(tookMs)} ms`)
  }
}
