/** Data folders that older versions wrote, from their SQL. */
import { globSync, mkdirSync, readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'

const FIXTURES = fileURLToPath(new URL('../fixtures', import.meta.url))

/** The formats that there is a data folder of, oldest first. */
export const FORMATS: readonly number[] = globSync('format-*.sql', { cwd: FIXTURES })
  .map((name) => Number(basename(name, '.sql').slice('format-'.length)))
  .toSorted((a, b) => a - b)

/** Makes the data folder `folder` of `format`. */
export function writeFixture(format: number, folder: string): void {
  mkdirSync(folder, { recursive: true })
  const db = new DatabaseSync(join(folder, 'convoke.db'))
  db.exec(`PRAGMA journal_mode = WAL; BEGIN; ${readFileSync(join(FIXTURES, `format-${format}.sql`), 'utf8')} COMMIT`)
  db.close()
}
