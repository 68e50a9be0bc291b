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
/** How long a process of a shared log sleeps, in ms at most: shorter and longer than it counts as alive. */
const NAP_MS = 6_000
/** How long a stop may take, in ms at most. */
const GRACE_MS = 400

/** What a fleet needs. */
export interface FleetOptions {
  readonly parts: ProcessParts
  readonly network: Scope
  /** Something happened to a process. */
  readonly disturbed: () => void
  /** A process is gone: its connections break. */
  readonly gone: (process: SimulatedProcess) => void
}

/** Starts and ends processes. */
export class Fleet {
  readonly #options: FleetOptions
  #serving: SimulatedProcess[] = []
  /** Processes that sleep, or were replaced and may still wake up. */
  readonly #undead = new Set<SimulatedProcess>()
  #incidents = 0
  #starting = 0
  #lives = 0
  #deaths = 0

  constructor(options: FleetOptions) {
    this.#options = options
  }

  /** One that takes connections, if one does. */
  get server(): SimulatedProcess | undefined {
    return this.#serving.length === 0 ? undefined : this.#options.parts.random.pick(this.#serving)
  }

  /** All that take connections. */
  get servers(): readonly SimulatedProcess[] {
    return this.#serving
  }

  get deaths(): number {
    return this.#deaths
  }

  /** Incidents that have not happened yet. */
  get incidentsLeft(): number {
    return this.#incidents
  }

  /** All live that should, and nobody else. */
  get settled(): boolean {
    return this.#serving.length > 0 && this.#undead.size === 0 && this.#starting === 0
  }

  /** Starts the first processes, and arranges what will happen to them. */
  async begin(shape: Shape): Promise<void> {
    for (let left = shape.processes; left > 0; left--) await this.#start()
    const spanMs = shape.wishes * shape.pauseMs + 1_500
    const incidents = [
      ...Array.from({ length: shape.crashes }, () => 'crash' as const),
      ...Array.from({ length: shape.pauses }, () => (shape.processes > 1 ? ('nap' as const) : ('pause' as const))),
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
    for (const { scope } of this.#serving) scope.lateMs = 0
  }

  #happen(incident: 'crash' | 'pause' | 'nap' | 'stop'): void {
    const process = this.server
    if (process === undefined) return
    this.#options.disturbed()
    switch (incident) {
      case 'crash':
        process.scope.kill()
        this.#undead.delete(process)
        return this.#replace(process)
      case 'pause':
        return this.#pause(process)
      case 'nap':
        return this.#nap(process)
      case 'stop':
        return this.#stop(process)
    }
  }

  /** It sleeps, another takes over, it wakes up and knows nothing of that. */
  #pause(process: SimulatedProcess): void {
    const { network, parts } = this.#options
    process.scope.pause()
    this.#undead.add(process)
    this.#replace(process, ASLEEP_MS)
    network.at(parts.random.between(0, 2 * ASLEEP_MS), `${process.scope.name} wakes up`, () => {
      process.scope.resume()
      network.at(parts.random.between(0, UNDEAD_MS), `${process.scope.name} is ended`, () => {
        this.#options.disturbed()
        process.scope.kill()
        this.#undead.delete(process)
      })
    })
  }

  /** In a shared log it goes on when it wakes up: whatever it missed, it must find out. */
  #nap(process: SimulatedProcess): void {
    const { network, parts, disturbed } = this.#options
    process.scope.pause()
    this.#undead.add(process)
    network.at(parts.random.between(0, NAP_MS), `${process.scope.name} wakes up`, () => {
      disturbed()
      this.#undead.delete(process)
      process.scope.resume()
    })
  }

  #stop(process: SimulatedProcess): void {
    void process.stop(this.#options.parts.random.int(GRACE_MS)).then(() => {
      // It was killed, or replaced, while it stopped.
      if (!this.#serving.includes(process)) return
      process.scope.kill()
      this.#replace(process)
    })
  }

  /** It serves no more; soon another does. */
  #replace(process: SimulatedProcess, mostMs = DOWN_MS): void {
    const { network, parts, gone } = this.#options
    this.#deaths++
    this.#serving = this.#serving.filter((other) => other !== process)
    this.#starting++
    network.at(0, 'connections break', () => gone(process))
    network.at(parts.random.between(0, mostMs), 'a process starts', () => {
      void this.#start().then(() => this.#starting--)
    })
  }

  async #start(): Promise<void> {
    this.#options.disturbed()
    this.#serving.push(await SimulatedProcess.start(`process ${++this.#lives}`, this.#options.parts))
  }
}
