/** Choices that a seed repeats. */

/** A row of choices. */
export interface Chance {
  /** At least 0, less than 1. */
  next(): number
  /** A whole number from `from` to `to`, both included. */
  between(from: number, to: number): number
  /** True in `share` of all cases. */
  hit(share: number): boolean
  pick<T>(list: readonly T[]): T
}

/** The choices of `seed`; `path` names whose they are, so that one asker's do not shift another's. */
export function chanceOf(seed: number, ...path: readonly (string | number)[]): Chance {
  const next = numbersOf(hashOf([seed, ...path].join('/')))
  const between = (from: number, to: number) => from + Math.floor(next() * (to - from + 1))
  return {
    next,
    between,
    hit: (share) => next() < share,
    pick: <T>(list: readonly T[]) => list[between(0, list.length - 1)] as T,
  }
}

/** Numbers in [0, 1) that the same seed repeats (mulberry32). */
export function numbersOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

/** FNV-1a. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5
  for (const char of text) hash = Math.imul(hash ^ (char.codePointAt(0) ?? 0), 0x01000193)
  return hash
}
