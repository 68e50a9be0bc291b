/** Chance that can be repeated: the same seed gives the same numbers and ids, in the same order. */
import type { Random } from '../../domain/ports.ts'

/** The port, and what a simulation asks besides. */
export interface SeededRandom extends Random {
  /** A whole number in [0, below). */
  int(below: number): number
  /** A number in [from, to). */
  between(from: number, to: number): number
  /** Whether something of probability `p` happens. */
  chance(p: number): boolean
  /** One of `list`, which must not be empty. */
  pick<T>(list: readonly T[]): T
}

/** Chance from `seed`. */
export function seededRandom(seed: number): SeededRandom {
  const next = sfc32(seed)
  let ids = 0
  const fraction = () => next() / 0x1_0000_0000
  const hex = (digits: number) => next().toString(16).padStart(8, '0').slice(0, digits)
  return {
    fraction,
    // They grow as real ones of version 7 do, because the first digits are a time there.
    uuid: () => `01900000-${(++ids).toString(16).padStart(4, '0')}-7${hex(3)}-8${hex(3)}-${hex(8)}${hex(4)}`,
    int: (below) => Math.floor(fraction() * below),
    between: (from, to) => from + fraction() * (to - from),
    chance: (p) => fraction() < p,
    pick: (list) => list[Math.floor(fraction() * list.length)] as (typeof list)[number],
  }
}

/** Chris Doty-Humphrey's small fast counter, 32 bits: passes PractRand, needs no more than four numbers of state. */
function sfc32(seed: number): () => number {
  let a = seed >>> 0
  let b = Math.floor(seed / 0x1_0000_0000) >>> 0
  let c = 0x9e3779b9
  let counter = 1
  const next = () => {
    const sum = (((a + b) | 0) + counter) | 0
    counter = (counter + 1) | 0
    a = b ^ (b >>> 9)
    b = (c + (c << 3)) | 0
    c = (c << 21) | (c >>> 11)
    c = (c + sum) | 0
    return sum >>> 0
  }
  // Seeds that are close to each other give streams that are not.
  for (let left = 15; left > 0; left--) next()
  return next
}
