/** What a benchmark is: some work and the figures that come of it. */

/** One figure of the report. */
export interface Figure {
  readonly what: string
  readonly ours: string
  /** The same on the floor, in the same run. */
  readonly floor?: string
  readonly target: string
  /** Whether the target is met; left out where a figure is only reported. */
  readonly met?: boolean
}

/** One benchmark. */
export interface Bench {
  readonly name: string
  /** What is measured, and what the floor is. */
  readonly about: string
  run(): Promise<readonly Figure[]>
}

/** A ratio with two digits. */
export function ratio(value: number): string {
  return `${value.toFixed(2)}x`
}

/** A count per second, rounded so that noise does not look like precision. */
export function perSecond(value: number): string {
  return `${Number(value.toPrecision(3)).toLocaleString('en')}/s`
}

/** Milliseconds. */
export function ms(value: number): string {
  return `${value.toFixed(value < 10 ? 2 : 0)} ms`
}
