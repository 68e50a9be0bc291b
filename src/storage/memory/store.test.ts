import { expect, test } from 'vitest'
import { sessionId } from '../../domain/ids.ts'
import { systemRandom } from '../../system/random.ts'
import type { OpenedStore } from '../../testing/store-kit.ts'
import { storeSuite } from '../../testing/store-suite.ts'
import { sharedSuite } from '../../testing/shared-suite.ts'
import { create, erase, fork, freshId } from '../../testing/writes.ts'
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

test('what it holds is each event once, however many forks read it, and nothing of what was erased', async () => {
  const store = memoryStore(systemRandom)
  const [origin, other, copy] = [sessionId(freshId()), sessionId(freshId()), sessionId(freshId())]
  await store.commit([create(origin), create(other), fork(copy, origin, 1)])
  expect([store.held().events.length, store.held().feed.length]).toEqual([3, 3])
  await store.commit([erase(origin), erase(other)])
  for (const leftover of await store.leftovers(10)) await store.forgetLeftover(leftover)
  expect(
    store
      .held()
      .events.map(({ event }) => event.type)
      .sort(),
  ).toEqual(['SessionCreated', 'SessionForked'])
  expect(JSON.stringify(store.held())).not.toContain(other)
})
