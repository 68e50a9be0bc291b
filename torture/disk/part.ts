/** Disks that are full, cannot be written, tear or lose what they were given: a clear refusal, or everything that was acknowledged; never a silent loss. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Part, PartOptions, PartResult } from '../part.ts'
import { numbersOf } from '../support/chance.ts'
import { said, Undo } from '../support/undo.ts'
import { buildBase } from './base.ts'
import { fillDisk, limitFiles } from './full.ts'
import { refusedFolders } from './refused.ts'
import { mountedDisk, preloadedDisk } from './small-disk.ts'
import { damagePages, missingFiles, tearWal, type Tally } from './damage.ts'

/** How often each kind of damage is tried. */
const TIMES = { short: { tears: 30, perTable: 1, share: 0.5, fills: 1 }, long: { tears: 600, perTable: 12, share: 1, fills: 20 } } as const

export const disk: Part = {
  name: 'disk',
  breaks: 'the disk: full, read-only, torn, cut off, flipped, missing',
  promises: 'P1 P2 P3 P13',
  async run(options) {
    const undo = new Undo()
    try {
      return await torture(options, undo)
    } finally {
      await undo.run()
    }
  },
}

async function torture({ seed, form, say }: PartOptions, undo: Undo): Promise<PartResult> {
  const scratch = mkdtempSync(join(tmpdir(), 'convoke-torture-disk-'))
  undo.add(() => rmSync(scratch, { recursive: true, force: true }))
  const base = await buildBase(join(scratch, 'base'))
  say(`a log of ${base.shown.size} sessions and ${base.feed.length} batches`)
  const tally: Tally = { base, random: numbersOf(seed), lost: [], counts: new Map() }
  const { tears, perTable, share, fills } = TIMES[form]
  const refused = await refusedFolders(base, tally.lost)
  for (const what of refused.skipped) say(`not tried here, for want of privileges: ${what}`)
  const missing = await missingFiles(tally)
  await tearWal(tally, tears)
  await damagePages(tally, perTable, share)
  let damaged = 0
  for (const [kind, outcomes] of tally.counts) {
    say(`${kind}: ${[...outcomes].map(([outcome, count]) => `${count} ${outcome}`).join(', ')}`)
    for (const count of outcomes.values()) damaged += count
  }
  // A server that ends under a full disk must not hide what was lost before.
  const full = await fullDisks({ scratch, fills, lost: tally.lost, say }, undo).catch((error: unknown) => {
    tally.lost.push(`a disk that is full or fails: ${said(error)}`)
    return []
  })
  return { tried: [`${refused.tried} folders that cannot be served`, `${missing} with a part missing`, `${damaged} damaged logs`, ...full], lost: tally.lost }
}

interface FullOptions {
  readonly scratch: string
  readonly fills: number
  readonly lost: string[]
  readonly say: (line: string) => void
}

async function fullDisks({ scratch, fills, lost, say }: FullOptions, undo: Undo): Promise<readonly string[]> {
  const tried: string[] = []
  const kinds = [
    ['a mounted file system', mountedDisk],
    ['a preloaded library', preloadedDisk],
  ] as const
  for (const [how, make] of kinds) {
    const small = make(undo)
    if (small === undefined) {
      say(`not tried here: a full disk by ${how}`)
      continue
    }
    const result = await fillDisk(small, fills)
    lost.push(...result.lost)
    say(`a full disk by ${how}: ${result.refused} commands refused, ${result.acknowledged} sessions acknowledged`)
    tried.push(`${fills} times a full disk by ${how}`)
  }
  const limited = await limitFiles(join(scratch, 'limited'))
  lost.push(...limited.lost)
  say(`files that may not grow: ${limited.acknowledged} sessions acknowledged before`)
  return [...tried, '1 disk that fails for good']
}
