import type { Telemetry } from '../domain/ports.ts'

const LEVELS = ['debug', 'info', 'warn', 'error', 'silent'] as const
/** How much is said. */
export type LogLevel = (typeof LEVELS)[number]

/** Field names whose values are never written. */
const SECRET = /key|token|secret|password|authorization|cookie/i

/** Writes one JSON line per entry to `write`, from `level` on. Never throws for what its fields hold. */
export function jsonLog(level: LogLevel, write: (line: string) => void, nowMs: () => number): Telemetry {
  const least = LEVELS.indexOf(level)
  return {
    log(entryLevel, message, fields = {}) {
      if (LEVELS.indexOf(entryLevel) < least) return
      const ours = { time: new Date(nowMs()).toISOString(), level: entryLevel, message }
      const theirs = Object.entries(fields).filter(([name]) => !Object.hasOwn(ours, name))
      const members = [JSON.stringify(ours).slice(1, -1), ...theirs.map(([name, value]) => memberOf(name, value))]
      write(`{${members.filter((member) => member !== '').join(',')}}\n`)
    },
  }
}

/** One field as a member of a JSON object; nothing for what JSON leaves out. */
function memberOf(name: string, value: unknown): string {
  try {
    return JSON.stringify({ [name]: value }, written).slice(1, -1)
  } catch {
    // A ring, or an object that cannot say what it is: the entry matters more than this field.
    return `${JSON.stringify(name)}:"[not written]"`
  }
}

function written(name: string, value: unknown): unknown {
  if (SECRET.test(name)) return '[redacted]'
  return value instanceof Error || typeof value === 'bigint' ? String(value) : value
}
