import type { DatabaseSync } from 'node:sqlite'
import { ConvokeError } from '../../domain/errors.ts'
import { MIGRATIONS } from './schema.ts'

/**
 * The format of a database: how many migrations it has seen; 0 is an empty file.
 *
 * @throws {ConvokeError} `store_newer` for what a newer version wrote.
 */
export function formatOf(db: DatabaseSync): number {
  const { user_version: version } = db.prepare('PRAGMA user_version').get() as { user_version: number }
  if (version > MIGRATIONS.length) {
    throw new ConvokeError(
      'store_newer',
      `the data folder has format ${version}, this version of convoke knows up to ${MIGRATIONS.length}: use a newer convoke`,
    )
  }
  return version
}

/**
 * Brings the schema up to date, each step in a transaction of its own: one that fails leaves the database as it was before it.
 *
 * @throws {ConvokeError} `store_newer` for a data folder that a newer version wrote.
 */
export function migrate(db: DatabaseSync, migrations: readonly string[] = MIGRATIONS): void {
  for (let step = formatOf(db); step < migrations.length; step++) {
    try {
      db.exec(`BEGIN IMMEDIATE; ${migrations[step]}; PRAGMA user_version = ${step + 1}; COMMIT`)
    } catch (error) {
      if (db.isTransaction) db.exec('ROLLBACK')
      throw error
    }
  }
}
