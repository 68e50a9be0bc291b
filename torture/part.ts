/** What a part of the torture is: something is broken on purpose, over and over, and then everything that was promised is compared with what is there. */

/** How long it may take: `short` is what CI runs (a minute or two a part), `long` is for a night. */
export type Form = 'short' | 'long'

/** What a part is given. */
export interface PartOptions {
  /** The same seed makes the same choices. What the machine adds (timing of processes) is not repeatable except in the simulation. */
  readonly seed: number
  readonly form: Form
  /** How many seeds from `seed` on, where a part counts in seeds, or rounds where it counts in those; otherwise its form says. */
  readonly seeds?: number
  /** Broken seeds after which such a part stops. */
  readonly brokenMax?: number
  /** Says how far it is. */
  readonly say: (line: string) => void
}

/** What a part saw. */
export interface PartResult {
  /** What was tried, with counts, for the summary: `200 kills`, `1,312 runs`. */
  readonly tried: readonly string[]
  /** Each broken promise as a sentence that names it, with the seed and ids that lead to it. Empty: nothing was lost. */
  readonly lost: readonly string[]
}

/** One part. */
export interface Part {
  /** One word, to be named on the command line. */
  readonly name: string
  /** What it breaks, for the summary. */
  readonly breaks: string
  /** The promises that it looks at, like `P3 P6`. */
  readonly promises: string
  /** Bounded in count and time; leaves no process and no folder behind, also when it throws. */
  run(options: PartOptions): Promise<PartResult>
}
