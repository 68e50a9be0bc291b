/** Planted bugs: the harness is shown code that is wrong, one piece at a time, and must say so each time. */
import type { Part, PartOptions, PartResult } from './part.ts'
import { newGarden } from './plants/garden.ts'
import { PLANTS } from './plants/list.ts'

/** The part. */
export const part: Part = {
  name: 'plants',
  breaks: 'the code itself, by planted bugs that the harness must find',
  promises: 'P1-P10',
  run,
}

async function run({ say }: PartOptions): Promise<PartResult> {
  const garden = newGarden()
  const lost: string[] = []
  let found = 0
  try {
    for (const plant of PLANTS) {
      const { sentence, tail } = await garden.hunt(plant)
      // A part that could not run has found nothing.
      if (sentence === undefined || sentence.startsWith('the part itself failed'))
        lost.push(`nobody saw the plant "${plant.name}": ${sentence ?? tail.replaceAll('\n', ' / ')}`)
      else found++
      say(`| ${plant.name} | \`${plant.file}\` | ${plant.part} | ${sentence === undefined ? 'not found' : sentence.replaceAll('|', '/').slice(0, 200)} |`)
    }
  } finally {
    garden.remove()
  }
  return { tried: [`${PLANTS.length} planted bugs`, `${found} found`], lost }
}
