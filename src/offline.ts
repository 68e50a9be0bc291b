/** What is done to a data folder while no server holds it. */
import type { Config } from './config.ts'
import type { ModelRegistry } from './domain/model.ts'
import { modelsOf } from './assembly.ts'
import { userId } from './domain/ids.ts'
import { openSqliteStore } from './storage/sqlite/store.ts'
import { systemClock } from './system/clock.ts'
import { systemRandom } from './system/random.ts'

/** Sessions that are handed over in one commit. */
const BATCH = 100
/** How long a provider may take to answer a probe, in ms. */
const PROBE_MS = 5000

/** The effective default model, and whether each configured provider answers. */
export async function checkModels(config: Config): Promise<{ readonly defaultModel: string; readonly providers: Awaited<ReturnType<ModelRegistry['check']>> }> {
  const models = modelsOf(config, { log: () => undefined }, false)
  const stop = new AbortController()
  const takeBack = systemClock.after(PROBE_MS, () => stop.abort())
  try {
    return { defaultModel: models.defaultModel, providers: await models.check(stop.signal) }
  } finally {
    takeBack()
    models.close()
  }
}

/** Makes `to` the owner of everything that `from` owns, and answers how many sessions that were. @throws for a folder that a server holds */
export async function handOver(dataFolder: string, from: string, to: string): Promise<number> {
  const store = await openSqliteStore({ folder: dataFolder, random: systemRandom, worker: false })
  try {
    let count = 0
    if (from === to) return 0
    for (;;) {
      const ids = await store.sessionIds(userId(from), undefined, BATCH)
      if (ids.length === 0) return count
      const command = { type: 'AssignSession', to: userId(to) } as const
      const outcomes = await store.commit(ids.map((stream) => ({ kind: 'decide', stream, command, asker: 'driver', atMs: systemClock.nowMs() })))
      const failed = outcomes.find(({ kind }) => kind !== 'appended')
      if (failed !== undefined) throw new Error(`a session could not be handed over: ${JSON.stringify(failed)}`)
      count += ids.length
    }
  } finally {
    await store.close()
  }
}
