/** The engines that a simulation runs over, each with a way to lose its process and be opened again. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Random } from '../../src/domain/ports.ts'
import type { Engine } from '../../src/testing/simulation/disk.ts'
import { memoryStore } from '../../src/storage/memory/store.ts'
import { openSqliteStore } from '../../src/storage/sqlite/store.ts'

/** An engine and its data. */
export interface EngineData {
  /** Opens the data, again where it was open: for whoever had it, it is closed. */
  open(): Promise<Engine>
  /** Closes it and removes the data. */
  destroy(): Promise<void>
}

/** New, empty data. */
export function engineData(kind: 'memory' | 'sqlite', random: Random): EngineData {
  return kind === 'memory' ? inMemory(random) : inFolder(random)
}

function inMemory(random: Random): EngineData {
  let store: ReturnType<typeof memoryStore> | undefined
  return {
    async open() {
      await store?.close()
      store = store === undefined ? memoryStore(random) : store.reopen()
      return store
    },
    destroy: async () => store?.close(),
  }
}

function inFolder(random: Random): EngineData {
  const folder = mkdtempSync(join(tmpdir(), 'convoke-torture-'))
  let store: Engine | undefined
  return {
    async open() {
      await store?.close()
      store = await openSqliteStore({ folder, random, worker: false })
      return store
    },
    async destroy() {
      await store?.close()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
