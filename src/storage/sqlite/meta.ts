/** Name of the row that says until when a driver lives. */
export function lifeOf(driver: number): string {
  return `driver ${driver}`
}

/** Name of the row that says which feed number was given last when something was erased. */
export const FEED = 'feed'

/** The last feed number that was given: rows of erased sessions may be gone. */
export const FEED_HEAD = `SELECT max(coalesce((SELECT max(feed) FROM batch), 0),
  coalesce((SELECT CAST(value AS INTEGER) FROM meta WHERE name = '${FEED}'), 0)) AS feed`
