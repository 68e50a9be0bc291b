import { randomUUIDv7 } from 'node:crypto'
import type { Random } from '../domain/ports.ts'

/** The machine's randomness. */
export const systemRandom: Random = {
  uuid: () => randomUUIDv7(),
  fraction: () => Math.random(),
}
