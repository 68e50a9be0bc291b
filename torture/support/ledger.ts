/**
 * The ledger: a file outside of the server's data, to which every tool writes a line before it acts. What stands there happened,
 * whatever the log says.
 */
import { readFileSync } from 'node:fs'
import type { Call } from './log.ts'

/** One line. */
export interface LedgerLine {
  readonly call: string
  readonly tool: string
  /** `begin` before the tool acts, `end` when it has. */
  readonly at: 'begin' | 'end'
}

/** All lines of the ledger at `path`. A last line without its end was cut off by a kill, and did not happen. */
export function readLedger(path: string): readonly LedgerLine[] {
  const text = readFileSync(path, 'utf8')
  const lines = text.slice(0, text.lastIndexOf('\n') + 1).split('\n')
  return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as LedgerLine)
}

/** What the harness' tools are to the server. */
export interface ToolRules {
  /** May be run again when it is unknown whether it ran. */
  readonly repeatable: (tool: string) => boolean
  /** Must be allowed by a person. */
  readonly asked: (tool: string) => boolean
}

/** What the ledger says against the log's `calls`: a tool that ran twice, ran unasked, or is said to have run and has not (P5). */
export function judgeLedger(lines: readonly LedgerLine[], calls: ReadonlyMap<string, Call>, rules: ToolRules): readonly string[] {
  const begun = new Map<string, LedgerLine[]>()
  for (const line of lines) if (line.at === 'begin') begun.set(line.call, [...(begun.get(line.call) ?? []), line])
  const found: string[] = []
  for (const [id, runs] of begun) {
    const call = calls.get(id)
    const tool = runs[0]?.tool ?? ''
    if (call === undefined) found.push(`P5: ${tool} ran for the call ${id}, which nobody proposed`)
    else found.push(...judgeRuns(call, runs.length, rules))
  }
  for (const call of calls.values()) {
    if (call.answeredByTool && !begun.has(call.id)) found.push(`P5: ${place(call)} has a result of its tool, which never ran`)
  }
  return found
}

function judgeRuns(call: Call, runs: number, rules: ToolRules): readonly string[] {
  if (runs > 1 && !rules.repeatable(call.tool)) return [`P5: ${place(call)} is not repeatable and ran ${runs} times`]
  if (runs > call.starts) return [`P5: ${place(call)} ran ${runs} times and was started ${call.starts} times`]
  if (call.rejected) return [`P10: ${place(call)} was rejected and ran`]
  if (rules.asked(call.tool) && !call.accepted) return [`P10: ${place(call)} ran and nobody allowed it`]
  return []
}

function place(call: Call): string {
  return `the call ${call.id} of ${call.tool} at position ${call.position} of session ${call.session}`
}
