import type { DatabaseSync } from 'node:sqlite'

/** Name of the row that says until when a driver lives. */
export function lifeOf(driver: number): string {
  return `driver ${driver}`
}

/** Name of the row that says which feed number was given last when something was erased. */
export const FEED = 'feed'

/** The last feed number that was given: rows of erased sessions may be gone. */
export const FEED_HEAD = `SELECT max(coalesce((SELECT max(feed) FROM batch), 0),
  coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE name = '${FEED}'), 0)) AS feed`

/** A number that SQLite says of a database. */
export function pragma(db: DatabaseSync, name: 'page_count' | 'freelist_count' | 'page_size' | 'auto_vacuum'): number {
  return Number(Object.values(db.prepare(`PRAGMA ${name}`).get() ?? {})[0] ?? 0)
}

/** What the row `name` of `meta` says. */
export function valueOf(db: DatabaseSync, name: string): string | undefined {
  return (db.prepare('SELECT value FROM meta WHERE name = ?').get(name) as { value: string } | undefined)?.value
}

/** Writes the row `name` of `meta`. */
export function setValue(db: DatabaseSync, name: string, value: string): void {
  db.prepare('INSERT INTO meta (name, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value').run(name, value)
}
