import { systemRandom } from '../../system/random.ts'
import type { OpenedStore } from '../../testing/store-kit.ts'
import { storeSuite } from '../../testing/store-suite.ts'
import { sharedSuite } from '../../testing/shared-suite.ts'
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

sharedSuite('the memory engine', async () => {
  const one = memoryStore(systemRandom, { shared: true })
  const two = one.reopen()
  return {
    one,
    two,
    async destroy() {
      await one.close()
      await two.close()
    },
  }
})
