/**
 * Chores: what a server does beside its requests, again and again, a bounded part at a time.
 *
 * Each chore runs on its own, never twice at once. Where some of it was left it goes on soon, otherwise after a while; one that fails is
 * tried again after a while.
 */
import type { Clock, Telemetry } from '../domain/ports.ts'

/** Something to be done again and again. */
export interface Chore {
  readonly name: string
  /** Pause where nothing was left, in ms. */
  readonly everyMs: number
  /** Pause where something was left, in ms. */
  readonly againMs: number
  /** Does a bounded part. Answers whether there may be more. */
  work(): Promise<boolean>
}

/** Does `chores` until the returned function is called, which resolves when none is under way any more. */
export function startChores(chores: readonly Chore[], { clock, telemetry }: { readonly clock: Clock; readonly telemetry: Telemetry }): () => Promise<void> {
  let stopped = false
  const stops = chores.map((chore) => {
    let takeBack: () => void = () => undefined
    let working = Promise.resolve()
    const schedule = (more: boolean) => {
      if (!stopped) takeBack = clock.after(more ? chore.againMs : chore.everyMs, () => void (working = once()))
    }
    const once = async () => {
      const more = await chore.work().catch((error: unknown) => {
        telemetry.log('warn', `the chore ${chore.name} failed`, { error: String(error) })
        return false
      })
      schedule(more)
    }
    schedule(true)
    return async () => {
      takeBack()
      await working
    }
  })
  return async () => {
    stopped = true
    await Promise.all(stops.map((stop) => stop()))
  }
}
