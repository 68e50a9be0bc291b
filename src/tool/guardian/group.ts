/**
 * A guarded command's process group, as a later process finds it again.
 *
 * A number alone names nobody: numbers are given anew. A group is ours while its leader, the guardian, has the start time that the
 * intent recorded, also as a dead process that nobody has reaped; and, when the guardian is gone, while one of its members carries the mark that
 * the guardian gave to its command.
 */
import { readFileSync, readdirSync } from 'node:fs'
import type { Clock } from '../../domain/ports.ts'
import type { ToolIntent } from '../../domain/tool.ts'

/** The variable by which a command's processes carry their guardian's number and start time. */
export const GROUP_VARIABLE = 'CONVOKE_GROUP'
/** How long a killed group may take to be gone, in ms. It takes that long only where the disk does not answer. */
const GONE_MS = 1000
/** How often it is looked at, in ms. */
const LOOK_MS = 5

/** The mark of a guardian. */
export function markOf({ groupId, startTicks: ticks }: ToolIntent): string {
  return `${groupId}:${ticks}`
}

/** Start time of a process in clock ticks since boot (proc(5), field 22 of stat); 0 where it cannot be read. */
export function startTicks(pid: number): number {
  return Number(statOf(pid)?.[19] ?? 0)
}

/** Kills the group that `intent` names, if it is still the same one. Answers whether it did. */
export function killGroup(intent: ToolIntent): boolean {
  const { groupId } = intent
  if (groupId <= 1 || intent.startTicks === 0) return false
  const ticks = startTicks(groupId)
  // Without its leader a group keeps its number: no new process is given it.
  if (ticks !== intent.startTicks && (ticks !== 0 || !signal(groupId, 0) || !isMarked(intent))) return false
  return signal(groupId, 'SIGKILL')
}

/** As `killGroup`, and waits until none of the group lives: what is killed may still be in the middle of a write. */
export async function endGroup(intent: ToolIntent, clock: Pick<Clock, 'nowMs' | 'monotonicMs' | 'sleepUntil'>): Promise<void> {
  if (!killGroup(intent)) return
  const endMs = clock.monotonicMs() + GONE_MS
  while (members(intent.groupId).length > 0 && clock.monotonicMs() < endMs) await clock.sleepUntil(clock.nowMs() + LOOK_MS)
}

/** Sends a signal to a group; 0 only asks. Answers whether there was one. */
function signal(groupId: number, name: NodeJS.Signals | 0): boolean {
  try {
    process.kill(-groupId, name)
    return true
  } catch {
    // No such group, or it went between the look and the signal.
    return false
  }
}

function isMarked(intent: ToolIntent): boolean {
  const mark = `${GROUP_VARIABLE}=${markOf(intent)}`
  return members(intent.groupId).some((pid) => readProc(pid, 'environ')?.split('\0').includes(mark))
}

/** The living processes of a group; one that is dead and not reaped does nothing any more. */
function members(groupId: number): readonly number[] {
  return readdirSync('/proc').flatMap((name) => {
    const pid = Number(name)
    const [state, , group] = Number.isInteger(pid) ? (statOf(pid) ?? []) : []
    return Number(group) === groupId && state !== 'Z' && state !== 'X' ? [pid] : []
  })
}

/** The fields of a process behind its name, from the third on. */
function statOf(pid: number): readonly string[] | undefined {
  const stat = readProc(pid, 'stat')
  // The second field may hold spaces and brackets; the fields after it begin behind the last bracket.
  return stat?.slice(stat.lastIndexOf(')') + 2).split(' ')
}

function readProc(pid: number, file: 'stat' | 'environ'): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8')
  } catch {
    // No such process, another user's, or a system without /proc.
    return undefined
  }
}
