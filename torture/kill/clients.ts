/** Clients that drive one session after the other, some at once, until they are told to end. */
import type { SessionPlan } from './plan.ts'
import { driveSession, type Crew, type SessionStory } from './session.ts'

/** Clients at work. */
export interface Clients {
  /** What came of the sessions that are over. */
  readonly scenarios: readonly SessionStory[]
  /** Resolves when the last session is over, after `end`. */
  readonly done: Promise<void>
  /** Begins no further session. */
  end(): void
}

/** Starts them. */
export function startClients(crew: Crew, atOnce: number, planOf: (index: number) => SessionPlan): Clients {
  const scenarios: SessionStory[] = []
  let next = 0
  let ending = false
  const drive = async () => {
    while (!ending && !crew.signal.aborted) {
      const scenario = await driveSession(crew, planOf(next++))
      if (scenario !== undefined) scenarios.push(scenario)
    }
  }
  const done = Promise.all(Array.from({ length: atOnce }, drive)).then(() => undefined)
  return { scenarios, done, end: () => void (ending = true) }
}
