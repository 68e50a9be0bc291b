/** Which processes live: read from `/proc`, by what they carry in their environment. */
import { readFileSync, readdirSync } from 'node:fs'

/** A process that lives; one that is dead and not yet buried (a zombie) does not. */
export interface LivingProcess {
  readonly pid: number
  readonly parent: number
  /** Process group. */
  readonly group: number
  readonly command: string
}

/** The living processes whose environment holds exactly `entry`, like `HOME=/x`. What they start inherits it, also what leaves their group. */
export function processesWith(entry: string): readonly LivingProcess[] {
  return readdirSync('/proc').flatMap((name) => {
    const pid = Number(name)
    if (!Number.isInteger(pid)) return []
    const found = look(pid, entry)
    return found === undefined ? [] : [found]
  })
}

function look(pid: number, entry: string): LivingProcess | undefined {
  try {
    if (!readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(entry)) return undefined
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The second field may hold spaces and brackets.
    const [state, parent, group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    if (state === 'Z' || state === 'X') return undefined
    return { pid, parent: Number(parent), group: Number(group), command: readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim() }
  } catch {
    // It went while it was looked at, or it is another user's.
    return undefined
  }
}
