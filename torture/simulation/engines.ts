/** The engines that a simulation runs over, each with a way to lose its process and be opened again. */
import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Random } from '../../src/domain/ports.ts'
import type { Engine } from '../../src/testing/simulation/disk.ts'
import { memoryStore } from '../../src/storage/memory/store.ts'
import { openSqliteStore } from '../../src/storage/sqlite/store.ts'

/** An engine and its data. */
export interface EngineData {
  /** Opens the data, again where it was open. For whoever had it, it is closed, unless it is shared. */
  open(): Promise<Engine>
  /** Closes everything and removes the data. */
  destroy(): Promise<void>
}

/** New, empty data. */
export function engineData(kind: 'memory' | 'sqlite', random: Random, shared = false): EngineData {
  return kind === 'memory' ? inMemory(random, shared) : inFolder(random, shared)
}

function inMemory(random: Random, shared: boolean): EngineData {
  let store: ReturnType<typeof memoryStore> | undefined
  return {
    async open() {
      if (!shared) await store?.close()
      store = store === undefined ? memoryStore(random, { shared }) : store.reopen()
      return store
    },
    destroy: async () => store?.close(),
  }
}

function inFolder(random: Random, shared: boolean): EngineData {
  const folder = mkdtempSync(join(placeForFolders(), 'convoke-torture-'))
  const stores: Engine[] = []
  return {
    async open() {
      if (!shared) await stores.at(-1)?.close()
      const store = await openSqliteStore({ folder, random, worker: false, shared })
      stores.push(store)
      return store
    },
    async destroy() {
      for (const store of stores) await store.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** In memory where that can be had: here processes die and the machine does not, so nothing is learned from a slow disk. */
function placeForFolders(): string {
  return existsSync('/dev/shm') ? '/dev/shm' : tmpdir()
}
