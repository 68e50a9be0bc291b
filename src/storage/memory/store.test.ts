import { systemRandom } from '../../system/random.ts'
import { storeSuite, type OpenedStore } from '../../testing/store-suite.ts'
import { memoryStore, type MemoryStore } from './store.ts'

function opened(store: MemoryStore): OpenedStore {
  return {
    store,
    async reopen() {
      await store.close()
      return opened(store.reopen())
    },
    destroy: () => store.close(),
  }
}

storeSuite('the memory engine', async () => opened(memoryStore(systemRandom)))
