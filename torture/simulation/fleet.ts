/** The processes of one world, one after the other and sometimes two at once: who serves, who dies, who is stopped, who wakes up too late. */
import type { Scope } from '../../src/testing/simulation/scheduler.ts'
import type { Shape } from './shape.ts'
import { SimulatedProcess, type ProcessParts } from './process.ts'

/** How long nobody serves after a death, in ms at most. */
const DOWN_MS = 300
/** How long a stopped process sleeps before another takes over, in ms at most. */
const ASLEEP_MS = 400
/** How long it goes on when it wakes up, in ms at most, before it is ended. */
const UNDEAD_MS = 2_500
/** How long a stop may take, in ms at most. */
const GRACE_MS = 400

/** What a fleet needs. */
export interface FleetOptions {
  readonly parts: ProcessParts
  readonly network: Scope
  /** Something happened to a process. */
  readonly disturbed: () => void
  /** A process is gone: its connections break. */
  readonly gone: () => void
}

/** Starts and ends processes. */
export class Fleet {
  readonly #options: FleetOptions
  #serving: SimulatedProcess | undefined
  /** Processes that were replaced and may still wake up. */
  readonly #undead = new Set<SimulatedProcess>()
  #incidents = 0
  #starting = 0
  #lives = 0
  #deaths = 0

  constructor(options: FleetOptions) {
    this.#options = options
  }

  /** Who takes connections, if somebody does. */
  get server(): SimulatedProcess | undefined {
    return this.#serving
  }

  get deaths(): number {
    return this.#deaths
  }

  /** Incidents that have not happened yet. */
  get incidentsLeft(): number {
    return this.#incidents
  }

  /** One process lives, and no other. */
  get settled(): boolean {
    return this.#serving !== undefined && this.#undead.size === 0 && this.#starting === 0
  }

  /** Starts the first process, and arranges what will happen to it. */
  async begin(shape: Shape): Promise<void> {
    await this.#start()
    const spanMs = shape.wishes * shape.pauseMs + 1_500
    const incidents = [
      ...Array.from({ length: shape.crashes }, () => 'crash' as const),
      ...Array.from({ length: shape.pauses }, () => 'pause' as const),
      ...Array.from({ length: shape.stops }, () => 'stop' as const),
    ]
    const { network, parts } = this.#options
    for (const incident of incidents) {
      this.#incidents++
      network.at(parts.random.between(0, spanMs), incident, () => {
        this.#incidents--
        this.#happen(incident)
      })
    }
  }

  /** What is still to come does not come late any more. */
  calm(): void {
    if (this.#serving !== undefined) this.#serving.scope.lateMs = 0
  }

  #happen(incident: 'crash' | 'pause' | 'stop'): void {
    const process = this.#serving
    if (process === undefined) return
    this.#options.disturbed()
    if (incident === 'crash') this.#crash(process)
    else if (incident === 'pause') this.#pause(process)
    else this.#stop(process)
  }

  #crash(process: SimulatedProcess): void {
    process.scope.kill()
    this.#replace()
  }

  /** It sleeps, another takes over, it wakes up and knows nothing of that. */
  #pause(process: SimulatedProcess): void {
    const { network, parts } = this.#options
    process.scope.pause()
    this.#undead.add(process)
    this.#replace(ASLEEP_MS)
    network.at(parts.random.between(0, 2 * ASLEEP_MS), `${process.scope.name} wakes up`, () => {
      process.scope.resume()
      network.at(parts.random.between(0, UNDEAD_MS), `${process.scope.name} is ended`, () => {
        this.#options.disturbed()
        process.scope.kill()
        this.#undead.delete(process)
      })
    })
  }

  #stop(process: SimulatedProcess): void {
    void process.stop(this.#options.parts.random.int(GRACE_MS)).then(() => {
      // It was killed, or replaced, while it stopped.
      if (this.#serving !== process || !process.scope.alive) return
      process.scope.kill()
      this.#replace()
    })
  }

  /** Nobody serves; soon another does. */
  #replace(mostMs = DOWN_MS): void {
    const { network, parts, gone } = this.#options
    this.#deaths++
    this.#serving = undefined
    this.#starting++
    network.at(0, 'connections break', gone)
    network.at(parts.random.between(0, mostMs), 'a process starts', () => {
      void this.#start().then(() => this.#starting--)
    })
  }

  async #start(): Promise<void> {
    this.#options.disturbed()
    this.#serving = await SimulatedProcess.start(`process ${++this.#lives}`, this.#options.parts)
  }
}
