/** A copy of the repository in which one bug at a time is planted. */
import { spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { PLANT_SEEDS_MAX, type Plant } from './list.ts'

/** What is copied. Dependencies are shared. */
const COPIED = ['src', 'test', 'torture', 'bin', 'scripts', 'package.json', 'tsconfig.json'] as const
const ROOT = fileURLToPath(new URL('../..', import.meta.url))
/** Where seeds begin: always the same, so that the same seed finds the same plant. */
const FIRST_SEED = 1
/** How long a part may look for one plant, in ms. */
const HUNT_MS_MAX = 240_000

/** What is kept of what a part printed, in characters. */
const TAIL_CHARS = 400

/** What a part said of a planted bug: the first broken promise, or nothing. */
export interface Found {
  readonly sentence?: string
  /** What it printed last, for plants that were not found or broke the part itself. */
  readonly tail: string
}

/** The copy. */
export interface Garden {
  /** Plants a bug, lets its part look for it, and takes it out again. @throws {Error} for a plant that is out of date */
  hunt(plant: Plant): Promise<Found>
  remove(): void
}

/** Copies the repository. */
export function newGarden(): Garden {
  const folder = mkdtempSync(join(tmpdir(), 'convoke-plants-'))
  for (const name of COPIED) cpSync(join(ROOT, name), join(folder, name), { recursive: true })
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
  return {
    async hunt(plant) {
      const places = placesOf(plant).map((place) => {
        const file = join(folder, place.file)
        return { file, place, sound: readFileSync(file, 'utf8') }
      })
      try {
        for (const { file, place, sound } of places) writeFileSync(file, planted(sound, place))
        return await look(folder, plant)
      } finally {
        for (const { file, sound } of places) writeFileSync(file, sound)
      }
    },
    remove: () => rmSync(folder, { recursive: true, force: true }),
  }
}

/** The places of a plant, each in a file of its own. */
export function placesOf(plant: Plant): readonly Place[] {
  const { name, also } = plant
  return [plant, ...(also === undefined ? [] : [{ name, ...also }])]
}

/** One place of a plant. */
export type Place = Pick<Plant, 'name' | 'file' | 'find' | 'replace'>

/** The text with the bug in it. @throws {Error} where the place is not there, or more than once */
export function planted(sound: string, { name, file, find, replace }: Place): string {
  const places = sound.split(find).length - 1
  if (places !== 1) throw new Error(`the plant "${name}" is out of date: its place stands ${places} times in ${file}`)
  return sound.replace(find, () => replace)
}

function look(folder: string, { part, seeds = PLANT_SEEDS_MAX }: Plant): Promise<Found> {
  return new Promise((resolve, reject) => {
    const flags = ['--seed', String(FIRST_SEED), '--seeds', String(seeds), '--first']
    const child = spawn(process.execPath, ['torture/main.ts', part, ...flags], { cwd: folder, stdio: ['ignore', 'pipe', 'pipe'] })
    const late = setTimeout(() => child.kill('SIGKILL'), HUNT_MS_MAX)
    let output = ''
    const take = (bytes: Buffer) => void (output += bytes.toString('utf8'))
    child.stdout.on('data', take)
    child.stderr.on('data', take)
    child.on('error', reject)
    child.on('close', () => {
      clearTimeout(late)
      const sentence = /^LOST \([^)]*\): (.*)$/m.exec(output)?.[1]
      resolve({ tail: output.slice(-TAIL_CHARS), ...(sentence === undefined ? {} : { sentence }) })
    })
  })
}
