/**
 * Where a stream's batches stand: pairs of first position and feed number.
 *
 * An index over all batches would have its newest entries on as many pages as there are busy streams, and each commit would write them
 * all. So the newest places of a stream stand in its own row, which is written anyway, and `PLACES_PER_BLOCK` of them at a time move to `block`.
 */

/** Places that one row of `block` holds. */
export const PLACES_PER_BLOCK = 64

/** One batch: the position of its first event, and its key. */
export interface Place {
  readonly first: number
  readonly feed: number
}

const END = ';'

/** One place, to be put behind others. */
export function encodePlace(first: number, feed: number): string {
  return `${first.toString(36)}.${feed.toString(36)}${END}`
}

/** The places in `text`, in order. What is damaged is left out: its events are then missing, those around it are not. */
export function decodePlaces(text: string): readonly Place[] {
  return text.split(END).flatMap((pair) => {
    const [first, feed, more] = pair.split('.')
    const place = { first: Number.parseInt(first ?? '', 36), feed: Number.parseInt(feed ?? '', 36) }
    return more === undefined && Number.isSafeInteger(place.first) && Number.isSafeInteger(place.feed) ? [place] : []
  })
}

/** How many places `text` holds. */
export function countPlaces(text: string): number {
  return text.split(END).length - 1
}

/** Those of `places` that hold `position` and what comes after it. */
export function placesFrom(places: readonly Place[], position: number): readonly Place[] {
  const behind = places.findIndex(({ first }) => first > position)
  return places.slice(Math.max(0, (behind === -1 ? places.length : behind) - 1))
}
