import type { Part } from './part.ts'

/** All parts by name, the quick ones first. Loaded late: one part does not need another's. */
export const PARTS: Readonly<Record<string, () => Promise<Part>>> = {
  disk: async () => (await import('./disk/part.ts')).disk,
  kill: async () => (await import('./kill/part.ts')).kill,
  orphans: async () => (await import('./orphans/part.ts')).orphans,
  restart: async () => (await import('./restart/part.ts')).restart,
  provider: async () => (await import('./provider/part.ts')).provider,
  readers: async () => (await import('./readers/part.ts')).readers,
  pause: async () => (await import('./pause/part.ts')).pausePart,
  cut: async () => (await import('./cut.ts')).part,
  simulation: async () => (await import('./simulation.ts')).part,
  plants: async () => (await import('./plants.ts')).part,
}
