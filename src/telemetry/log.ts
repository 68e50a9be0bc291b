import type { Telemetry } from '../domain/ports.ts'

const LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const
/** How much is said. */
export type LogLevel = (typeof LEVELS)[number]

/** Field names whose values are never written. */
const SECRET = /key|token|secret|password|authorization|cookie/i

/** Writes one JSON line per entry to `write`, from `level` on. */
export function jsonLog(level: LogLevel, write: (line: string) => void, nowMs: () => number): Telemetry {
  const least = LEVELS.indexOf(level)
  return {
    log(entryLevel, message, fields = {}) {
      if (LEVELS.indexOf(entryLevel) < least) return
      const shown = Object.fromEntries(Object.entries(fields).map(([name, value]) => [name, SECRET.test(name) ? '[redacted]' : value]))
      write(`${JSON.stringify({ time: new Date(nowMs()).toISOString(), level: entryLevel, message, ...shown })}\n`)
    },
  }
}
