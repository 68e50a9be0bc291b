/** Name of the row that says until when a driver lives. */
export function lifeOf(driver: number): string {
  return `driver ${driver}`
}
